"""Encapsulated pixel data (PS3.5 section A.4) without text: its frames are put together from their
fragments, cleaned and, if that changed one, written anew with offsets that fit."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from pacstream_anonymizer.codestream import check_rle_frame, cleaned_frame, start_of
from pacstream_anonymizer.encoding import RLE
from pacstream_anonymizer.parser import Content
from pacstream_anonymizer.pixels import Pixels

EXTENDED_OFFSETS = frozenset({0x7FE00001, 0x7FE00002})
LARGEST_OFFSET = 2**32 - 1

ITEM = struct.Struct("<HHL")
HEAD = struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
END = ITEM.pack(0xFFFE, 0xE0DD, 0)


def clean_frames(content: Content, pixels: Pixels, transfer_syntax: str) -> bytes | None:
    """The pixel data element without text in its frames, a fragment each and with a Basic Offset
    Table if there was one; None if it has none as it is.

    Raises Refusal as `codestream.cleaned_frame` does, and `unreadable` if a frame is not of the
    kind that the transfer syntax says. An Extended Offset Table fits no more.
    """
    if transfer_syntax == RLE:
        for start, stop in pixels.fragments:
            check_rle_frame(bytes(content[start:stop]), pixels.plane)
        return None
    begins = start_of(transfer_syntax)
    if not begins:
        return None
    changed: dict[int, bytes] = {}
    for number, frame in enumerate(_frames(content, pixels, begins)):
        clean = cleaned_frame(frame)
        if clean is not frame:
            changed[number] = clean
    if not changed:
        return None
    frames = [changed.get(n, one) for n, one in enumerate(_frames(content, pixels, begins))]
    return encapsulated(frames, offsets=pixels.offsets)


def encapsulated(frames: Sequence[bytes], *, offsets: bool) -> bytes:
    """A pixel data element of frames that have even lengths, in explicit VR little endian."""
    table = b""
    if offsets:
        starts, at = [], 0
        for frame in frames:
            starts.append(at)
            at += ITEM.size + len(frame)
        if at <= LARGEST_OFFSET:
            table = struct.pack(f"<{len(starts)}L", *starts)
    return b"".join((HEAD, *map(_item, (table, *frames)), END))


def _item(value: bytes) -> bytes:
    return ITEM.pack(0xFFFE, 0xE000, len(value)) + value


def _frames(content: Content, pixels: Pixels, begins: bytes) -> Iterator[bytes]:
    """The bytes of each frame: it goes on until a fragment begins another."""
    frame: list[bytes] = []
    for start, stop in pixels.fragments:
        fragment = bytes(content[start:stop])
        if fragment.startswith(begins) and frame:
            yield b"".join(frame)
            frame = []
        frame.append(fragment)
    yield b"".join(frame)
