"""Where pixel data lies, and whether it is all there. It is not decoded."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pacstream_anonymizer.cleaner import value_of
from pacstream_anonymizer.encoding import Encoding
from pacstream_anonymizer.parser import (
    UNDEFINED,
    Content,
    Element,
    read_fragments,
    read_header,
)
from pacstream_anonymizer.refusal import Refusal

ROWS, COLUMNS, FRAMES = 0x00280010, 0x00280011, 0x00280008
SAMPLES, ALLOCATED, PHOTOMETRIC = 0x00280002, 0x00280100, 0x00280004
FLOAT_BITS = {0x7FE00008: 32, 0x7FE00009: 64}

SUBSAMPLED = {"YBR_FULL_422": (2, 3), "YBR_PARTIAL_422": (2, 3), "YBR_PARTIAL_420": (1, 2)}
"""Native samples that are there of three (PS3.3 section C.7.6.3.1.2)."""


@dataclass(frozen=True)
class Pixels:
    """The bytes from `start` to `stop` are the pixel data element, header and all; `fragments` are
    the starts and stops of its fragments, none if it is native. `offsets` is whether their offset
    table (PS3.5 section A.4) has entries, `plane` how many pixels a frame has."""

    start: int
    stop: int
    fragments: tuple[tuple[int, int], ...] = ()
    offsets: bool = False
    plane: int = 0


def find_pixels(
    content: Content, at: int, end: int, encoding: Encoding, elements: list[Element]
) -> Pixels | None:
    """The pixel data element at `at`, None if the data set has none and needs none.

    Refusal `truncated` if bytes are missing, `excess_pixel_data` if there are more than the header
    explains and they are not zero.
    """
    if at == end:
        if number_of(elements, ROWS, encoding):
            raise Refusal("truncated")
        return None
    header = read_header(content, at, end, encoding)
    if header.length == UNDEFINED:
        if not encoding.encapsulated:
            raise Refusal("unreadable")
        fragments, stop = read_fragments(content, header.value, end, encoding)
        if len(fragments) < 2:
            raise Refusal("truncated")
        (first, last), *frames = fragments
        _check_offsets(bytes(content[first:last]), frames, encoding)
        area = number_of(elements, ROWS, encoding) * number_of(elements, COLUMNS, encoding)
        return Pixels(at, stop, tuple(frames), first < last, area)
    if encoding.encapsulated:
        raise Refusal("unreadable")
    stop = header.value + header.length
    expected = native_length(elements, header.tag, encoding)
    if stop > end or header.length < expected:
        raise Refusal("truncated")
    # One byte makes the length even; in big endian words it may hold a sample.
    if header.length > expected + 1 and any(content[header.value + expected : stop]):
        raise Refusal("excess_pixel_data")
    return Pixels(at, stop)


def _check_offsets(table: bytes, fragments: list[tuple[int, int]], encoding: Encoding) -> None:
    """Refusal `unreadable` if a Basic Offset Table names anything but places of fragments."""
    first = fragments[0][0]
    places = {start - first for start, _ in fragments}
    whole = len(table) // 4 * 4
    offsets = struct.unpack(f"{encoding.order}{whole // 4}L", table[:whole])
    if whole != len(table) or not places.issuperset(offsets):
        raise Refusal("unreadable")


def native_length(elements: list[Element], tag: int, encoding: Encoding) -> int:
    """Bytes of all frames without padding (PS3.5 section 8.1.1)."""
    photometric = (value_of(elements, PHOTOMETRIC) or b"").decode("latin-1").strip(" \0")
    samples = number_of(elements, SAMPLES, encoding) or 1
    bits = FLOAT_BITS.get(tag) or number_of(elements, ALLOCATED, encoding)
    area = number_of(elements, ROWS, encoding) * number_of(elements, COLUMNS, encoding)
    part, whole = SUBSAMPLED.get(photometric, (1, 1)) if samples == 3 else (1, 1)
    total = area * frames_of(elements) * samples * bits * part // whole
    if total == 0:
        raise Refusal("unreadable")
    return (total + 7) // 8


def frames_of(elements: list[Element]) -> int:
    text = (value_of(elements, FRAMES) or b"").decode("latin-1").strip(" \0")
    if not text:
        return 1
    if not text.isdecimal() or not text.isascii():
        raise Refusal("unreadable")
    return int(text) or 1


def number_of(elements: list[Element], tag: int, encoding: Encoding) -> int:
    value = value_of(elements, tag)
    if value is None or len(value) < 2:
        return 0
    number: int = struct.unpack_from(encoding.order + "H", value)[0]
    return number
