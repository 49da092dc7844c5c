"""Pixel data goes through untouched, or not at all."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, get_frame, parse_basic_offsets
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from pacstream_anonymizer.codestream import cleaned_frame
from pacstream_anonymizer.deidentifier import Released, deidentify_instance
from tests.unit.anonymizer.instances import (
    KEY,
    an_instance,
    order_for,
    reason,
    released,
    released_path,
    saved,
)

REAL = [
    "CT_small.dcm",
    "MR_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "MR_small_padded.dcm",
    "emri_small.dcm",
    "emri_small_RLE.dcm",
    "emri_small_big_endian.dcm",
    "693_J2KR.dcm",
    "liver.dcm",
]


@pytest.mark.parametrize("name", REAL)
def test_pixels_of_a_real_file_are_the_same_bytes(tmp_path: Path, name: str) -> None:
    source = Path(str(get_testdata_file(name)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = dcmread(source)
        result = deidentify_instance(source, order_for(before), KEY, tmp_path)
        assert isinstance(result, Released), result
        after = dcmread(result.path)
    assert after.PixelData == before.PixelData
    assert after.file_meta.TransferSyntaxUID == before.file_meta.TransferSyntaxUID


@pytest.mark.parametrize(
    "syntax",
    [
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ],
)
def test_a_native_image_keeps_its_transfer_syntax_and_pixels(tmp_path: Path, syntax: str) -> None:
    data_set = released(an_instance(), tmp_path, syntax)
    assert data_set.PixelData == bytes(range(32))
    assert data_set.file_meta.TransferSyntaxUID == syntax
    assert data_set.Rows == 4


@pytest.mark.parametrize(("keyword", "dtype"), [("Float", "f4"), ("DoubleFloat", "f8")])
def test_float_pixels_are_copied(tmp_path: Path, keyword: str, dtype: str) -> None:
    pixels = np.linspace(0, 1, 16, dtype=dtype).tobytes()
    given = an_instance()
    del given.PixelData
    setattr(given, f"{keyword}PixelData", pixels)
    assert released(given, tmp_path)[f"{keyword}PixelData"].value == pixels


def test_what_follows_pixel_data_is_dropped(tmp_path: Path) -> None:
    given = an_instance()
    given.add_new(0xFFFCFFFC, "OB", b"Quixotesson " * 50)
    content = released_path(given, tmp_path).read_bytes()
    assert content.endswith(bytes(range(32)))


@pytest.mark.parametrize("missing", [1, 20, 200])
def test_a_native_image_with_missing_bytes_is_withheld(tmp_path: Path, missing: int) -> None:
    given = an_instance()
    source = saved(given, tmp_path / "source.dcm")
    source.write_bytes(source.read_bytes()[:-missing])
    result = deidentify_instance(source, order_for(given), KEY, tmp_path / "out")
    assert getattr(result, "reason", "") == "truncated"


def test_an_image_with_fewer_pixels_than_it_says_is_withheld(tmp_path: Path) -> None:
    assert reason(an_instance(NumberOfFrames="2"), tmp_path / "a") == "truncated"
    without = an_instance()
    del without.PixelData
    assert reason(without, tmp_path / "b") == "truncated"


def test_bytes_hidden_behind_the_last_frame_are_withheld(tmp_path: Path) -> None:
    hidden = an_instance(PixelData=bytes(range(32)) + b"Quixotesson!")
    assert reason(hidden, tmp_path) == "excess_pixel_data"


SIGNATURE = b"LEAD Technologies Inc. V1.01"
"""An encoder's signature."""


def compressed(frame: bytes) -> Dataset:
    given = an_instance(PixelData=encapsulate([frame]))
    given["PixelData"].VR = "OB"
    given["PixelData"].is_undefined_length = True
    return given


def jpeg(comment: bytes) -> bytes:
    segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
    return b"\xff\xd8" + segment + b"\xff\xda\x00\x02" + b"\x01\x02\xff\xd9"


