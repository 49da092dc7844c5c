"""Text inside compressed frames: JPEG APPn and COM segments (ISO 10918-1 annex B), JPEG 2000 COM
segments (ISO 15444-1 annex A), and what follows the end of a frame. What is not an encoder's known
signature may be about a patient, and is cut out; the frame's other bytes stay as they are."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from pacstream_anonymizer.encoding import JPEG_FAMILY
from pacstream_anonymizer.refusal import Refusal

JPEG_START, J2K_START = b"\xff\xd8\xff", b"\xff\x4f\xff\x51"
CONTAINER = b"\0\0\0\x0cjP  "
"""A JP2 file: its boxes may hold anything, and DICOM wants none of them."""

START_OF_SCAN, END_OF_IMAGE = 0xFFDA, 0xFFD9
TEXTS = frozenset({0xFFFE, *range(0xFFE0, 0xFFF0)})
BARE_MARKERS = frozenset({0xFF01, *range(0xFF30, 0xFF40), *range(0xFFD0, 0xFFD9)})
AFTER_SCAN = re.compile(rb"\xff[\x80-\xcf\xd8-\xfe]")
"""What entropy coded data can't hold: JPEG stuffs a zero byte behind 0xFF, JPEG-LS a zero bit."""

J2K_COMMENT, TILE_PART, START_OF_DATA = 0xFF64, 0xFF90, 0xFF93
TILE_PART_HEAD = 12

VERSION = rb"[\d.]{1,12}"
HARMLESS = re.compile(
    rb"JFIF\0[\x00-\xff]{7}\0\0"  # the last two bytes are the size of a thumbnail
    rb"|Adobe[\x00-\xff]{7}"
    rb"|mrfx[\x00-\xff]{1,4}"
    rb"|\0\x01Kakadu-v?"
    + VERSION
    + rb"|\0\x01Kdu-Layer-Info: log_2[\d.,:;(){}\[\]^*/+\- \nA-Z]{0,200}"
    rb"|\0\x01Created by (?:GDCM/)?OpenJPEG version "
    + VERSION
    + rb"|\0\x01Creator: JasPer Version "
    + VERSION
    + rb"|LEAD Technologies Inc\. V"
    + VERSION
    + rb"\0?"
    rb"|CREATOR: gd-jpeg v" + VERSION + rb" \(using IJG JPEG v\d{1,3}\), quality = \d{1,3}\n?"
)


RLE_HEAD, NO_RUN = 64, 128

JPEG_NUMBERS = frozenset({*range(50, 71), 80, 81})
J2K_NUMBERS = frozenset({*range(90, 94), *range(201, 204)})


def start_of(transfer_syntax: str) -> bytes:
    """What each frame begins with in a transfer syntax of JPEG, JPEG-LS or JPEG 2000; empty if it
    is of another kind."""
    family, _, number = transfer_syntax.rpartition(".")
    if family + "." != JPEG_FAMILY:
        return b""
    if int(number) in JPEG_NUMBERS:
        return JPEG_START
    return J2K_START if int(number) in J2K_NUMBERS else b""


def check_rle_frame(frame: bytes, plane: int) -> None:
    """Refusal unless an RLE frame (PS3.5 annex G) holds what gives `plane` bytes a segment, and
    nothing else: unused offsets are zero, and no text follows a segment."""
    if len(frame) < RLE_HEAD:
        raise Refusal("truncated")
    count, *offsets = struct.unpack_from("<16L", frame)
    used = offsets[:count]
    if used[:1] != [RLE_HEAD] or used != sorted(used) or any(offsets[count:]):
        raise Refusal("unreadable")
    for start, stop in pairwise((*used, len(frame))):
        if frame[_end_of_segment(frame, start, stop, plane) : stop].strip(b"\0"):
            raise Refusal("codestream_comment")


def _end_of_segment(frame: bytes, at: int, stop: int, plane: int) -> int:
    """The place after the runs that give `plane` bytes; their bytes are not looked at."""
    there = 0
    while there < plane and at < stop:
        control = frame[at]
        if control < NO_RUN:
            there += control + 1
            at += control + 2
        elif control > NO_RUN:
            there += 257 - control
            at += 2
        else:
            at += 1
    if there < plane or at > stop:
        raise Refusal("truncated")
    return at


