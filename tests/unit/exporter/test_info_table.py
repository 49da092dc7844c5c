"""One table of all series of a batch, as CSV and Parquet."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow.parquet
import pytest

from pacstream.archive import Archive
from pacstream.batch_action import Task
from pacstream.errors import RejectedError
from pacstream.manifest import Manifest, SeriesResult
from pacstream.messages import Actions, Batch, Order, PacsNode, Series
from pacstream_exporter.info import info_path, write_info
from pacstream_exporter.info_table import write_info_table

VALUES = (
    {"PatientID": "0007", "PatientName": "MÜLLER^Jörg=山田^太郎", "StudyDate": "20240230"},
    {"PatientID": " 8 ", "SeriesDescription": 'T1, "sag"\nsecond line', "SeriesNumber": "1"},
)


def order(out: Path, number: int) -> Order:
    return Order(
        batch_id="b-0001",
        series=Series(study_uid="1.2.3", series_uid=f"1.2.3.{number}"),
        actions=Actions(info=True),
        out=str(out),
        subject="sub-A",
        session="ses-1",
        folder=f"0000{number}-x",
        release_folder="x",
    )


def task(out: Path) -> Task:
    batch = Batch(
        batch_id="b-0001",
        rows=1,
        submitted_at="2026",
        pacs=PacsNode(address="a", port=1, called_aet="P", calling_aet="U"),
        destination="U",
        actions=Actions(info=True),
        out=str(out),
    )
    results = [
        SeriesResult(order=order(out, 1), state="complete", info=True),
        SeriesResult(order=order(out, 2), state="partial", info=True),
        SeriesResult(order=order(out, 3), state="failed", info=False),
    ]
    for result, values in zip(results, VALUES, strict=False):
        write_info(result.order, values)
    return Task(Manifest(batch, tuple(results)), Archive(out / "data"), {}, lambda: True)


def test_csv_and_parquet_hold_the_true_values_of_every_series(tmp_path: Path) -> None:
    outcome = write_info_table(task(tmp_path))
    assert outcome.counts == {"series": 3, "rows": 2}
    with (tmp_path / "b-0001.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == pyarrow.parquet.read_table(tmp_path / "b-0001.parquet").to_pylist()
    assert [row["state"] for row in rows] == ["complete", "partial"]
    for row, values in zip(rows, VALUES, strict=True):
        assert {name: row[name] for name in values} == values


def test_made_again_it_is_the_same(tmp_path: Path) -> None:
    write_info_table(task(tmp_path))
    before = (tmp_path / "b-0001.csv").read_bytes()
    write_info_table(task(tmp_path))
    assert (tmp_path / "b-0001.csv").read_bytes() == before


def test_a_table_without_series_has_its_columns(tmp_path: Path) -> None:
    given = task(tmp_path)
    nothing = Task(Manifest(given.manifest.batch, ()), given.archive, {}, given.may_go_on)
    write_info_table(nothing)
    table = pyarrow.parquet.read_table(tmp_path / "b-0001.parquet")
    assert table.num_rows == 0
    assert "PatientID" in table.column_names


def test_a_series_table_that_is_gone_is_told(tmp_path: Path) -> None:
    given = task(tmp_path)
    info_path(given.manifest.series[0].order).unlink()
    with pytest.raises(RejectedError) as caught:
        write_info_table(given)
    assert caught.value.code == "info_missing"
