from __future__ import annotations

import gzip
import io
from collections.abc import Sequence
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import ImplicitVRLittleEndian

from pacstream.errors import RejectedError
from pacstream_converter.originals import read_original, read_originals
from tests.unit.converter.samples import image, write


def mosaic(source: Path) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(gzip.decompress(source.read_bytes())))


def test_a_mosaic_counts_its_tiles(tmp_path: Path, mosaics: Sequence[Path]) -> None:
    mosaic(mosaics[0]).save_as(tmp_path / "1.dcm")
    assert read_original(tmp_path / "1.dcm").slices == 48


def test_a_mosaic_counts_its_tiles_in_implicit_vr(tmp_path: Path, mosaics: Sequence[Path]) -> None:
    write(mosaic(mosaics[0]), tmp_path / "1.dcm", ImplicitVRLittleEndian)
    assert read_original(tmp_path / "1.dcm").slices == 48


def test_an_older_mosaic_tells_its_tiles_in_the_csa_header(
    tmp_path: Path, mosaics: Sequence[Path]
) -> None:
    ds = mosaic(mosaics[0])
    del ds[0x0019, 0x100A]
    ds.save_as(tmp_path / "1.dcm")
    assert read_original(tmp_path / "1.dcm").slices == 48


def test_a_mosaic_without_private_attributes_is_one_slice(
    tmp_path: Path, mosaics: Sequence[Path]
) -> None:
    ds = mosaic(mosaics[0])
    ds.remove_private_tags()
    ds.save_as(tmp_path / "1.dcm")
    assert read_original(tmp_path / "1.dcm").slices == 1


@pytest.mark.parametrize(("frames", "slices"), [(None, 1), ("", 1), ("12", 12)])
def test_frames_are_slices(tmp_path: Path, frames: str | None, slices: int) -> None:
    ds = image("CT", 0)
    if frames is not None:
        ds.NumberOfFrames = frames
    write(ds, tmp_path / "1.dcm")
    assert read_original(tmp_path / "1.dcm").slices == slices


@pytest.mark.parametrize(
    ("sop_class", "reason"),
    [
        ("1.2.840.10008.5.1.4.1.1.88.59", "key_object_selection"),
        ("1.2.840.10008.5.1.4.1.1.88.11", "structured_report"),
        ("1.2.840.10008.5.1.4.1.1.11.1", "presentation_state"),
        ("1.2.840.10008.5.1.4.1.1.104.1", "encapsulated_document"),
        ("1.2.840.10008.5.1.4.1.1.66", "registration_or_raw_data"),
        ("1.2.840.10008.5.1.4.1.1.481.3", "radiotherapy_object"),
        ("1.2.826.0.1.4711.99", "no_pixels"),
    ],
)
def test_an_object_without_rows_tells_what_it_is(
    tmp_path: Path, sop_class: str, reason: str
) -> None:
    ds = image("CT", 0)
    ds.SOPClassUID = sop_class
    del ds.Rows, ds.Columns, ds.PixelData
    write(ds, tmp_path / "1.dcm")
    original = read_original(tmp_path / "1.dcm")
    assert (original.slices, original.reason) == (0, reason)


@pytest.mark.parametrize("content", [b"", b"DICM", bytes(128) + b"DICM\x02\x00", b"x" * 5000])
def test_bytes_that_are_no_data_set_are_unreadable_or_without_an_image(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "1.dcm").write_bytes(content)
    assert read_original(tmp_path / "1.dcm").slices == 0


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    read: list[Path] = []
    dcmread = pydicom.dcmread

    def counted(path: Path, **options: object) -> pydicom.Dataset:
        read.append(path)
        return dcmread(path, **options)

    monkeypatch.setattr(pydicom, "dcmread", counted)
    return read


def test_of_instances_with_the_same_header_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = []
    for number in range(6):
        ds = image("CT", number)
        if number == 4:
            ds.NumberOfFrames = "12"
        if number == 5:
            del ds.Rows
        paths.append(tmp_path / f"{number}.dcm")
        write(ds, paths[-1], *[ImplicitVRLittleEndian] * (number == 3))
    alone = [read_original(path) for path in paths]
    read = count_reads(monkeypatch)
    assert read_originals(paths) == alone
    assert [one.slices for one in alone] == [1, 1, 1, 1, 12, 0]
    assert read == [paths[0], *paths[3:]]


def test_every_mosaic_tells_its_own_tiles(tmp_path: Path, mosaics: Sequence[Path]) -> None:
    ds = mosaic(mosaics[0])
    ds.save_as(tmp_path / "1.dcm")
    ds.remove_private_tags()
    ds.save_as(tmp_path / "2.dcm")
    paths = [tmp_path / "1.dcm", tmp_path / "2.dcm"]
    assert [one.slices for one in read_originals(paths)] == [48, 1]


def test_an_original_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RejectedError) as refusal:
        read_original(tmp_path / "1.dcm")
    assert refusal.value.code == "original_missing"
