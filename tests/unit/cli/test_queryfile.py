"""The CSV of queries: what is accepted, and that every problem is named without its value."""

from __future__ import annotations

from pathlib import Path

import pytest

from pacstream.errors import InputError
from pacstream_cli.queryfile import QueryFile, QueryFileError, read_queries
from pacstream_query.columns import COLUMNS


def queries(tmp_path: Path, content: str | bytes) -> QueryFile:
    path = tmp_path / "q.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_queries(path)


def problems(tmp_path: Path, content: str | bytes) -> list[str]:
    with pytest.raises(QueryFileError) as raised:
        queries(tmp_path, content)
    assert str(raised.value).startswith("q.csv: ")
    return raised.value.problems


def only_problem(tmp_path: Path, content: str | bytes) -> str:
    (problem,) = problems(tmp_path, content)
    return problem


def test_rows_are_numbered_as_a_spreadsheet_does(tmp_path: Path) -> None:
    read = queries(tmp_path, 'PatientID,StudyDescription\nP1,"Head\nand neck"\nP2,\n')
    assert [row.row for row in read.rows] == [2, 3]
    assert read.rows[0].keys == {"PatientID": "P1", "StudyDescription": "Head and neck"}
    assert read.rows[1].keys == {"PatientID": "P2"}
    assert read.notes == ("row 2, column StudyDescription: a line break was read as a space",)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_spreadsheets_write_is_read(
    tmp_path: Path, delimiter: str, mark: bytes, end: str
) -> None:
    lines = [f"PatientID{delimiter}PatientName", f'01{delimiter}"Müller^Zoë"', ""]
    (row,) = queries(tmp_path, mark + end.join(lines).encode()).rows
    assert row.keys == {"PatientID": "01", "PatientName": "Müller^Zoë"}


def test_every_column_is_accepted(tmp_path: Path) -> None:
    cells = {"DA": "20200102", "TM": "101112", "UI": "1.2.3", "IS": "1"}
    header = ",".join(column.keyword for column in COLUMNS)
    record = ",".join(cells.get(column.vr, "A*") for column in COLUMNS)
    (row,) = queries(tmp_path, f"{header}\n{record}\n").rows
    assert len(row.keys) == 17


@pytest.mark.parametrize("value", ["NA", "NULL", "None", "nan", "0012"])
def test_words_for_missing_values_are_values(tmp_path: Path, value: str) -> None:
    assert queries(tmp_path, f"PatientID\n{value}\n").rows[0].keys == {"PatientID": value}


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("StudyDate", "20150201"),
        ("StudyDate", "20150201-20160201"),
        ("StudyDate", "20150201-"),
        ("AcquisitionDate", "-20160201"),
        ("PatientBirthDate", "20000229"),
        ("StudyTime", "10"),
        ("StudyTime", "1011-1011"),
        ("StudyTime", "101112.123456"),
        ("StudyTime", "101130-1011"),
        ("StudyTime", "-1200"),
        ("StudyInstanceUID", "1.2.840\\1.2.841"),
        ("SeriesNumber", "007"),
        ("PatientID", "P?0*"),
        ("PatientName", "Yamada^Tarou=山田^太郎"),
        ("PatientName", "A" * 64 + "=" + "B" * 64),
        ("ImageType", "ORIGINAL\\PRIMARY\\*"),
        ("SequenceName", "*fl3d1"),
    ],
)
def test_valid_cells_are_accepted(tmp_path: Path, column: str, cell: str) -> None:
    assert queries(tmp_path, f"{column}\n{cell}\n").rows[0].keys == {column: cell}


