"""Excel and Parquet as query tables: text stays text, and what lost its text form is said."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow
import pyarrow.parquet
import pytest

from pacstream.errors import InputError
from pacstream_cli.queryfile import QueryFileError, read_queries


def workbook(folder: Path, *records: list[Any], formats: dict[str, str] | None = None) -> Path:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for record in records:
        sheet.append(record)
    for place, number_format in (formats or {}).items():
        sheet[place].number_format = number_format
    path = folder / "q.xlsx"
    book.save(path)
    return path


def parquet(folder: Path, columns: dict[str, Any]) -> Path:
    path = folder / "q.parquet"
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def test_text_cells_of_a_workbook_are_read_as_they_are(tmp_path: Path) -> None:
    read = read_queries(
        workbook(tmp_path, ["PatientID", "PatientName"], ["007", "Müller^Zoë"], ["NA", None])
    )
    assert [(row.row, row.keys) for row in read.rows] == [
        (2, {"PatientID": "007", "PatientName": "Müller^Zoë"}),
        (3, {"PatientID": "NA"}),
    ]
    assert read.notes == ()


def test_numbers_and_dates_that_lost_their_text_form_are_read_and_said(tmp_path: Path) -> None:
    path = workbook(
        tmp_path,
        ["PatientID", "StudyDate", "StudyTime", "SeriesNumber"],
        [1234, datetime.date(2020, 1, 2), datetime.time(9, 30), 7],
    )
    read = read_queries(path)
    assert read.rows[0].keys == {
        "PatientID": "1234",
        "StudyDate": "20200102",
        "StudyTime": "093000",
        "SeriesNumber": "7",
    }
    assert read.notes == (
        "column PatientID: numbers, not text, in row 2: read as text",
        "column StudyDate: dates or times, not text, in row 2: read as text",
        "column StudyTime: dates or times, not text, in row 2: read as text",
    )


def test_a_number_shown_with_leading_zeros_keeps_them(tmp_path: Path) -> None:
    path = workbook(tmp_path, ["PatientID"], [1234], formats={"A2": "0000000"})
    assert read_queries(path).rows[0].keys == {"PatientID": "0001234"}


def test_numbers_of_different_widths_have_lost_their_zeros_and_are_refused(tmp_path: Path) -> None:
    path = workbook(tmp_path, ["PatientID"], *[[12345670 + n] for n in range(5)], [45678])
    with pytest.raises(QueryFileError) as raised:
        read_queries(path)
    assert raised.value.problems == [
        "column PatientID: fewer than 8 digits in row 7: leading zeros are lost; "
        "format the column as text, restore"
    ]


def test_a_number_of_too_many_digits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(QueryFileError) as raised:
        read_queries(workbook(tmp_path, ["PatientID"], [1234567890123456]))
    assert "row 2, column PatientID: a number of more than 15 digits" in raised.value.problems[0]
    assert "1234567890123456" not in str(raised.value)


def test_truth_values_and_errors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(QueryFileError) as raised:
        read_queries(workbook(tmp_path, ["PatientID", "Modality"], [True, "CT"], ["P1", "#N/A"]))
    assert [problem.split(":")[0] for problem in raised.value.problems] == [
        "row 2, column PatientID",
        "row 3, column Modality",
    ]


def test_problems_of_a_workbook_name_row_and_column(tmp_path: Path) -> None:
    with pytest.raises(QueryFileError) as raised:
        read_queries(workbook(tmp_path, ["StudyDate"], ["20200231"], ["20200101"]))
    assert raised.value.problems == [
        "row 2, column StudyDate: there is no such date; write YYYYMMDD"
    ]


def test_only_the_first_sheet_with_cells_is_read_and_the_others_are_noted(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.create_sheet("queries").append(["PatientID"])
    book["queries"].append(["P1"])
    book.create_sheet("others").append(["PatientID"])
    book.save(tmp_path / "q.xlsx")
    read = read_queries(tmp_path / "q.xlsx")
    assert read.rows[0].keys == {"PatientID": "P1"}
    assert read.notes == ("only the first of 2 sheets was read",)


def test_a_parquet_file_is_read(tmp_path: Path) -> None:
    path = parquet(
        tmp_path,
        {
            "PatientID": ["007", None],
            "StudyDate": [datetime.date(2020, 1, 2), None],
            "SeriesNumber": [1.0, 2.0],
            "AccessionNumber": [1234567890123456, 1],
            "__index_level_0__": [0, 1],
        },
    )
    read = read_queries(path)
    assert [row.keys for row in read.rows] == [
        {
            "PatientID": "007",
            "StudyDate": "20200102",
            "SeriesNumber": "1",
            "AccessionNumber": "1234567890123456",
        },
        {"SeriesNumber": "2", "AccessionNumber": "1"},
    ]


def test_a_missing_number_of_pandas_is_an_empty_cell(tmp_path: Path) -> None:
    path = parquet(tmp_path, {"PatientID": ["P1", "P2"], "SeriesNumber": [float("nan"), 3.0]})
    assert [row.keys.get("SeriesNumber") for row in read_queries(path).rows] == [None, "3"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"PK\x03\x04 is no archive", "no Excel workbook"),
        (b"PAR1 is no table", "no Parquet file"),
        (b"\xd0\xcf\x11\xe0 is an old workbook", "an old Excel file"),
    ],
)
def test_a_file_that_only_looks_like_a_table_is_refused(
    tmp_path: Path, content: bytes, says: str
) -> None:
    (tmp_path / "q").write_bytes(content)
    with pytest.raises(InputError, match=says):
        read_queries(tmp_path / "q")


def test_an_empty_workbook_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is empty"):
        read_queries(workbook(tmp_path))
