"""Rectangles of a device's images are black in the release, and nothing else is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import parse_basic_offsets
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from pacstream_anonymizer.deidentifier import Released, deidentify_instance
from pacstream_anonymizer.profile import Profile
from tests.unit.anonymizer.encoders import compressed
from tests.unit.anonymizer.instances import KEY, order_for, released_path
from tests.unit.anonymizer.pictures import (
    COLUMNS,
    RECTANGLES,
    ROWS,
    a_picture,
    inside,
    knowing,
    samples_of,
)

GREY: dict[str, Any] = {"PhotometricInterpretation": "MONOCHROME2"}
SIGNED = {**GREY, "PixelRepresentation": 1}
COLOUR = {"SamplesPerPixel": 3}
RGB = {**COLOUR, "PhotometricInterpretation": "RGB"}
YBR = {**COLOUR, "PhotometricInterpretation": "YBR_FULL"}


def bits(allocated: int, stored: int, high_bit: int = 0) -> dict[str, int]:
    high_bit = high_bit or stored - 1
    return {"BitsAllocated": allocated, "BitsStored": stored, "HighBit": high_bit}


KINDS = {
    "8 bits": (GREY, [0]),
    "inverted": ({"PhotometricInterpretation": "MONOCHROME1"}, [255]),
    "inverted, 12 of 16": ({"PhotometricInterpretation": "MONOCHROME1", **bits(16, 12)}, [4095]),
    "16 bits": ({**GREY, **bits(16, 16)}, [0]),
    "signed, 16": ({**SIGNED, **bits(16, 16)}, [-32768]),
    "signed, 12 of 16": ({**SIGNED, **bits(16, 12)}, [-2048]),
    "signed, 12 of 16, high": ({**SIGNED, **bits(16, 12, 15)}, [-32768]),
    "inverted, signed": (
        {**SIGNED, "PhotometricInterpretation": "MONOCHROME1", **bits(16, 12)},
        [2047],
    ),
    "32 bits": ({**GREY, **bits(32, 32)}, [0]),
    "one bit": ({**GREY, **bits(1, 1, 0)}, [0]),
    "one bit, inverted": ({"PhotometricInterpretation": "MONOCHROME1", **bits(1, 1, 0)}, [1]),
    "colour": (RGB, [0, 0, 0]),
    "colour by plane": ({**RGB, "PlanarConfiguration": 1}, [0, 0, 0]),
    "colour, 16": ({**RGB, **bits(16, 16)}, [0, 0, 0]),
    "luminance": (YBR, [0, 128, 128]),
    "luminance by plane": ({**YBR, "PlanarConfiguration": 1}, [0, 128, 128]),
    "shared colours": ({**YBR, "PhotometricInterpretation": "YBR_FULL_422"}, [0, 128, 128]),
}

NATIVE = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "big endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
}


def check_blackness(before: Path, after: Path, black: list[int], **options: Any) -> None:
    """Black inside, outside as it was; of pixels that share colours, whole pairs are inside."""
    given, found = samples_of(before, **options), samples_of(after, **options)
    assert given.shape == found.shape
    is_inside = inside(RECTANGLES, ROWS, COLUMNS)
    assert (found[:, is_inside] == black).all()
    if dcmread(before).PhotometricInterpretation.endswith("422"):
        is_inside = is_inside.reshape(ROWS, -1, 2).any(axis=2).repeat(2, axis=1)
    assert np.array_equal(given[:, ~is_inside], found[:, ~is_inside])
    assert not (given[:, is_inside] == black).all()


def both(
    picture: Dataset,
    folder: Path,
    syntax: str = ExplicitVRLittleEndian,
    profile: Profile | None = None,
) -> tuple[Path, Path]:
    """Paths of the original and of its release."""
    after = released_path(picture, folder, syntax, profile or knowing())
    return folder / "in" / "source.dcm", after


def turned(picture: Dataset) -> Dataset:
    """With its samples in big endian words: what pydicom writes as it is given."""
    size = 2 if picture["PixelData"].VR == "OW" else 1
    size = max(size, picture.BitsAllocated // 8)
    words = np.frombuffer(picture.PixelData, f"<u{size}")
    picture.PixelData = words.byteswap().tobytes()
    return picture


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("syntax", NATIVE)
def test_native_pixels(syntax: str, kind: str, frames: int, tmp_path: Path) -> None:
    attributes, black = KINDS[kind]
    picture = a_picture(frames, **attributes)
    if syntax == "big endian":
        picture = turned(picture)
    before, after = both(picture, tmp_path, NATIVE[syntax])
    assert dcmread(after).file_meta.TransferSyntaxUID == NATIVE[syntax]
    check_blackness(before, after, black, correct_unused_bits=False)


LOSSLESS = {
    "RLE": RLELossless,
    "JPEG": JPEGLosslessSV1,
    "JPEG-LS": JPEGLSLossless,
    "JPEG 2000": JPEG2000Lossless,
}
COMPRESSED = [
    "8 bits",
    "inverted, 12 of 16",
    "16 bits",
    "signed, 16",
    "signed, 12 of 16",
    "colour",
    "colour by plane",
    "luminance",
]


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("kind", COMPRESSED)
@pytest.mark.parametrize("syntax", LOSSLESS)
def test_compressed_pixels(syntax: str, kind: str, frames: int, tmp_path: Path) -> None:
    attributes, black = KINDS[kind]
    picture = a_picture(frames, **attributes)
    before = compressed(picture, frames, LOSSLESS[syntax], tmp_path / "source.dcm")
    result = deidentify_instance(before, order_for(picture), KEY, tmp_path, profile=knowing())
    assert isinstance(result, Released), result
    check_blackness(before, result.path, black)
    after = dcmread(result.path)
    assert after.file_meta.TransferSyntaxUID == RLELossless
    assert len(parse_basic_offsets(after.PixelData)) == frames
    assert "LossyImageCompression" not in after
    assert after.get("PlanarConfiguration", 1) == 1
