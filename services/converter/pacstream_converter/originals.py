"""What the headers of the originals say about a conversion: are they images, how many slices."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from pacstream.errors import RejectedError, RetryLaterError

with warnings.catch_warnings():
    # It warns on import that its DICOM readers are experimental; only its CSA parser is used.
    warnings.simplefilter("ignore")
    from nibabel.nicom import csareader

HEADER_KEYWORDS = ["SOPClassUID", "ImageType", "NumberOfFrames", "Rows", "Columns"]

STORAGE = "1.2.840.10008.5.1.4.1.1."

NOT_IMAGES = (
    (f"{STORAGE}88.59", "key_object_selection"),
    (f"{STORAGE}88.", "structured_report"),
    (f"{STORAGE}11.", "presentation_state"),
    (f"{STORAGE}9.", "waveform"),
    (f"{STORAGE}66", "registration_or_raw_data"),
    (f"{STORAGE}104.", "encapsulated_document"),
    (f"{STORAGE}481.", "radiotherapy_object"),
)
"""Reason codes for objects without pixels, by how their SOP Class UID begins (PS3.6 table A-1)."""

BAD_HEADER = (
    InvalidDicomError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    NotImplementedError,
    struct.error,
)
"""What pydicom raises on bytes that are no data set."""


@dataclass(frozen=True)
class Original:
    """One instance; `slices` is 0 for an object without an image or that can't be read."""

    path: Path
    slices: int
    reason: str = ""


def read_originals(paths: Iterable[Path]) -> list[Original]:
    """Read the headers. Raises RejectedError `original_missing` or RetryLaterError `disk`."""
    return [read_original(path) for path in paths]


def read_original(path: Path) -> Original:
    """Decide by Rows and Columns (type 1 in the Image Pixel Module, PS3.3 C.7.6.3).

    Raises as `read_originals` does.
    """
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=HEADER_KEYWORDS)
        if header.get("Rows") and header.get("Columns"):
            return Original(path, slices=_slices(path, header))
        return Original(path, slices=0, reason=_kind(str(header.get("SOPClassUID", ""))))
    except FileNotFoundError:
        raise RejectedError("an original is not in the archive", code="original_missing") from None
    except OSError:
        raise RetryLaterError("an original can't be read", code="disk") from None
    except BAD_HEADER:
        return Original(path, slices=0, reason="unreadable")


def _kind(sop_class: str) -> str:
    for start, reason in NOT_IMAGES:
        if sop_class.startswith(start):
            return reason
    return "no_pixels"


def _slices(path: Path, header: Dataset) -> int:
    frames = int(header.get("NumberOfFrames") or 1)
    if frames == 1 and "MOSAIC" in (header.get("ImageType") or ()):
        return _tiles(pydicom.dcmread(path, stop_before_pixels=True))
    return max(frames, 1)


def _tiles(header: Dataset) -> int:
    """Slices in a Siemens mosaic, from (0019,xx0A) or from the CSA image header (0029,xx10)."""
    try:
        return int(header.private_block(0x0019, "SIEMENS MR HEADER")[0x0A].value)
    except (KeyError, ValueError, TypeError):
        csa = csareader.get_csa_header(header, "image")
        return int((csareader.get_n_mosaic(csa) if csa else None) or 1)
