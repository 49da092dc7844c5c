"""The column new_ids: pseudonyms that the file itself shows to be impossible are refused."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import pytest

from pacstream.pseudonyms import ProjectKey
from pacstream_cli.queryfile import QueryFile, QueryFileError, read_queries


def queries(tmp_path: Path, content: str) -> QueryFile:
    path = tmp_path / "q.csv"
    path.write_text(content)
    return read_queries(path)


def problems(tmp_path: Path, content: str) -> list[str]:
    with pytest.raises(QueryFileError) as raised:
        queries(tmp_path, content)
    return raised.value.problems


def test_a_pseudonym_is_no_key_of_the_query(tmp_path: Path) -> None:
    (row,) = queries(tmp_path, "AccessionNumber,new_ids\nA1,Sub_01-x\n").rows
    assert row.keys == {"AccessionNumber": "A1"}
    assert row.pseudonym == "Sub_01-x"
    assert "Sub_01-x" not in repr(row)


@pytest.mark.parametrize(
    "cell",
    ["a b", "a/b", "..", "é1", "S" * 65, "S*", '"a\\b"', ProjectKey(b"1" * 32).pseudonym("4711")],
)
def test_what_can_name_no_patient_of_a_release_is_refused(tmp_path: Path, cell: str) -> None:
    (problem,) = problems(tmp_path, f"PatientID,new_ids\n4711,{cell}\n")
    assert problem.startswith("row 2, column new_ids: ")
    assert cell not in problem


def test_a_row_of_nothing_but_a_pseudonym_is_refused(tmp_path: Path) -> None:
    found = problems(tmp_path, "PatientID,new_ids\nP1,S1\n,S2\n")
    assert found == ["row 3: all cells are empty; remove the row"]


def test_a_table_of_pseudonyms_only_is_refused(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "new_ids\nS1\n")
    assert problem.startswith("row 1: no column says what to look for")


def test_some_rows_without_a_pseudonym_are_named(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "PatientID,new_ids\nP1,S1\nP2,\n")
    assert problem.startswith("row 3, column new_ids: is empty")


def test_a_column_without_any_pseudonym_is_as_good_as_none(tmp_path: Path) -> None:
    assert [row.pseudonym for row in queries(tmp_path, "PatientID,new_ids\nP1,\nP2,\n").rows] == [
        "",
        "",
    ]


@pytest.mark.parametrize(
    "rows",
    [
        "PatientID,StudyDate,new_ids\nP1,20200101,S1\nP1,20210101,S2",
        "PatientID,StudyDate,new_ids\nP1,20200101,s1\nP1,20210101,S1",
        "StudyInstanceUID,Modality,new_ids\n1.2,MR,S1\n1.2,CT,S2",
        "SeriesInstanceUID,Modality,new_ids\n1.2,MR,S1\n1.2,CT,S2",
        "AccessionNumber,Modality,new_ids\nA1,MR,S1\nA1,CT,S2",
        "PatientName,Modality,new_ids\nDoe*,MR,S1\nDoe*,MR,S2",
    ],
)
def test_one_patient_with_two_pseudonyms_is_refused(tmp_path: Path, rows: str) -> None:
    (problem,) = problems(tmp_path, rows + "\n")
    assert problem.startswith("row 3, column new_ids: another pseudonym than in row 2")


@pytest.mark.parametrize("second", ["S1", "s1"])
def test_two_patients_with_one_pseudonym_are_refused(tmp_path: Path, second: str) -> None:
    (problem,) = problems(tmp_path, f"PatientID,new_ids\nP1,S1\nP2,{second}\n")
    assert problem.startswith("row 3, column new_ids: the pseudonym of row 2")


@pytest.mark.parametrize(
    "rows",
    [
        "PatientID,StudyDate,new_ids\nP1,20200101,S1\nP1,20210101,S1",
        "AccessionNumber,new_ids\nA1,S1\nA2,S1",
        "PatientID,new_ids\nP*,S1\nP1?,S2",
        "PatientID,AccessionNumber,new_ids\nP1,A1,S1\nP2,A1,S2",
    ],
)
def test_what_the_file_can_not_tell_is_left_to_the_ledger(tmp_path: Path, rows: str) -> None:
    assert len(queries(tmp_path, rows + "\n").rows) == 2


@pytest.mark.parametrize(
    "rows",
    [
        "PatientID,new_ids\nP4711,p4711",
        "PatientName,new_ids\nDoe^Jane,DOE",
        "AccessionNumber,new_ids\nA1,A1",
        "PatientBirthDate,PatientID,new_ids\n19700203,P1,19700203",
    ],
)
def test_an_identifier_of_the_file_is_no_pseudonym(tmp_path: Path, rows: str) -> None:
    (problem,) = problems(tmp_path, rows + "\n")
    assert "in this file" in problem


def test_the_same_row_with_the_same_pseudonym_is_merged(tmp_path: Path) -> None:
    read = queries(tmp_path, "PatientID,new_ids\nP1,S1\nP1,S1\n")
    assert [row.row for row in read.rows] == [2]
    assert read.notes == ("row 3 is the same as row 2: asked once",)


def test_the_column_twice_is_one_too_many(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "PatientID,new_ids,new_ids\nP1,S1,S2\n")
    assert problem == "row 1, column new_ids: is there twice; remove one"


def test_pseudonyms_that_a_spreadsheet_took_for_numbers_have_lost_their_zeros(
    tmp_path: Path,
) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["AccessionNumber", "new_ids"])
    for number in (7, 8, 100, 101, 102, 103, 104):
        sheet.append([f"A-{number}", number])
    book.save(tmp_path / "q.xlsx")
    with pytest.raises(QueryFileError) as raised:
        read_queries(tmp_path / "q.xlsx")
    (problem,) = raised.value.problems
    assert problem.startswith("column new_ids: fewer than 3 digits in rows 2")