def j2k(comment: bytes, in_tile: bytes = b"") -> bytes:
    def segment(text: bytes) -> bytes:
        return b"\xff\x64" + (len(text) + 4).to_bytes(2, "big") + b"\0\1" + text if text else b""

    tile = segment(in_tile) + b"\xff\x93\x01\x02"
    head = b"\xff\x90\0\x0a\0\0" + (len(tile) + 12).to_bytes(4, "big") + b"\0\1"
    return b"\xff\x4f\xff\x51\x00\x02" + segment(comment) + head + tile + b"\xff\xd9"


@pytest.mark.parametrize(
    ("frame", "clean", "syntax"),
    [
        (jpeg(b"Doctorow"), b"\xff\xd8\xff\xda\x00\x02\x01\x02\xff\xd9", JPEGBaseline8Bit),
        (jpeg(SIGNATURE) + b"Doctorow", jpeg(SIGNATURE), JPEGBaseline8Bit),
        (
            jpeg(SIGNATURE)[:-2] + b"\xff\xfe\x00\x0aDoctorow\xff\xd9",
            jpeg(SIGNATURE),
            JPEGBaseline8Bit,
        ),
        (j2k(b"Kakadu-v5.2 Doctorow"), j2k(b""), JPEG2000Lossless),
        (j2k(b"Kakadu-v5.2.1") + b"Doctorow", j2k(b"Kakadu-v5.2.1"), JPEG2000Lossless),
    ],
)
def test_text_in_a_compressed_frame_is_cut_out(
    tmp_path: Path, frame: bytes, clean: bytes, syntax: str
) -> None:
    result = released(compressed(frame), tmp_path, syntax)
    assert get_frame(result.PixelData, 0, number_of_frames=1) == clean + b"\0" * (len(clean) % 2)


def test_a_comment_in_a_tile_part_is_withheld(tmp_path: Path) -> None:
    given = compressed(j2k(b"", in_tile=b"Doctorow"))
    source = saved(given, tmp_path / "source.dcm", JPEG2000Lossless)
    result = deidentify_instance(source, order_for(given), KEY, tmp_path / "out")
    assert getattr(result, "reason", "") == "codestream_comment"


def test_offsets_fit_the_frames_that_are_left_and_text_across_fragments_is_found(
    tmp_path: Path,
) -> None:
    first, second = jpeg(b"Doctorow!"), jpeg(b"Doc")
    pixels = encapsulate([first, second], has_bot=True, fragments_per_frame=2)
    given = an_instance(NumberOfFrames="2", PixelData=pixels)
    given["PixelData"].VR = "OB"
    given["PixelData"].is_undefined_length = True
    result = released(given, tmp_path, JPEGBaseline8Bit)
    clean = b"\xff\xd8\xff\xda\x00\x02\x01\x02\xff\xd9"
    assert parse_basic_offsets(result.PixelData) == [0, len(clean) + 8]
    assert [get_frame(result.PixelData, n, number_of_frames=2) for n in (0, 1)] == [clean, clean]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"Doctorow", "unreadable"),
        (jpeg(b"x")[:-2], "truncated"),
        (jpeg(b"x") + jpeg(b"y"), "unreadable"),
        (b"\0\0\0\x0cjP  Doctorow", "codestream_comment"),
    ],
)
def test_a_frame_that_is_none_is_withheld(tmp_path: Path, frame: bytes, code: str) -> None:
    given = compressed(frame)
    source = saved(given, tmp_path / "source.dcm", JPEGBaseline8Bit)
    result = deidentify_instance(source, order_for(given), KEY, tmp_path / "out")
    assert getattr(result, "reason", "") == code


def test_text_in_unused_offsets_of_an_rle_frame_is_withheld(tmp_path: Path) -> None:
    header = (1).to_bytes(4, "little") + (64).to_bytes(4, "little") + b"Doctorow".ljust(56, b"\0")
    given = compressed(header + b"\0\1" * 8)
    source = saved(given, tmp_path / "source.dcm", RLELossless)
    result = deidentify_instance(source, order_for(given), KEY, tmp_path / "out")
    assert getattr(result, "reason", "") == "unreadable"


