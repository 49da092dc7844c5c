"""One stack, one Orthanc and one dcmqrscp with the demo's images, for all end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo import data
from demo.data import Manifest
from demo.pacs import DcmqrscpPacs, OrthancPacs, Pacs, free_port
from tests.e2e.line import AET, Line, run_cli, write_config


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("e2e")


@pytest.fixture(scope="session")
def manifest(home: Path) -> Manifest:
    return data.build(home / "images")


@pytest.fixture(scope="session")
def move_port() -> int:
    return free_port()


@pytest.fixture(scope="session")
def orthanc(home: Path, manifest: Manifest, move_port: int) -> Iterator[Pacs]:
    with OrthancPacs(home / "orthanc", {AET: ("127.0.0.1", move_port)}) as pacs:
        pacs.load(manifest.paths)
        yield pacs


@pytest.fixture(scope="session")
def dcmqrscp(home: Path, manifest: Manifest, move_port: int) -> Iterator[Pacs]:
    with DcmqrscpPacs(home / "dcmqrscp", {AET: ("127.0.0.1", move_port)}) as pacs:
        pacs.load(manifest.paths)
        yield pacs


@pytest.fixture(scope="session")
def line(home: Path, orthanc: Pacs, move_port: int) -> Iterator[Line]:
    config = write_config(home / "config.json", orthanc, move_port)
    folder = home / "data"
    up = run_cli(folder, "up", "--detach", "--config", str(config))
    assert up.returncode == 0, up.stdout + up.stderr
    try:
        yield Line(folder, move_port)
    finally:
        down = run_cli(folder, "down")
        assert down.returncode == 0, down.stderr
