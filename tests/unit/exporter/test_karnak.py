"""Karnak's elements in the instances of a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from pacstream.errors import InputError, RetryLaterError
from pacstream_exporter.karnak import Summary, Tags, tag_folders
from tests.unit.anonymizer.instances import saved
from tests.unit.exporter.folders import contents, fill, instance_of

TAGS = Tags("000017", "Étude 3", -12)


def tagged(folder: Path, tags: Tags = TAGS) -> Summary:
    return tag_folders({folder: tags})


def elements(path: Path) -> dict[int, tuple[str, str]]:
    """Implicit encodings have no VR: pydicom calls what is private UN."""
    found: dict[int, tuple[str, str]] = {}
    for one in dcmread(path).group_dataset(0x000B):
        is_bytes = isinstance(one.value, bytes)
        text = one.value.decode("latin-1").strip() if is_bytes else str(one.value)
        found[int(one.tag)] = ("LO" if is_bytes else str(one.VR), text)
    return found


def expected(code: str, album: str, shift: str, creator: str = "CHUV_DEV_TML") -> dict[int, Any]:
    values = {0x000B0010: creator, 0x000B1001: code, 0x000B1002: album, 0x000B1003: shift}
    return {tag: ("LO", value) for tag, value in values.items()}


def without_group(path: Path) -> Dataset:
    header = dcmread(path)
    for tag in [one.tag for one in header.group_dataset(0x000B)]:
        del header[tag]
    return header


def an_image(path: Path, syntax: str = ExplicitVRLittleEndian, **attributes: Any) -> Path:
    image = instance_of("P1", 1, 1, 1, **{"SpecificCharacterSet": "ISO_IR 100", **attributes})
    return saved(image, path, syntax)


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_the_four_elements_are_added_and_nothing_else_changes(syntax: str, tmp_path: Path) -> None:
    path = an_image(tmp_path / "sub-1" / "a", syntax)
    path.chmod(0o640)
    before, bytes_before = without_group(path), path.read_bytes()
    summary = tagged(tmp_path / "sub-1")
    assert (summary.instances, summary.tagged, summary.is_whole) == (1, 1, True)
    assert elements(path) == expected("000017", "Étude 3", "-12")
    assert without_group(path) == before
    block = 4 * 8 + len("CHUV_DEV_TML000017Étude 3 -12 ")
    after = path.read_bytes()
    assert len(after) == len(bytes_before) + block
    at = next(n for n, (a, b) in enumerate(zip(after, bytes_before, strict=False)) if a != b)
    assert after[:at] + after[at + block :] == bytes_before
    assert path.stat().st_mode & 0o777 == 0o640
    assert [one.name for one in path.parent.iterdir()] == ["a"]


@pytest.mark.parametrize("name", ["MR_small.dcm", "JPEG2000.dcm", "rtplan.dcm", "CT_small.dcm"])
def test_real_files_keep_all_else(name: str, tmp_path: Path) -> None:
    content = Path(str(get_testdata_file(name))).read_bytes()
    path = tmp_path / "sub-1" / name
    path.parent.mkdir()
    path.write_bytes(content)
    before = without_group(path)
    assert tagged(tmp_path / "sub-1", Tags("c", "a")).tagged == 1
    assert elements(path) == expected("c", "a", "0")
    assert without_group(path) == before
    assert path.read_bytes().endswith(content[-1000:])


def test_a_second_run_changes_nothing_and_other_values_replace_them(tmp_path: Path) -> None:
    path = an_image(tmp_path / "sub-1" / "a")
    tagged(tmp_path / "sub-1")
    before, status = path.read_bytes(), path.stat()
    summary = tagged(tmp_path / "sub-1")
    assert (summary.tagged, summary.before, path.stat()) == (0, 1, status)
    tagged(tmp_path / "sub-1", Tags("000018", "Other"))
    assert elements(path) == expected("000018", "Other", "0")
    tagged(tmp_path / "sub-1")
    assert path.read_bytes() == before


def test_elements_of_others_in_the_group_stay(tmp_path: Path) -> None:
    image = instance_of("P1", 1, 1, 1)
    image.add_new(0x000B0010, "LO", "CHUV_DEV_TML")
    image.add_new(0x000B0011, "LO", "SOMEBODY")
    image.add_new(0x000B1001, "LO", "old")
    image.add_new(0x000B1004, "LO", "ours, unknown")
    image.add_new(0x000B1101, "LO", "theirs")
    image.add_new(0x00091001, "LO", "before")
    path = saved(image, tmp_path / "sub-1" / "a")
    tagged(tmp_path / "sub-1", Tags("new", "album"))
    found = elements(path)
    assert found == expected("new", "album", "0") | {
        0x000B0011: ("LO", "SOMEBODY"),
        0x000B1004: ("LO", "ours, unknown"),
        0x000B1101: ("LO", "theirs"),
    }
    assert [*found] == sorted(found)


def test_a_block_of_another_creator_is_not_taken(tmp_path: Path) -> None:
    path = an_image(tmp_path / "sub-1" / "a")
    tagged(tmp_path / "sub-1", Tags("c", "a", creator="ANOTHER"))
    before = path.read_bytes()
    summary = tagged(tmp_path / "sub-1")
    assert [one.reason for one in summary.left_out] == ["private_block_taken"]
    assert not summary.is_whole and path.read_bytes() == before


@pytest.mark.parametrize(
    ("character_set", "reasons"),
    [("ISO_IR 192", []), ("ISO_IR 100", []), (None, ["not_encodable"]),
     ("ISO_IR 144", ["not_encodable"]), (["", "ISO 2022 IR 100"], ["not_encodable"])],
)  # fmt: skip
def test_an_album_is_written_in_the_character_set_of_the_file(
    character_set: object, reasons: list[str], tmp_path: Path
) -> None:
    image = instance_of("P1", 1, 1, 1)
    if character_set:
        image.SpecificCharacterSet = character_set
    path = saved(image, tmp_path / "sub-1" / "a")
    summary = tagged(tmp_path / "sub-1")
    assert [one.reason for one in summary.left_out] == reasons
    assert (elements(path) == expected("000017", "Étude 3", "-12")) is not bool(reasons)


def test_what_is_no_whole_instance_is_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "sub-1"
    whole = an_image(folder / "a").read_bytes()
    (folder / "cut").write_bytes(whole[:-3])
    (folder / "notes.txt").write_text("notes")
    outside = an_image(tmp_path / "elsewhere")
    (folder / "link").symlink_to(outside)
    deflated = an_image(folder / "z", DeflatedExplicitVRLittleEndian)
    deflated.write_bytes(deflated.read_bytes()[:-30])
    before = {path: path.read_bytes() for path in (folder / "cut", outside, deflated)}
    summary = tagged(folder)
    assert sorted(one.reason for one in summary.left_out) == [
        "linked_file", "not_dicom", "truncated", "truncated",
    ]  # fmt: skip
    assert (summary.instances, summary.tagged) == (4, 1)
    assert {path: path.read_bytes() for path in before} == before


def test_a_deflated_file_is_tagged_and_stays_deflated(tmp_path: Path) -> None:
    path = an_image(tmp_path / "sub-1" / "z", DeflatedExplicitVRLittleEndian)
    before = pydicom.dcmread(path)
    assert (tagged(path.parent).tagged, tagged(path.parent).before) == (1, 1)
    after = pydicom.dcmread(path)
    assert after.file_meta == before.file_meta and path.stat().st_size % 2 == 0
    assert all(after[tag] == before[tag] for tag in before.keys())  # noqa: SIM118 - tags
    assert len(after) == len(before) + 4
    other = an_image(tmp_path / "sub-1" / "a")
    tagged(path.parent)
    assert elements(path) == elements(other)


@pytest.mark.parametrize("text", ["", " ", "a\\b", "a\nb", "x" * 65])
def test_a_text_that_is_no_lo_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="the album"):
        Tags("c", text)


@pytest.mark.parametrize("at", range(4))
def test_an_interruption_leaves_whole_files(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the disk fails, each file is the old one or the new one."""
    folder = fill(tmp_path / "in", patients=1, sessions=1, series=1, files=3)
    old = contents(folder)
    calls = iter(range(1000))

    def failing(name: str) -> None:
        original = getattr(os, name)

        def call(*arguments: Any) -> Any:
            if next(calls) == at:
                raise OSError(28, "No space left")
            return original(*arguments)

        monkeypatch.setattr(os, name, call)

    failing("fdatasync")
    failing("fchmod")
    with pytest.raises(RetryLaterError, match="ENOSPC"):
        tagged(folder, Tags("c", "a"))
    monkeypatch.undo()
    between = contents(folder)
    assert set(between) == set(old)
    for path in folder.rglob("CT.*"):
        is_old = between[str(path.relative_to(folder))] == old[str(path.relative_to(folder))]
        assert is_old or elements(path)
        assert dcmread(path).PixelData == bytes(range(32))
    summary = tagged(folder, Tags("c", "a"))
    assert (summary.is_whole, summary.tagged + summary.before) == (True, 3)
