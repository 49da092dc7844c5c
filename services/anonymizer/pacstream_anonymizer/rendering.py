"""Frames as pictures, for eyes and for a text detector. Identified: for the trusted zone only.

Nothing here decides what is released, and nothing of the release is made of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.pixels import apply_color_lut, pixel_array

Picture = NDArray[np.uint8]
"""Rows x columns of grey, or rows x columns x 3 of red, green and blue."""

DARKEST, BRIGHTEST = 0.5, 99.9
"""Percentiles of grey values that become black and white: a few outliers (metal, a marker) must not
make everything else dark."""

LARGEST_FRAME = 2**26
"""Pixels: more are no picture of a patient, or a trap."""


class NoPictureError(Exception):
    """The frame can't be shown; the text is a code."""


def header(path: Path) -> Dataset:
    """The data set without pixels. Raises NoPictureError."""
    try:
        return dcmread(path, stop_before_pixels=True)
    except Exception:  # noqa: BLE001 - pydicom and its decoders raise anything
        raise NoPictureError("unreadable") from None


def frame_count(head: Dataset) -> int:
    """Number of Frames (PS3.3 section C.7.6.6); 1 where it is not given, or no number."""
    text = str(head.get("NumberOfFrames") or "1").strip()
    return max(1, int(text)) if text.isdecimal() else 1


def rendered(path: Path, head: Dataset, index: int) -> Picture:
    """Frame `index`, counted from 0, with 8 bits a sample.

    Raises NoPictureError if it has no pixels, or can't be decoded here.
    """
    rows, columns = int(head.get("Rows") or 0), int(head.get("Columns") or 0)
    if not rows or not columns:
        raise NoPictureError("no_pixels")
    if rows * columns > LARGEST_FRAME:
        raise NoPictureError("too_large")
    try:
        frame = pixel_array(path, index=index)
        if head.get("PhotometricInterpretation") == "PALETTE COLOR":
            frame = apply_color_lut(frame, head)
    except Exception:  # noqa: BLE001 - pydicom and its decoders raise anything
        raise NoPictureError("not_decodable") from None
    return _eight_bits(frame, inverted=head.get("PhotometricInterpretation") == "MONOCHROME1")


def _eight_bits(frame: NDArray[Any], *, inverted: bool) -> Picture:
    values = frame.astype(np.float32)
    low, high = np.percentile(values, (DARKEST, BRIGHTEST))
    if high <= low:
        # A mark of a few pixels on an even ground lies outside of the percentiles.
        low, high = float(values.min()), float(values.max())
    if high <= low:
        return np.zeros(frame.shape, np.uint8)
    scaled = np.clip((values - low) / (high - low), 0.0, 1.0)
    return np.asarray(255 * (1 - scaled if inverted else scaled), np.uint8)
