"""`pacstream plan` and the guard of `submit` against Orthanc and dcmqrscp."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from demo import data
from demo.data import Manifest
from demo.pacs import Pacs
from tests.e2e.line import Line, run_cli, select, write_config, write_queries

pytestmark = [pytest.mark.rabbitmq, pytest.mark.pacs]

ROWS = [
    {"PatientID": data.BERTRAND.patient_id},
    {"PatientID": data.AMARA.patient_id},
    {"PatientID": "NOBODY-AT-ALL"},
]


@pytest.fixture(params=["orthanc", "dcmqrscp"])
def pacs(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def planned(folder: Path, store: Path, pacs: Pacs, move_port: int, *flags: str) -> dict[str, Any]:
    """The plan of `ROWS` as JSON; `store` is the data folder."""
    folder.mkdir(exist_ok=True)
    queries = write_queries(folder / "queries.csv", ROWS)
    config = write_config(folder / "config.json", pacs, move_port)
    done = run_cli(store, "plan", str(queries), "--config", str(config), "--json", *flags)
    assert done.returncode == 0, done.stderr
    view: dict[str, Any] = json.loads(done.stdout)
    return view


def test_the_plan_tells_what_the_pacs_holds(pacs: Pacs, manifest: Manifest, tmp_path: Path) -> None:
    view = planned(tmp_path, tmp_path / "data", pacs, 11112)
    for row, keys in zip(view["rows"], ROWS, strict=True):
        wanted = select(manifest, patient_id=keys["PatientID"])
        assert row["studies"] == len({instance.study_uid for instance in wanted})
        assert row["series"] == len({instance.series_uid for instance in wanted})
        assert row["instances"] == len(wanted)
    assert view["total"]["rows_without_match"] == [4]
    assert view["total"]["to_fetch"] == view["total"]["instances"]
    assert not (tmp_path / "data").exists()


def test_a_plan_knows_what_is_here_and_its_size(
    line: Line, orthanc: Pacs, manifest: Manifest, tmp_path: Path
) -> None:
    keys = {"PatientID": data.BERTRAND.patient_id, "SeriesNumber": "3"}
    assert line.wait(line.submit(tmp_path / "first", orthanc, [keys], "--save")) == 0
    wanted = select(manifest, patient_id=data.BERTRAND.patient_id, series_number="3")
    view = planned(tmp_path / "plan", line.data, orthanc, line.move_port)
    assert view["rows"][0]["here"] >= len(wanted)
    assert view["total"]["to_fetch"] == view["total"]["instances"] - view["total"]["here"]
    assert "CT" not in view["estimates"]["bytes_guessed_for"]
    assert view["estimates"]["moves"] >= 1


def test_a_large_batch_needs_yes_over(line: Line, orthanc: Pacs, tmp_path: Path) -> None:
    queries = write_queries(tmp_path / "queries.csv", ROWS)
    config = write_config(tmp_path / "config.json", orthanc, line.move_port)
    before = run_cli(line.data, "status", "--json").stdout
    done = run_cli(
        line.data, "submit", str(queries), "--config", str(config), "--save",
        "-d", str(tmp_path / "out"), "--yes-over", "3",
    )  # fmt: skip
    assert done.returncode == 2
    assert "more than 3 series" in done.stderr
    assert len(json.loads(run_cli(line.data, "status", "--json").stdout)) == len(json.loads(before))