def cleaned_frame(frame: bytes) -> bytes:
    """The frame without text, the same bytes if it has none.

    Refusal `codestream_comment` if text can't be cut out without decoding, `unreadable` or
    `truncated` if the frame is not whole.
    """
    if frame.startswith(JPEG_START):
        cuts, end = _jpeg_cuts(frame)
    elif frame.startswith(J2K_START):
        cuts, end = _j2k_cuts(frame)
    else:
        raise Refusal("codestream_comment" if frame.startswith(CONTAINER) else "unreadable")
    behind = frame[end:]
    if behind.startswith((JPEG_START, J2K_START)):
        raise Refusal("unreadable")
    if not cuts and not behind.strip(b"\0"):
        return frame
    clean = _without(frame[:end], cuts)
    return clean + b"\0" * (len(clean) % 2)


def _without(frame: bytes, cuts: list[tuple[int, int]]) -> bytes:
    edges = [0, *(edge for cut in cuts for edge in cut), len(frame)]
    return b"".join(frame[edges[n] : edges[n + 1]] for n in range(0, len(edges), 2))


class Segment(NamedTuple):
    """A marker segment from `start` to `stop`, its content from `value` on."""

    marker: int
    start: int
    value: int
    stop: int


def _segments(frame: bytes, start: int, end: int) -> Iterator[Segment]:
    """The segments from `start` on. One without content has none up to `stop`."""
    at = start
    while at + 2 <= end:
        (marker,) = struct.unpack_from(">H", frame, at)
        if marker == 0xFFFF:
            at += 1
            continue
        if marker in BARE_MARKERS or marker in (END_OF_IMAGE, START_OF_DATA):
            yield Segment(marker, at, at + 2, at + 2)
            at += 2
            continue
        length = struct.unpack_from(">H", frame, at + 2)[0] if at + 4 <= end else 0
        if marker < 0xFF01 or length < 2:
            raise Refusal("unreadable")
        if at + 2 + length > end:
            raise Refusal("truncated")
        yield Segment(marker, at, at + 4, at + 2 + length)
        at += 2 + length


def _text(frame: bytes, segment: Segment) -> bool:
    return not HARMLESS.fullmatch(frame, segment.value, segment.stop)


def _jpeg_cuts(frame: bytes) -> tuple[list[tuple[int, int]], int]:
    """Where text stands in a JPEG or JPEG-LS frame, and where the frame ends."""
    cuts: list[tuple[int, int]] = []
    at = 2
    while True:
        for segment in _segments(frame, at, len(frame)):
            if segment.marker == END_OF_IMAGE:
                return cuts, segment.stop
            if segment.marker in TEXTS and _text(frame, segment):
                cuts.append((segment.start, segment.stop))
            if segment.marker == START_OF_SCAN:
                break
        else:
            raise Refusal("truncated")
        behind = AFTER_SCAN.search(frame, segment.stop)
        if behind is None:
            raise Refusal("truncated")
        at = behind.start()


def _j2k_cuts(frame: bytes) -> tuple[list[tuple[int, int]], int]:
    """Where text stands in the main header of a JPEG 2000 frame, and where the frame ends.

    Refusal `codestream_comment` if it stands in the header of a tile part: lengths of tile parts
    are in several places.
    """
    cuts: list[tuple[int, int]] = []
    for segment in _segments(frame, 2, len(frame)):
        if segment.marker == TILE_PART:
            return cuts, _end_of_tiles(frame, segment.start)
        if segment.marker == J2K_COMMENT and _text(frame, segment):
            cuts.append((segment.start, segment.stop))
    raise Refusal("truncated")


def _end_of_tiles(frame: bytes, at: int) -> int:
    """The place after the end marker of a frame whose first tile part is at `at`."""
    while frame[at : at + 2] == b"\xff\x90":
        if at + TILE_PART_HEAD > len(frame):
            raise Refusal("truncated")
        (length,) = struct.unpack_from(">L", frame, at + 6)
        end = at + length if length else max(frame.rfind(b"\xff\xd9"), at)
        _check_tile_part(frame, at + TILE_PART_HEAD, min(end, len(frame)))
        at = end
    if frame[at : at + 2] != b"\xff\xd9":
        raise Refusal("truncated")
    return at + 2


def _check_tile_part(frame: bytes, at: int, end: int) -> None:
    for segment in _segments(frame, at, end):
        if segment.marker == START_OF_DATA:
            return
        if segment.marker == J2K_COMMENT and _text(frame, segment):
            raise Refusal("codestream_comment")
    raise Refusal("truncated")
