"""What the headers of the originals say about a conversion: are they images, how many slices."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from pacstream.charsets import decode, encodings_of
from pacstream.errors import RejectedError, RetryLaterError
from pacstream.skim import skim_file
from pacstream_converter import screen
from pacstream_converter.limits import NO_KIND, Kind

with warnings.catch_warnings():
    # It warns on import that its DICOM readers are experimental; only its CSA parser is used.
    warnings.simplefilter("ignore")
    from nibabel.nicom import csareader

CHARACTER_SET, ISSUER_OF_PATIENT_ID = 0x00080005, 0x00100021
HEADER_TAGS = screen.TAGS | {
    CHARACTER_SET,
    ISSUER_OF_PATIENT_ID,
    0x00080070,  # Manufacturer
    0x00280008,  # Number of Frames
    0x00280010,  # Rows
    0x00280011,  # Columns
}
PRESENCE = [*screen.PLANE, *(group << 16 | screen.OVERLAY_DATA for group in screen.OVERLAY_GROUPS)]
"""What is read besides, because it may be absent."""


NOT_IMAGES = (
    (f"{screen.STORAGE}88.59", "key_object_selection"),
    (f"{screen.STORAGE}88.", "structured_report"),
    (f"{screen.STORAGE}11.", "presentation_state"),
    (f"{screen.STORAGE}9.", "waveform"),
    (f"{screen.STORAGE}66", "registration_or_raw_data"),
    (f"{screen.STORAGE}104.", "encapsulated_document"),
    (f"{screen.STORAGE}481.", "radiotherapy_object"),
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
    """One instance; `slices` is 0 for an object without an image or that can't be read, and all of
    a Siemens mosaic's. `issuer` is that of its patient ID, `kept_out` why no release may have it,
    `kind` what a profile may keep out.
    """

    path: Path
    slices: int
    reason: str = ""
    mosaic: bool = False
    kept_out: str = ""
    kind: Kind = NO_KIND
    issuer: str = field(default="", repr=False)
    is_told_by_tags: bool = True
    """Any instance with the same HEADER_TAGS is alike."""


def read_originals(paths: Iterable[Path]) -> list[Original]:
    """Read the headers of one series. Raises RejectedError `original_missing` or RetryLaterError
    `disk`."""
    known: dict[object, Original] = {}
    return [read_original(path, known) for path in paths]


def read_original(path: Path, known: dict[object, Original] | None = None) -> Original:
    """Decide by Rows and Columns (type 1 in the Image Pixel Module, PS3.3 C.7.6.3).

    `known` are originals by the bytes that decided: where the same bytes stand nothing is read
    again. Raises as `read_originals` does.
    """
    known = {} if known is None else known
    try:
        skimmed = skim_file(path, HEADER_TAGS)
        if skimmed is not None and skimmed.identity in known:
            return replace(known[skimmed.identity], path=path)
        original = _read(path)
        if skimmed is not None and original.is_told_by_tags:
            known[skimmed.identity] = original
        return original
    except FileNotFoundError:
        raise RejectedError("an original is not in the archive", code="original_missing") from None
    except OSError:
        raise RetryLaterError("an original can't be read", code="disk") from None
    except BAD_HEADER:
        return Original(path, slices=0, reason="unreadable")


def _read(path: Path) -> Original:
    header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=[*HEADER_TAGS, *PRESENCE])
    issuer = _issuer(header)
    if not header.get("Rows") or not header.get("Columns"):
        reason = _kind(str(header.get("SOPClassUID", "")))
        return Original(path, slices=0, reason=reason, issuer=issuer)
    frames = int(header.get("NumberOfFrames") or 1)
    mosaic = frames == 1 and "MOSAIC" in (header.get("ImageType") or ())
    if mosaic:
        frames = _tiles(pydicom.dcmread(path, stop_before_pixels=True))
    return Original(
        path,
        max(frames, 1),
        mosaic=mosaic,
        kept_out=screen.reason_to_keep_out(header),
        kind=Kind.of(header),
        issuer=issuer,
        is_told_by_tags=not (mosaic or screen.depends_on_presence(header) or _has_overlay(header)),
    )


def _has_overlay(header: Dataset) -> bool:
    return any(group << 16 | screen.BIT_POSITION in header for group in screen.OVERLAY_GROUPS)


def _issuer(header: Dataset) -> str:
    """Read as the anonymizer reads it: it is part of what the release folder's name is made of."""
    return decode(_raw(header, ISSUER_OF_PATIENT_ID), encodings_of(_raw(header, CHARACTER_SET)))


def _raw(header: Dataset, tag: int) -> bytes:
    """The value bytes as they are in the file; pydicom has decoded some on the way."""
    value = header.get_item(tag).value if tag in header else b""
    if isinstance(value, bytes):
        return value
    return "\\".join([value] if isinstance(value, str) else value or ()).encode("latin-1")


def _kind(sop_class: str) -> str:
    for start, reason in NOT_IMAGES:
        if sop_class.startswith(start):
            return reason
    return "no_pixels"


def _tiles(header: Dataset) -> int:
    """Slices in a Siemens mosaic, from (0019,xx0A) or from the CSA image header (0029,xx10)."""
    try:
        return int(header.private_block(0x0019, "SIEMENS MR HEADER")[0x0A].value)
    except (KeyError, ValueError, TypeError):
        csa = csareader.get_csa_header(header, "image")
        return int((csareader.get_n_mosaic(csa) if csa else None) or 1)
