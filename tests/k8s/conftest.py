"""One cluster, one PACS in it, and the same batch on this machine to compare with."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo import data
from demo.data import Manifest
from demo.pacs import OrthancPacs, free_port
from demo.run import QUERIES
from tests.e2e.line import AET, run_cli, write_config
from tests.k8s import rig as rigs
from tests.k8s.cluster import Cluster, csv_of, originals, released, volumes
from tests.k8s.rig import ROOT, Rig

PROJECT = "trial"
FLAGS = ("--save", "--anonymize", "--project", PROJECT, "--convert")


@dataclass(frozen=True)
class Results:
    """What a batch has left in its output folder, without names that depend on an order."""

    released: dict[str, str]
    volumes: list[tuple[str, str]]
    originals: list[str]


def results_in(out: Path) -> Results:
    return Results(released(out), volumes(out), originals(out))


@pytest.fixture(scope="session")
def rig() -> Rig:
    found = rigs.find()
    if found is None:
        pytest.skip(rigs.missing())
    return found


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("k8s")


@pytest.fixture(scope="session")
def manifest(home: Path) -> Manifest:
    return data.build(home / "images")


@pytest.fixture(scope="session")
def keys() -> dict[str, str]:
    return {f"PACSTREAM_KEY_{PROJECT.upper()}": secrets.token_hex(32)}


@pytest.fixture(scope="session")
def queries() -> str:
    return csv_of([row for _, row in QUERIES])


@pytest.fixture(scope="session")
def here(home: Path, manifest: Manifest, keys: dict[str, str], queries: str) -> Results:
    """The batch by `pacstream run` on this machine."""
    port = free_port()
    (home / "queries.csv").write_text(queries, "utf-8")
    with OrthancPacs(home / "orthanc", {AET: ("127.0.0.1", port)}, nodelay=True) as pacs:
        pacs.load(manifest.paths)
        config = write_config(home / "config.json", pacs, port)
        wanted = ["--queryfile", str(home / "queries.csv"), "--config", str(config), *FLAGS]
        done = run_cli(home / "local", "run", *wanted, "-d", str(home / "out"), **keys)
    assert done.returncode == 0, done.stdout + done.stderr
    return results_in(home / "out")


@pytest.fixture(scope="session")
def cluster(rig: Rig, home: Path, manifest: Manifest, keys: dict[str, str]) -> Iterator[Cluster]:
    """The overlay `single-node`, all pods ready, and a PACS."""
    was_up = rig.is_up()
    rig.run("kube.sh", "up")
    cluster = Cluster(rig, home)
    try:
        rig.build_images()
        cluster.begin_anew()
        cluster.apply_secrets(keys)
        cluster.apply(ROOT / "tests/k8s/single-node")
        cluster.start_pacs(manifest)
        cluster.wait_ready()
        yield cluster
    finally:
        cluster.close()
        if not was_up:
            rig.run("kube.sh", "down")


@pytest.hookimpl(tryfirst=True)
def pytest_exception_interact(
    node: pytest.Item, call: pytest.CallInfo[object], report: pytest.TestReport
) -> None:
    """What the cluster was doing, when a test that uses it fails."""
    cluster = getattr(node, "funcargs", {}).get("cluster")
    if isinstance(cluster, Cluster):
        with_events = ("get", "pods,scaledobjects,hpa", "-o", "wide")
        for command in (with_events, ("get", "events", "--sort-by=.lastTimestamp")):
            try:
                report.sections.append((" ".join(command), cluster.kubectl(*command)[-6000:]))
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                report.sections.append((" ".join(command), str(error)))