@pytest.mark.parametrize(
    ("column", "cell", "says"),
    [
        ("PatientID", "*", "only wildcards"),
        ("PatientID", "**", "only wildcards"),
        ("PatientName", "?*", "only wildcards"),
        ("StudyDate", "*", "only wildcards"),
        ("PatientID", "A" * 65, "longer than 64"),
        ("StudyDescription", "A" * 65, "longer than 64"),
        ("AccessionNumber", "A" * 17, "longer than 16"),
        ("Modality", "M" * 17, "longer than 16"),
        ("ImageType", "ORIGINAL\\" + "M" * 17, "longer than 16"),
        ("PatientName", "A" * 65, "64 characters"),
        ("PatientName", "A=B=C=D", "Family^Given"),
        ("PatientID", "A\\B", "backslash"),
        ("PatientID", "A\tB", "control characters"),
        ("StudyInstanceUID", "1.2." + "3" * 61, "64 characters"),
        ("StudyInstanceUID", "1.2.*", "no wildcards"),
        ("SeriesInstanceUID", "1.2.x", "digits and dots"),
        ("SeriesInstanceUID", "1..2", "digits and dots"),
        ("SeriesNumber", "1.5", "whole number"),
        ("SeriesNumber", "1*", "whole number"),
        ("SeriesNumber", "99999999999", "whole number"),
        ("StudyDate", "20150231", "no such date"),
        ("StudyDate", "20154401", "no such date"),
        ("StudyDate", "20150172", "no such date"),
        ("StudyDate", "18930402", "before 1900"),
        ("StudyDate", "2015020", "8 digits"),
        ("StudyDate", "201502011", "8 digits"),
        ("StudyDate", "2015O201", "8 digits"),
        ("StudyDate", "2015*", "8 digits"),
        ("StudyDate", "2015-02-01", "FROM-TO"),
        ("StudyDate", "-", "FROM-TO"),
        ("StudyDate", "20150201-20150231", "no such date"),
        ("StudyDate", "20150201-2015", "8 digits"),
        ("AcquisitionDate", "20160201-20150201", "reversed"),
        ("StudyTime", "2460", "no such time"),
        ("StudyTime", "24", "no such time"),
        ("StudyTime", "101", "no such time"),
        ("StudyTime", "10:11", "no such time"),
        ("StudyTime", "1200-1100", "reversed"),
    ],
)
def test_a_wrong_cell_is_named_by_row_and_column_without_its_value(
    tmp_path: Path, column: str, cell: str, says: str
) -> None:
    problem = only_problem(tmp_path, f'{column}\n"{cell}"\n')
    assert problem.startswith(f"row 2, column {column}: ")
    assert says in problem
    assert len(cell) < 4 or cell not in problem


def test_all_problems_are_listed_at_once(tmp_path: Path) -> None:
    content = "PatientID,StudyDate\nP1,20150231\n,\nP2,20150201\n*,2015\n"
    assert [problem.split(":")[0] for problem in problems(tmp_path, content)] == [
        "row 2, column StudyDate",
        "row 3",
        "row 5, column PatientID",
        "row 5, column StudyDate",
    ]


@pytest.mark.parametrize("empty", ["\n", ",\n", " , \n"])
def test_an_empty_row_in_the_middle_is_refused(tmp_path: Path, empty: str) -> None:
    content = f"PatientID,Modality\nP1,CT\n{empty}P2,CT\n"
    assert only_problem(tmp_path, content) == "row 3: all cells are empty; remove the row"


def test_blank_lines_at_the_end_are_no_rows(tmp_path: Path) -> None:
    assert len(queries(tmp_path, "PatientID\nP1\n\n\n").rows) == 1


def test_columns_that_a_spreadsheet_left_without_name_and_cells_are_no_columns(
    tmp_path: Path,
) -> None:
    assert queries(tmp_path, "PatientID,,\nP1,,\n").rows[0].keys == {"PatientID": "P1"}


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("PatientId", "PatientID"),
        ("Patient ID", "PatientID"),
        ("study_date", "StudyDate"),
        ("SeriesDesription", "SeriesDescription"),
        ("SeriesUID", ""),
    ],
)
def test_an_unknown_column_is_named_with_the_nearest_known_one(
    tmp_path: Path, name: str, nearest: str
) -> None:
    problem = only_problem(tmp_path, f"Modality,{name}\nCT,x\n")
    assert problem.startswith(f"row 1, column {name}: unknown column")
    assert nearest in problem


def test_a_file_without_header_is_refused_without_quoting_its_first_row(tmp_path: Path) -> None:
    problem = only_problem(tmp_path, "P4711,Doe^Jane\nP4712,Roe^Jim\n")
    assert problem.startswith("row 1: no known column")
    assert "P4711" not in problem
    assert "Doe" not in problem


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    problem = only_problem(tmp_path, "PatientID,Modality,PatientID\nP1,CT,P2\n")
    assert problem == "row 1, column PatientID: is there twice; remove one"


