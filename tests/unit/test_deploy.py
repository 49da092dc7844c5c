"""Dockerfile, docker-compose.yml and deploy/monitoring agree with the code, without an engine."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from pacstream.metrics import INSTANCES, MESSAGES
from pacstream.settings import PREFIX, Settings
from pacstream.topology import SUBSCRIPTIONS

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES = {*SUBSCRIPTIONS, "store_scp"}
DASHBOARD = ROOT / "deploy/monitoring/grafana/pacstream.json"
LEDGERS = (ROOT / "services/ledger/pacstream_ledger/gauges.py").read_text("utf-8")


def requirements(*extra: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "scripts/requirements", *extra]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)


def test_requirements_of_a_service_are_those_of_its_extra_alone() -> None:
    lines = requirements("store_scp").stdout.splitlines()
    assert {re.split(r"[<>=]", line)[0] for line in lines} == {
        "pydantic", "pynetdicom", "pydicom", "pika",
    }  # fmt: skip
    assert {"dcm2niix", "nameko"} <= {
        re.split(r"[<>=]", line)[0] for line in requirements("converter").stdout.splitlines()
    }


@pytest.mark.parametrize("service", ["exporter", "cli"])
def test_an_image_holds_what_its_service_can_be_told_to_use(service: str) -> None:
    """What is an option on a laptop can't be added to an image later."""
    lines = requirements(service).stdout.splitlines()
    assert {"boto3", "paramiko"} <= {re.split(r"[<>=]", line)[0] for line in lines}


@pytest.mark.parametrize("extra", [(), ("nix",)])
def test_requirements_of_what_is_no_extra_are_refused(extra: tuple[str, ...]) -> None:
    done = requirements(*extra)
    assert (done.returncode, done.stdout) == (2, "")
    assert "there are all, anonymizer, cli" in done.stderr


def test_the_images_are_labelled_with_our_version() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    assert re.search(r"^ARG VERSION=(.+)$", dockerfile, re.M)[1] == PROJECT["version"]  # type: ignore[index]


def test_every_service_has_a_container_and_settings_that_there_are() -> None:
    containers = COMPOSE["services"]
    assert containers.keys() >= SERVICES
    for name in (*SERVICES, "cli"):
        assert containers[name]["build"]["args"]["SERVICE"] == name
        told = {key for key in containers[name]["environment"] if key.startswith(PREFIX)}
        fields = {key.removeprefix(PREFIX).removesuffix("_FILE").lower() for key in told}
        assert fields <= Settings.model_fields.keys(), name


def test_only_three_services_are_published_and_to_this_machine_only() -> None:
    published = {
        name: one["ports"]
        for name, one in COMPOSE["services"].items()
        if "ports" in one and "profiles" not in one
    }
    assert published.keys() == {"rabbitmq", "store_scp", "ledger"}
    for ports in published.values():
        assert all(
            re.match(r"(127\.0\.0\.1|\$\{STORE_ADDRESS:-127\.0\.0\.1\}):", port) for port in ports
        )
    assert COMPOSE["networks"]["internal"] == {"internal": True}
    way_out = {
        name for name in SERVICES if set(COMPOSE["services"][name]["networks"]) != {"internal"}
    }
    assert way_out == {"query", "retrieve", "store_scp", "exporter", "ledger"}


def test_no_password_is_in_the_compose_file() -> None:
    for name, one in COMPOSE["services"].items():
        for key, value in one.get("environment", {}).items():
            assert key.endswith("_FILE") or not re.search("PASS|SECRET|TOKEN|_URL$", key), (
                name,
                value,
            )


def test_services_are_ours_to_read_only() -> None:
    for name in SERVICES:
        one = COMPOSE["services"][name]
        assert one["read_only"] and one["cap_drop"] == ["ALL"], name
        assert one["restart"] == "unless-stopped" and one["deploy"]["resources"]["limits"], name
        assert one["depends_on"]["rabbitmq"]["condition"] == "service_healthy", name


def test_dashboard_and_alerts_ask_for_metrics_that_there_are() -> None:
    registry = CollectorRegistry()
    for metric in (MESSAGES, INSTANCES):
        registry.register(metric)
    exposed = set(re.findall(r"# TYPE (\w+)", generate_latest(registry).decode()))
    exposed |= set(re.findall(r'"(pacstream_\w+)"', LEDGERS))
    exposed |= {f"pacstream_store_scp_{name}" for name in ("healthy", "associations", "queued")}
    asked = DASHBOARD.read_text("utf-8") + (ROOT / "deploy/monitoring/alerts.yml").read_text(
        "utf-8"
    )
    names = set(re.findall(r"\bpacstream_\w+", asked))
    assert names and names <= exposed


def test_the_dashboards_panels_do_not_overlap() -> None:
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    cells = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in panels
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)
