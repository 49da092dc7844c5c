from __future__ import annotations

import csv
from pathlib import Path

import pytest

from pacstream.errors import RejectedError, ZoneError
from pacstream.messages import Actions, Order, Series
from pacstream_exporter.info import COLUMNS, info_table, write_info


def order(out: Path, folder: str = "00004-T1_sag") -> Order:
    return Order(
        batch_id="batch-1",
        series=Series(study_uid="1.2.3", series_uid="1.2.3.4"),
        actions=Actions(info=True),
        out=str(out),
        subject="sub-A_1",
        session="ses-20200102",
        folder=folder,
        release_folder="00004-MR",
    )


def read(table: str) -> list[dict[str, str]]:
    return list(csv.DictReader(table.splitlines(keepends=True)))


def test_the_table_lies_beside_the_series_folder(tmp_path: Path) -> None:
    path = write_info(order(tmp_path), {"PatientID": "0007"})
    assert path == tmp_path / "sub-A_1" / "ses-20200102" / "00004-T1_sag.csv"
    assert path.read_text("utf-8") == info_table({"PatientID": "0007"})


def test_a_table_has_one_header_and_one_line_with_all_columns() -> None:
    lines = info_table({}).splitlines()
    assert lines == [",".join(COLUMNS), "," * (len(COLUMNS) - 1)]


def test_values_are_those_of_the_pacs() -> None:
    values = {
        "PatientID": " 0007 ",
        "PatientName": "MÜLLER^Jörg=山田^太郎",
        "SeriesDescription": 'T1, "sag"/cor\nsecond line',
        "ImageType": "ORIGINAL\\PRIMARY",
    }
    (row,) = read(info_table(values))
    assert {column: row[column] for column in values} == values
    assert row["AccessionNumber"] == ""


def test_attributes_that_are_no_column_are_left_out() -> None:
    assert "secret" not in info_table({"PatientComments": "secret"})


def test_a_second_table_replaces_the_first(tmp_path: Path) -> None:
    write_info(order(tmp_path), {"PatientID": "first"})
    path = write_info(order(tmp_path), {"PatientID": "second"})
    assert "first" not in path.read_text("utf-8")
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_outside_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ZoneError):
        write_info(order(tmp_path / "out", folder="../../../away"), {})
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_that_can_not_be_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a_file").write_text("no folder")
    with pytest.raises(RejectedError) as refusal:
        write_info(order(tmp_path / "a_file"), {})
    assert refusal.value.code == "output_not_writable"
