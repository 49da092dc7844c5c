"""The form of a released file: preamble and file meta (PS3.10 section 7.1), the end of its bytes,
values of UI, DA and CS (PS3.5 section 6.2)."""

from __future__ import annotations

import datetime
import re
from struct import error
from typing import NamedTuple

from pacstream.skim import ITEM, PIXELS, SEQUENCE_END, UNDEFINED, Content, Walk, walk_of
from pacstream_anonymizer.gate.reader import EXPLICIT, known_vr
from pacstream_anonymizer.refusal import Refusal

PREAMBLE = bytes(128) + b"DICM"
META = (
    0x00020000,  # File Meta Information Group Length, Version
    0x00020001,
    0x00020002,  # Media Storage SOP Class, Instance UID
    0x00020003,
    0x00020010,  # Transfer Syntax UID
    0x00020012,  # Implementation Class UID, Version Name
    0x00020013,
)
SOP_CLASS, SOP_INSTANCE, IDENTITY_REMOVED = 0x00080016, 0x00080018, 0x00120062

MANDATORY = frozenset(
    {
        SOP_CLASS,
        SOP_INSTANCE,
        0x00080008,  # Image Type
        0x00080060,  # Modality
        0x0020000D,  # Study and Series Instance UID
        0x0020000E,
        0x00200032,  # Image Position, Orientation (Patient)
        0x00200037,
        0x00200052,  # Frame of Reference UID
        0x00280002,  # Samples per Pixel
        0x00280004,  # Photometric Interpretation
        0x00280008,  # Number of Frames
        0x00280010,  # Rows, Columns
        0x00280011,
        0x00280030,  # Pixel Spacing
        0x00280100,  # Bits Allocated, Bits Stored, High Bit, Pixel Representation
        0x00280101,
        0x00280102,
        0x00280103,
        0x00281052,  # Rescale Intercept, Slope
        0x00281053,
        0x52009229,  # Shared and Per-frame Functional Groups Sequence
        0x52009230,
    }
)
"""Type 1 in the IODs of images, and about nobody: whoever has them keeps them."""

UID = re.compile(r"(?=.{1,64}$)(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))+", re.ASCII)
CODE_STRING = re.compile(r"[A-Z0-9 _]{0,16}", re.ASCII)
DECIMAL = re.compile(r" *[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)? *", re.ASCII)
DATE = re.compile(r"(\d{4})(\d{2})(\d{2})", re.ASCII)


class Tail(NamedTuple):
    """The pixel data element that is written behind the data set: bytes of `content`."""

    content: Content
    start: int
    stop: int


class Body(NamedTuple):
    """Where the data set of a released file is, and what its file meta says that it holds: values
    by tag."""

    content: bytes
    walk: Walk
    start: int
    transfer_syntax: str
    named: dict[int, bytes]


def body_of(released: bytes) -> Body:
    """Where the data set is in what is to be written (before it is deflated).

    Refusal `invalid` unless preamble and file meta are what a release has.
    """
    if released[: len(PREAMBLE)] != PREAMBLE:
        raise Refusal("invalid")
    start = len(PREAMBLE)
    meta: dict[int, bytes] = {}
    end = start + 12 + int.from_bytes(released[start + 8 : start + 12], "little")
    try:
        for tag, _, _, value, stop in EXPLICIT.elements(released, start, end):
            meta[tag] = bytes(released[value:stop])
    except (error, ValueError):
        raise Refusal("invalid") from None
    if tuple(meta) != META:
        raise Refusal("invalid")
    transfer_syntax = meta[0x00020010].rstrip(b"\0").decode("latin-1")
    return Body(
        released,
        walk_of(transfer_syntax),
        end,
        transfer_syntax,
        {SOP_CLASS: meta[0x00020002], SOP_INSTANCE: meta[0x00020003]},
    )


def check_tail(tail: Tail, walk: Walk) -> None:
    """Refusal `invalid` unless the tail is one pixel data element and nothing else."""
    try:
        tag, _, at, length = walk.element(tail.content, tail.start)
        if tag not in PIXELS:
            raise ValueError("no pixel data")
        if length != UNDEFINED:
            at += length
        while length == UNDEFINED:
            tag, _, value, size = walk.element(tail.content, at)
            if tag not in (ITEM, SEQUENCE_END):
                raise ValueError("no fragment")
            at = value + size
            if tag == SEQUENCE_END:
                break
    except (error, ValueError):
        raise Refusal("invalid") from None
    if at != tail.stop:
        raise Refusal("invalid")


def is_well_formed(vr: str, value: bytes) -> bool:
    """Whether a value of UI, CS, DS or DA is what PS3.5 section 6.2 says; others always are."""
    if vr not in ("UI", "CS", "DS", "DA"):
        return True
    parts = value.decode("latin-1").split("\\")
    if vr == "UI":
        parts = [part.removesuffix("\0") for part in parts]
        return parts == [""] or all(UID.fullmatch(part) for part in parts)
    if vr == "DA":
        return all(_is_date(part.strip(" ")) for one in parts for part in one.split("-"))
    if vr == "DS":
        return all(not part.strip() or DECIMAL.fullmatch(part) for part in parts)
    return all(CODE_STRING.fullmatch(part.strip(" \0")) for part in parts)


def _is_date(text: str) -> bool:
    if not text:
        return True
    match = DATE.fullmatch(text)
    try:
        return match is not None and bool(datetime.date(*map(int, match.groups())))
    except ValueError:
        return False


def counts(tag: int, value: bytes) -> bool:
    """Whether a mandatory value of the original is one that has to be in the release: there, and
    not so odd that nobody would want it."""
    vr = known_vr(tag)
    return bool(value.strip(b" \0")) and (vr == "US" or is_well_formed(vr, value))
