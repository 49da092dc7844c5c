"""The demo's command: its CSV, its configuration, its output folder."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from demo import data
from demo.pacs import DcmqrscpPacs
from demo.run import MARKER, QUERIES, DemoError, empty_out, tree, write_config, write_queries


def test_the_csv_has_one_row_for_each_query_and_keeps_accents(tmp_path: Path) -> None:
    write_queries(tmp_path / "queries.csv")
    with (tmp_path / "queries.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [{key: value for key, value in row.items() if value} for row in rows] == [
        keys for _, keys in QUERIES
    ]
    assert any("Crâne" in row["SeriesDescription"] for row in rows)


def test_the_csv_leaves_out_what_would_be_withheld() -> None:
    assert data.CASSIUS.patient_id not in {keys.get("PatientID") for _, keys in QUERIES}


def test_the_configuration_has_pacsmans_eight_keys(tmp_path: Path) -> None:
    pacs = DcmqrscpPacs(tmp_path, {})
    write_config(tmp_path / "config.json", pacs, 21112)
    assert json.loads((tmp_path / "config.json").read_text("utf-8")) == {
        "server_ip": "127.0.0.1",
        "port": pacs.port,
        "server_AET": "DCMQRSCP",
        "AET": "PACSTREAM",
        "move_AET": "PACSTREAM",
        "move_port": 21112,
        "batch_size": 30,
        "batch_wait_time": 0,
    }


def test_a_folder_of_somebody_else_is_never_emptied(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("irreplaceable")
    with pytest.raises(DemoError):
        empty_out(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_the_demos_own_folder_is_emptied(tmp_path: Path) -> None:
    out = tmp_path / "out"
    empty_out(out)
    (out / "sub-1").mkdir()
    (out / "sub-1" / "old.dcm").touch()
    empty_out(out)
    assert [path.name for path in out.iterdir()] == [MARKER]


def test_the_tree_counts_files_in_and_below_each_folder(tmp_path: Path) -> None:
    empty_out(tmp_path / "out")
    for name in ("a/b/1.dcm", "a/b/2.dcm", "a/c/d/e/3.dcm"):
        path = tmp_path / "out" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert [line.strip() for line in tree(tmp_path / "out", depth=2)] == [
        "a/  3 files",
        "b/  2 files",
        "c/  1 file",
    ]
