"""The file of `--new_ids`."""

from __future__ import annotations

from pathlib import Path

import pytest

from pacstream.errors import InputError
from pacstream_cli.id_mapping import MappingError, read_mapping


def read(folder: Path, text: str) -> list[tuple[str, str, str]]:
    path = folder / "ids"
    path.write_text(text, "utf-8")
    return [(one.name, one.pseudonym, one.issuer) for one in read_mapping(path)]


@pytest.mark.parametrize(
    "text",
    [
        '{"sub-HU/101 A": "000001", "sub-12": "000002"}',
        "sub-HU/101 A,000001\nsub-12,000002\n",
        "\ufeffsub-HU/101 A;000001\r\n\r\nsub-12;000002",
        "new_ids\tPatientID\n000001\tsub-HU/101 A\n000002\tsub-12\n",
    ],
)
def test_json_and_csv_with_and_without_header(text: str, tmp_path: Path) -> None:
    assert read(tmp_path, text) == [("sub-HU/101 A", "000001", ""), ("sub-12", "000002", "")]


def test_a_mapping_that_was_written_is_read(tmp_path: Path) -> None:
    text = "PatientID,IssuerOfPatientID,Pseudonym,DateShiftDays\n12,A,S1,-70\n12,B,S2,-7\n"
    assert read(tmp_path, text) == [("12", "S1", "A"), ("12", "S2", "B")]


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ('{"sub-1": 1, "sub-2": "a b", "sub-3": null}', ["entry 1", "entry 3"]),
        ('{"sub-1": "S1", "sub-1": "S2"}', ["entry 2"]),
        ("sub-1,S1\nsub-2\n,S3\nsub-4,\n", ["line 2", "line 3", "line 4"]),
        ("sub-1,S1\nsub-2,s1\nsub-3,../..\n", ["line 2", "line 3"]),
    ],
)
def test_all_problems_are_told_by_their_place(
    text: str, problems: list[str], tmp_path: Path
) -> None:
    with pytest.raises(MappingError) as caught:
        read(tmp_path, text)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == problems


@pytest.mark.parametrize("text", ["", "PatientID,new_ids\n", "{}", '{"a": ', 'a,"b\n'])
def test_a_file_without_entries_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        read(tmp_path, text)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ids").write_bytes(b"\xff\xfe\0x")
    with pytest.raises(InputError, match="UTF-8"):
        read_mapping(tmp_path / "ids")