def test_a_column_without_a_name_is_refused(tmp_path: Path) -> None:
    assert "column 2 has no name" in only_problem(tmp_path, "PatientID,,Modality\nP1,x,CT\n")


def test_a_row_with_too_many_cells_is_refused(tmp_path: Path) -> None:
    problem = only_problem(tmp_path, "PatientID,Modality\nP1,CT,Doe\n")
    assert problem.startswith("row 2: has 3 cells, the header 2")
    assert "Doe" not in problem


def test_bytes_that_are_not_utf_8_are_named_by_row_and_column(tmp_path: Path) -> None:
    content = b"PatientID,PatientName\nP1,Doe\nP2,M\xfcller\n"
    assert only_problem(tmp_path, content).startswith(
        "row 3, column PatientName: has bytes that are not UTF-8"
    )


def test_quotes_that_do_not_pair_up_are_refused(tmp_path: Path) -> None:
    assert "quotes do not pair up" in only_problem(tmp_path, 'PatientID\n"P1\nP2\n')


def test_a_header_alone_is_refused(tmp_path: Path) -> None:
    assert "no rows below the header" in only_problem(tmp_path, "PatientID,Modality\n")


@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff", " \n"])
def test_an_empty_file_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(InputError, match="is empty"):
        queries(tmp_path, content)


def test_utf_16_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="save it as CSV UTF-8"):
        queries(tmp_path, "PatientID\nP1\n".encode("utf-16"))


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such query file"):
        read_queries(tmp_path / "none.csv")
    with pytest.raises(InputError, match="is a folder"):
        read_queries(tmp_path)


def test_identical_rows_are_asked_once_and_noted(tmp_path: Path) -> None:
    read = queries(tmp_path, "PatientID,Modality\nP1,CT\nP1,MR\nP1 ,CT\nP1,CT\n")
    assert [row.row for row in read.rows] == [2, 3]
    assert read.notes == (
        "row 4 is the same as row 2: asked once",
        "row 5 is the same as row 2: asked once",
    )


@pytest.mark.parametrize(
    ("column", "cell", "key"),
    [
        ("PatientSex", "F", "PatientSex"),
        ("(0010,0040)", "F", "PatientSex"),
        ("00100040", "F", "PatientSex"),
        ("(6000,0022)", "Over*", "60000022"),
        ("EchoTime", "3.2", "EchoTime"),
        ("AcquisitionDateTime", "20200101-20200131", "AcquisitionDateTime"),
        ("AcquisitionDateTime", "202001011200+0100", "AcquisitionDateTime"),
        ("ContentTime", "-1200", "ContentTime"),
        ("PatientAge", "018M", "PatientAge"),
        ("Rows", "512", "Rows"),
        ("BodyPartExamined", "Kopf", "BodyPartExamined"),
        ("SoftwareVersions", "A\\B", "SoftwareVersions"),
        ("PatientComments", "either\\or", "PatientComments"),
        ("StationName", "CT1", "StationName"),
    ],
)
def test_any_keyword_or_tag_of_a_key_is_a_column(
    tmp_path: Path, column: str, cell: str, key: str
) -> None:
    assert queries(tmp_path, f'"{column}"\n"{cell}"\n').rows[0].keys == {key: cell}


@pytest.mark.parametrize(
    ("column", "says"),
    [
        ("PixelData", "binary"),
        ("ReferencedStudySequence", "a sequence"),
        ("(0009,1001)", "private"),
        ("(0010,FFFE)", "not in DICOM's data dictionary"),
        ("QueryRetrieveLevel", "no attribute to ask for"),
        ("SpecificCharacterSet", "no attribute to ask for"),
        ("PatientSexx", "did you mean PatientSex?"),
    ],
)
def test_a_column_that_can_not_be_a_key_is_refused_with_the_reason(
    tmp_path: Path, column: str, says: str
) -> None:
    problem = only_problem(tmp_path, f'Modality,"{column}"\nCT,1\n')
    assert problem.startswith(f"row 1, column {column}: ")
    assert says in problem


