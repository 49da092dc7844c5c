"""Black rectangles in native pixel data (PS3.5 section 8), where it lies: nothing is decoded, and
no byte outside of them is touched."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pacstream_anonymizer.image import HALVED, Image
from pacstream_anonymizer.profile import Rectangle

Buffer = bytearray | mmap.mmap


@dataclass(frozen=True)
class _Plane:
    """Cells row by row from the byte `start` of a frame; `pixels` share a cell, and `black` is one
    without light."""

    start: int
    pixels: int
    black: bytes


def black_out(
    buffer: Buffer,
    start: int,
    image: Image,
    rectangles: Sequence[Rectangle],
    *,
    little: bool = True,
    swapped: bool = False,
) -> None:
    """Blacken rectangles in every frame of the pixel data that begins at the byte `start`.

    `swapped`: samples of one byte or bit lie in words of another byte order (OW, big endian). Where
    two pixels share their colour (4:2:2), a rectangle grows to whole pairs.
    """
    if image.allocated == 1:
        for first, count in _bit_runs(image, rectangles):
            _fill_bits(buffer, start, first, count, image.word(*image.black()), swapped)
        return
    runs = list(_runs(image, rectangles, little))
    size = image.frame_bits // 8
    for frame in range(image.frames):
        for offset, black in runs:
            _put(buffer, start, frame * size + offset, black, swapped)


def _planes(image: Image, little: bool) -> list[_Plane]:
    order: Literal["little", "big"] = "little" if little else "big"
    size = image.allocated // 8
    samples = [image.word(value).to_bytes(size, order) for value in image.black()]
    if image.photometric == HALVED:
        return [_Plane(0, 2, b"".join((samples[0], *samples)))]
    if image.samples > 1 and image.planar:
        area = image.rows * image.columns * size
        return [_Plane(number * area, 1, sample) for number, sample in enumerate(samples)]
    return [_Plane(0, 1, b"".join(samples))]


def _runs(
    image: Image, rectangles: Sequence[Rectangle], little: bool
) -> Iterator[tuple[int, bytes]]:
    """Where in a frame which bytes are to be written; the rows of a rectangle share theirs."""
    for plane in _planes(image, little):
        cell, cells = len(plane.black), image.columns // plane.pixels
        for left, top, width, height in rectangles:
            first = left // plane.pixels
            last = -(-(left + width) // plane.pixels)
            if last - first == cells:
                yield plane.start + top * cells * cell, plane.black * (cells * height)
                continue
            black = plane.black * (last - first)
            for row in range(top, top + height):
                yield plane.start + (row * cells + first) * cell, black


def _put(buffer: Buffer, start: int, offset: int, black: bytes, swapped: bool) -> None:
    if not swapped:
        buffer[start + offset : start + offset + len(black)] = black
        return
    words = offset // 2 * 2, -(-(offset + len(black)) // 2) * 2
    content = _turned(buffer[start + words[0] : start + words[1]])
    content[offset - words[0] : offset - words[0] + len(black)] = black
    buffer[start + words[0] : start + words[1]] = bytes(_turned(content))


def _turned(words: bytes | bytearray) -> bytearray:
    """Words of 16 bits in the other byte order."""
    turned = bytearray(words)
    turned[0::2], turned[1::2] = words[1::2], words[0::2]
    return turned


def _bit_runs(image: Image, rectangles: Sequence[Rectangle]) -> Iterator[tuple[int, int]]:
    """First bit and number of bits, in all frames: they follow one another without padding."""
    for frame in range(image.frames):
        for left, top, width, height in rectangles:
            for row in range(top, top + height):
                yield frame * image.frame_bits + row * image.columns + left, width


def _fill_bits(
    buffer: Buffer, start: int, first: int, count: int, black: int, swapped: bool
) -> None:
    """The first pixel is the lowest bit of a byte (PS3.5 section 8.1.1)."""
    begin, end = first // 8, -(-(first + count) // 8)
    if swapped:
        begin, end = begin // 2 * 2, -(-end // 2) * 2
    content = buffer[start + begin : start + end]
    number = int.from_bytes(_turned(content) if swapped else content, "little")
    mask = ((1 << count) - 1) << (first - begin * 8)
    number = number | mask if black else number & ~mask
    written = number.to_bytes(end - begin, "little")
    buffer[start + begin : start + end] = bytes(_turned(written)) if swapped else written
