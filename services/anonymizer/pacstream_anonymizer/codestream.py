"""Text inside compressed frames: JPEG APPn and COM segments (ISO 10918-1 annex B), JPEG 2000 COM
segments (ISO 15444-1 annex A). What is not an encoder's known signature may be about a patient."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from pacstream_anonymizer.parser import Content
from pacstream_anonymizer.refusal import Refusal

JPEG_START, J2K_START = b"\xff\xd8\xff", b"\xff\x4f\xff"
START_OF_SCAN, END_OF_IMAGE = 0xFFDA, 0xFFD9
START_OF_TILE_DATA, J2K_COMMENT, TILE_PART = 0xFF93, 0xFF64, 0xFF90
BARE_MARKERS = frozenset({0xFF01, *range(0xFFD0, 0xFFD9)})
TEXT_MARKER = re.compile(rb"\xff[\xfe\xe0-\xef]")
END = re.compile(rb"\xff\xd9")
TEXTS = frozenset({0xFFFE, *range(0xFFE0, 0xFFF0)})

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


def check_fragments(content: Content, fragments: tuple[tuple[int, int], ...]) -> None:
    """Refusal `codestream_comment` if a frame carries text of unknown origin."""
    for start, stop in fragments:
        head = bytes(content[start : start + 3])
        if head == JPEG_START:
            texts = _jpeg_texts(content, start, stop)
        elif head == J2K_START:
            texts = _j2k_texts(content, start, stop)
        else:
            continue
        for text in texts:
            if not HARMLESS.fullmatch(text):
                raise Refusal("codestream_comment")


def _segments(content: Content, start: int, stop: int, last: int) -> Iterator[tuple[int, int, int]]:
    """Marker, start and stop of each segment from `start` up to and with the marker `last`."""
    at = start
    while at + 4 <= stop:
        marker, length = struct.unpack_from(">HH", content, at)
        if marker in BARE_MARKERS:
            at += 2
            continue
        if marker == 0xFFFF:
            at += 1
            continue
        if marker in (last, END_OF_IMAGE):
            yield marker, at + 2, at + 2
            return
        if marker < 0xFF01 or length < 2 or at + 2 + length > stop:
            raise Refusal("unreadable")
        yield marker, at + 4, at + 2 + length
        at += 2 + length


def _jpeg_texts(content: Content, start: int, stop: int) -> Iterator[bytes]:
    end_of_header = stop
    for marker, first, last in _segments(content, start + 2, stop, START_OF_SCAN):
        if marker in TEXTS:
            yield bytes(content[first:last])
        end_of_header = last
    # In entropy coded data 0xFF is followed by stuffing, so these can only be markers.
    if TEXT_MARKER.search(content, end_of_header, stop):
        yield b"behind the start of scan"
    image_end = END.search(content, end_of_header, stop)
    if image_end and any(content[image_end.end() : stop]):
        yield b"behind the end of image"


def _j2k_texts(content: Content, start: int, stop: int) -> Iterator[bytes]:
    for marker, first, last in _segments(content, start + 2, stop, START_OF_TILE_DATA):
        if marker == J2K_COMMENT:
            yield bytes(content[first:last])