def test_a_keyword_and_its_tag_are_the_same_column(tmp_path: Path) -> None:
    problem = only_problem(tmp_path, 'PatientID,"(0010,0020)"\nP1,P1\n')
    assert problem == "row 1, column (0010,0020): is there twice; remove one"


@pytest.mark.parametrize(
    ("column", "cell", "says"),
    [
        ("PatientID", "1.23E+15", "a spreadsheet has shortened"),
        ("AccessionNumber", "1,23E+15", "a spreadsheet has shortened"),
        ("SeriesNumber", "1E+05", "a spreadsheet has shortened"),
        ("StudyInstanceUID", "1.2E+40", "a spreadsheet has shortened"),
        ("EchoTime", "3*", "one number"),
        ("EchoTime", "3,2", "one number"),
        ("EchoTime", "3." + "0" * 15, "16 characters"),
        ("Rows", "65536", "from 0 to 65535"),
        ("Rows", "x", "whole number"),
        ("PatientAge", "18M", "three digits"),
        ("PatientAge", "18*", "three digits"),
        ("RetrieveURL", "", ""),
        ("StationAETitle", "A" * 17, "longer than 16"),
        ("ImageComments", "A" * 10241, "longer than 10240"),
        ("InstitutionAddress", "A" * 1025, "longer than 1024"),
        ("AcquisitionDateTime", "20200231", "no such date and time"),
        ("AcquisitionDateTime", "2020*", "no such date and time"),
        ("AcquisitionDateTime", "20210101-20200101", "reversed"),
        ("SeriesDate", "20200231", "no such date"),
        ("ContentTime", "2460", "no such time"),
        ("Modality", "mr", "capitals"),
        ("Modality", "MÜ", "unaccented"),
        ("PatientName", "*^*", "only wildcards"),
        ("ImageType", "*\\*", "only wildcards"),
    ],
)
def test_every_value_representation_has_its_format(
    tmp_path: Path, column: str, cell: str, says: str
) -> None:
    if not cell:
        assert queries(tmp_path, f"{column},PatientID\n,P1\n").rows[0].keys == {"PatientID": "P1"}
        return
    problem = only_problem(tmp_path, f'{column}\n"{cell}"\n')
    assert problem.startswith(f"row 2, column {column}: ")
    assert says in problem


def test_a_row_of_nothing_but_wildcards_is_refused(tmp_path: Path) -> None:
    content = "PatientID,PatientName,Modality\n*,?*,**\n"
    assert len(problems(tmp_path, content)) == 3


def column_of_cells(cells: list[str]) -> str:
    return "PatientID\n" + "".join(f"{cell}\n" for cell in cells)


def test_identifiers_that_are_shorter_than_the_others_are_noted(tmp_path: Path) -> None:
    cells = ["12345678", "23456789", "345678", "45678901", "56789012", "6789012"]
    (note,) = queries(tmp_path, column_of_cells(cells)).notes
    assert note.startswith("column PatientID: fewer than 8 digits in rows 4, 7: if a spreadsheet")
    assert "345678" not in note


@pytest.mark.parametrize(
    "cells",
    [
        ["1", "22", "333", "4444", "55555", "666666"],
        ["12345678", "23456789", "34567890", "45678901", "56789012"],
        ["12345678", "345678"],
        ["12345678", "23456789", "34567890", "A5678901", "6789012"],
    ],
)
def test_identifiers_without_a_common_width_are_left_alone(
    tmp_path: Path, cells: list[str]
) -> None:
    assert queries(tmp_path, column_of_cells(cells)).notes == ()


def test_quoted_newlines_tabs_and_delimiters_stay_in_their_cell(tmp_path: Path) -> None:
    content = 'PatientID\tStudyDescription\r\nP1\t"Head,\r\nneck; both"\r\n'
    (row,) = queries(tmp_path, content).rows
    assert row.keys == {"PatientID": "P1", "StudyDescription": "Head, neck; both"}


def test_latin_1_is_named_as_what_it_may_be(tmp_path: Path) -> None:
    content = "PatientName\nMüller\n".encode("latin-1")
    assert "(Latin-1?); save the file as CSV UTF-8" in only_problem(tmp_path, content)
