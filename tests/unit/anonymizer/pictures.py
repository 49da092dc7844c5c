"""Images with text burned in, made by code in every form, and a profile that knows the device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.pixels import pixel_array
from pydicom.uid import SecondaryCaptureImageStorage

from pacstream_anonymizer.profile import DEFAULT, DeviceRegions, Profile, Rectangle
from tests.unit.anonymizer.instances import an_instance

ROWS, COLUMNS = 37, 34
RECTANGLES: tuple[Rectangle, ...] = ((0, 0, COLUMNS, 2), (3, 4, 5, 3))


def knowing(*rectangles: Rectangle, **signature: Any) -> Profile:
    """A profile with one table of regions."""
    size = {"rows": ROWS, "columns": COLUMNS}
    given: dict[str, Any] = {"model": "", "software": ""} | size | signature
    table = DeviceRegions("ACME", rectangles=rectangles or RECTANGLES, **given)
    return Profile(DEFAULT.options, name="regions", regions=(table,))


def a_picture(frames: int = 1, **attributes: Any) -> Dataset:
    """A secondary capture of noise whose header calls it burned in; MONOCHROME2 of 8 bits if
    `attributes` say nothing else. Big endian words are not turned."""
    given = {
        "SOPClassUID": SecondaryCaptureImageStorage,
        "Manufacturer": "ACME",
        "ManufacturerModelName": "Scan 3",
        "ConversionType": "WSD",
        "Modality": "OT",
        "ImageType": ["ORIGINAL", "SECONDARY"],
        "BurnedInAnnotation": "YES",
        "Rows": ROWS,
        "Columns": COLUMNS,
        "BitsAllocated": 8,
        "BitsStored": 8,
        **attributes,
    }
    given.setdefault("HighBit", given["BitsStored"] - 1)
    data_set = an_instance(**given)
    if frames > 1:
        data_set.NumberOfFrames = frames
    if given.get("SamplesPerPixel", 1) > 1:
        data_set.PlanarConfiguration = given.get("PlanarConfiguration", 0)
    if "PixelData" not in attributes:
        data_set.PixelData = noise(data_set, frames)
        data_set["PixelData"].VR = "OW" if data_set.BitsAllocated > 8 else "OB"
    return data_set


def noise(data_set: Dataset, frames: int) -> bytes:
    """Samples that use just the bits that are stored."""
    random = np.random.default_rng(7)
    samples = 2 if data_set.PhotometricInterpretation.endswith("422") else data_set.SamplesPerPixel
    count = frames * data_set.Rows * data_set.Columns * samples
    allocated, stored = data_set.BitsAllocated, data_set.BitsStored
    if allocated == 1:
        content = np.packbits(random.integers(0, 2, count, np.uint8), bitorder="little").tobytes()
    else:
        low = -(1 << (stored - 1)) if data_set.PixelRepresentation else 0
        values = random.integers(low, low + (1 << stored), count, np.int64)
        shifted = values << (data_set.HighBit + 1 - stored)
        content = shifted.astype(f"<i{allocated // 8}").tobytes()
    return content + b"\0" * (len(content) % 2)


def samples_of(path: Path, **options: Any) -> NDArray[Any]:
    """Frames x rows x columns x samples."""
    head = dcmread(path, stop_before_pixels=True)
    deflated = head.file_meta.TransferSyntaxUID.is_deflated
    found = pixel_array(dcmread(path) if deflated else path, raw=True, **options)
    shape = (int(head.get("NumberOfFrames") or 1), head.Rows, head.Columns, head.SamplesPerPixel)
    return np.asarray(found.reshape(shape))


def inside(rectangles: tuple[Rectangle, ...], rows: int, columns: int) -> NDArray[np.bool_]:
    mask = np.zeros((rows, columns), bool)
    for left, top, width, height in rectangles:
        mask[top : top + height, left : left + width] = True
    return mask
