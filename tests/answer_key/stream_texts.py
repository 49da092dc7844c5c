"""Texts where a compressed frame has room that no decoder looks at."""

from __future__ import annotations

import io
import struct

from PIL import Image
from pydicom.dataelem import DataElement
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from tests.answer_key.key import Fate
from tests.answer_key.maker import Maker, Written, even
from tests.answer_key.pixel_data import STREAM, coded, jpeg, segment

ITEM = b"\xfe\xff\x00\xe0"


def add_stream_texts(maker: Maker) -> None:
    frames = {
        "rle-behind": (RLELossless, _rle(1) + _text(maker)),
        "rle-between": (RLELossless, _rle(1, before=_text(maker))),
        "rle-header": (RLELossless, _rle_header_with(_text(maker))),
        "j2k-behind": (JPEG2000Lossless, _jpeg_2000() + _text(maker)),
        "j2k-boxes": (JPEG2000Lossless, _jpeg_2000(boxes=True) + _box(b"xml ", _text(maker))),
        "jpeg-ls-com": (JPEGLSLossless, _jpeg_ls(segment(0xFFFE, _text(maker)))),
        "jpeg-ls-app": (JPEGLSLossless, _jpeg_ls(segment(0xFFE8, _text(maker)))),
        "jpeg-second": (JPEGBaseline8Bit, jpeg(7) + jpeg(8, _text(maker))),
        "jpeg-filled": (JPEGBaseline8Bit, _filled(jpeg(9), segment(0xFFFE, _text(maker)))),
        "jpeg-thumbnail": (JPEGBaseline8Bit, _after_start(jpeg(10), _thumbnail(_text(maker)))),
    }
    for title, (syntax, frame) in frames.items():
        coded(maker, f"streams/{title}.dcm", even(frame), syntax, Fate.EITHER)
    _add_items(maker)


def _text(maker: Maker) -> bytes:
    return even(maker.hidden(maker.cast.word(), STREAM).encode())


def _rle(segments: int, before: bytes = b"") -> bytes:
    """PS3.5 annex G: a header of 16 numbers, then a segment, here with `before` in front of it."""
    packed = b"".join(bytes([127]) + bytes(range(at, at + 128)) for at in (0, 64))
    start = 64 + len(before)
    return struct.pack("<16L", segments, start, *[0] * 14) + before + packed


def _rle_header_with(text: bytes) -> bytes:
    """Offsets of segments that there are not."""
    frame = _rle(1)
    return frame[:8] + text + frame[8 + len(text) :]


def _jpeg_2000(*, boxes: bool = False) -> bytes:
    image = Image.new("L", (16, 16))
    image.putdata([at * 5 % 256 for at in range(256)])
    stream = io.BytesIO()
    image.save(stream, "JPEG2000", no_jp2=not boxes)
    return stream.getvalue()


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">L", len(content) + 8) + kind + content


def _jpeg_ls(extra: bytes) -> bytes:
    """Frame and scan header as in ISO 14495-1 annex C; what stands between them counts here."""
    size = segment(0xFFF7, struct.pack(">BHHBBBB", 8, 16, 16, 1, 1, 0x11, 0))
    scan = segment(0xFFDA, struct.pack(">BBBBBB", 1, 1, 0, 0, 0, 0))
    return b"\xff\xd8" + size + extra + scan + b"\x5a" * 32 + b"\xff\xd9"


def _after_start(frame: bytes, extra: bytes) -> bytes:
    return frame[:2] + extra + frame[2:]


def _filled(frame: bytes, extra: bytes) -> bytes:
    """Markers may have any number of fill bytes in front (ISO 10918-1 section B.1.1.2)."""
    return _after_start(frame, b"\xff\xff\xff" + extra)


def _thumbnail(text: bytes) -> bytes:
    """An extension of JFIF with a picture of one byte for each pixel."""
    return segment(0xFFE0, b"JFXX\0\x11" + bytes([len(text), 1]) + text)


def _add_items(maker: Maker) -> None:
    """The basic offset table and a fragment that belongs to no frame."""
    plain = even(jpeg(11))
    for title, table, after in (
        ("table", _text(maker), b""),
        ("fragment", b"", _text(maker)),
    ):
        person = maker.cast.person()
        data_set = maker.instance(person, "CT")
        data_set.BitsAllocated = data_set.BitsStored = 8
        data_set.HighBit, data_set.Rows, data_set.Columns = 7, 16, 16
        parts = (table, plain, after) if after else (table, plain)
        value = b"".join(ITEM + struct.pack("<L", len(part)) + part for part in parts)
        data_set.add(DataElement(0x7FE00010, "OB", value))
        data_set["PixelData"].is_undefined_length = True
        name = f"streams/in-{title}.dcm"
        written = Written(JPEGBaseline8Bit)
        maker.add(name, STREAM, data_set, person, Fate.EITHER, written).frames = b""