PLANE = bytes([15]) + bytes(range(16))
"""The runs of a plane of 4 x 4 pixels in RLE."""


@pytest.mark.parametrize(
    ("segments", "reason"),
    [
        ([PLANE + b"\0", PLANE + b"\0"], ""),
        ([b"\x80" + PLANE, b"\xf1\x07"], ""),
        ([PLANE, PLANE + b"Doctorow"], "codestream_comment"),
        ([PLANE + b"Doctorow", PLANE], "codestream_comment"),
        ([PLANE, PLANE[:-3]], "truncated"),
        ([PLANE, b"\x03Doct"], "truncated"),
    ],
)
def test_rle_segments_hold_their_plane_and_nothing_else(
    tmp_path: Path, segments: list[bytes], reason: str
) -> None:
    starts = [64, 64 + len(segments[0])]
    frame = struct.pack("<16L", 2, *starts, *[0] * 13) + b"".join(segments)
    given = compressed(frame + b"\0" * (len(frame) % 2))
    source = saved(given, tmp_path / "source.dcm", RLELossless)
    result = deidentify_instance(source, order_for(given), KEY, tmp_path / "out")
    assert getattr(result, "reason", "") == reason


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (struct.pack("<L", 0), ""),
        (struct.pack("<2L", 0, 8 + len(jpeg(SIGNATURE))), ""),
        (b"Doctorow", "unreadable"),
        (b"Do", "unreadable"),
    ],
)
def test_an_offset_table_names_places_of_fragments(
    tmp_path: Path, table: bytes, reason: str
) -> None:
    item = b"\xfe\xff\x00\xe0"
    parts = (table, jpeg(SIGNATURE), jpeg(SIGNATURE))
    given = an_instance(NumberOfFrames="2")
    given.PixelData = b"".join(item + struct.pack("<L", len(part)) + part for part in parts)
    given["PixelData"].VR, given["PixelData"].is_undefined_length = "OB", True
    source = saved(given, tmp_path / "source.dcm", JPEGBaseline8Bit)
    result = deidentify_instance(source, order_for(given), KEY, tmp_path / "out")
    assert getattr(result, "reason", "") == reason


@pytest.mark.parametrize("name", ["SC_rgb_jpeg_dcmtk.dcm", "JPEG2000.dcm", "JPEG-LL.dcm"])
def test_a_real_frame_decodes_to_the_same_pixels_without_its_comment(name: str) -> None:
    before = dcmread(str(get_testdata_file(name)))
    frame = get_frame(before.PixelData, 0, number_of_frames=1)
    size = frame.index(b"\xff", 2) if frame[:2] == b"\xff\xd8" else frame.index(b"\xff\x52")
    marker = b"\xff\xfe" if frame[:2] == b"\xff\xd8" else b"\xff\x64"
    planted = frame[:size] + marker + b"\x00\x0cQuixoteson" + frame[size:]
    clean = cleaned_frame(planted)
    assert b"Quixoteson" not in clean
    assert clean.rstrip(b"\0") == cleaned_frame(frame).rstrip(b"\0")


@pytest.mark.parametrize(
    ("frame", "syntax"),
    [
        (jpeg(b"LEAD Technologies Inc. V1.01\0"), JPEGBaseline8Bit),
        (j2k(b"Kakadu-v5.2.1"), JPEG2000Lossless),
    ],
)
def test_an_encoders_signature_is_no_comment(tmp_path: Path, frame: bytes, syntax: str) -> None:
    given = compressed(frame)
    assert released(given, tmp_path, syntax).PixelData == given.PixelData


def test_a_compressed_image_without_its_delimiter_is_withheld(tmp_path: Path) -> None:
    given = compressed(jpeg(b"LEAD Technologies Inc. V1.01"))
    source = saved(given, tmp_path / "s.dcm", JPEGBaseline8Bit)
    source.write_bytes(source.read_bytes()[:-8])
    result = deidentify_instance(source, order_for(given), KEY, tmp_path / "out")
    assert getattr(result, "reason", "") == "truncated"
