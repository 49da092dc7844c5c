# `make` lists the targets.
BIN := .venv/bin

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install install-for-tests demo test check lint types imports tests test-slow test-k8s fuzz unit format clean
.PHONY: images test-compose
.PHONY: bench-query bench-retrieve bench-receive bench-pipeline bench-stages bench-anonymize

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: ## servers and tools from Debian, Python packages in .venv
	@scripts/install

install-for-tests: ## the same, and what only tests need (PostgreSQL, Orthanc's DICOMweb plugin)
	@scripts/install --for-tests

demo: install ## a PACS with images, a CSV, and what comes out in demo/out
	@$(BIN)/python -m demo.run

test: install-for-tests check ## everything that CI runs

check: lint types imports tests ## all checks, without installing

lint: ## formatting and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: ## mypy --strict
	$(BIN)/mypy

imports: ## who may import whom
	$(BIN)/lint-imports

tests: ## all tests that do not take minutes
	$(BIN)/python -m pytest tests/unit -m "not slow" -n 4 --durations 20
	$(BIN)/python -m pytest tests/integration tests/e2e -m "not slow" --durations 20 -rs

images: ## all images of docker-compose.yml, labelled with this revision
	REVISION=$$(git rev-parse HEAD) docker compose --profile cli --profile demo build

test-compose: install-for-tests ## docker-compose.yml as a whole: builds, starts, works, is disturbed, stops
	$(BIN)/python -m pytest tests/compose -rs -s

test-slow: ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

test-k8s: ## the manifests on a real cluster (needs a rig: RIG=<folder>, else ../shared/rig)
	$(BIN)/python -m pytest tests/k8s -m k8s -x -rs

fuzz: ## COUNT (1,000,000) random PDU streams of a SEED (1) against the store SCP
	$(BIN)/python -m tests.unit.store_scp.fuzzing --count $(or $(COUNT),1000000) --seed $(or $(SEED),1)

bench-query: ## 1,000 CSV rows against Orthanc, beside DCMTK
	$(BIN)/python -m bench.query

bench-retrieve: ## retrieval from Orthanc, beside PACSIFIER and DCMTK
	$(BIN)/python -m bench.retrieve

bench-receive: ## our store SCP, beside storescp, Orthanc and pynetdicom's
	$(BIN)/python -m bench.receive

bench-pipeline: ## a batch to de-identified DICOM and NIfTI, beside a script and PACSIFIER
	$(BIN)/python -m bench.pipeline

bench-stages: ## anonymizer and converter alone; AGAINST=<checkout of another version>
	$(BIN)/python -m bench.stages $(if $(AGAINST),--against $(AGAINST))

bench-anonymize: ## de-identification alone, beside dicognito, dicom-anonymizer, dcmanon and cp
	$(BIN)/python -m bench.anonymize

unit: ## the tests that need no server
	$(BIN)/python -m pytest tests/unit -m "not pacs and not rabbitmq and not slow" -n 4

format: ## format, and fix what lint can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove caches, build products and the demo's files (never .venv or your data)
	rm -rf dist demo/out .pacstream/demo
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -path ./.venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
