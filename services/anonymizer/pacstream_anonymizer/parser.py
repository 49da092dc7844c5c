"""Bytes to elements (PS3.5 section 7), values untouched and pixel data left where it is.

Strict on purpose: what is not well formed is withheld, never guessed at.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from typing import NamedTuple

from pacstream_anonymizer.dictionary import LONG_VRS, SHORT_VRS, VR_BY_TAG
from pacstream_anonymizer.encoding import IMPLICIT, Encoding
from pacstream_anonymizer.refusal import Refusal

Content = bytes | mmap.mmap

ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
UNDEFINED = 0xFFFFFFFF
PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
"""Float, Double Float and Pixel Data."""
DEEPEST = 32


@dataclass(slots=True)
class Element:
    """One attribute; `items` is None unless it is a sequence. In implicit VR encodings `vr` is the
    dictionary's (it may read `US or SS`), empty if the tag is not there."""

    tag: int
    vr: str
    value: bytes = b""
    items: list[list[Element]] | None = None


class Header(NamedTuple):
    """Tag, VR and length of an element at some place, and where its value starts."""

    tag: int
    vr: str
    length: int
    value: int


def read_header(content: Content, at: int, end: int, encoding: Encoding) -> Header:
    """Raises Refusal if the bytes end before the header does, or hold no VR that exists."""
    if end - at < 8:
        raise Refusal("truncated")
    order = encoding.order
    group, number = struct.unpack_from(order + "HH", content, at)
    tag = group << 16 | number
    if encoding.implicit or group == 0xFFFE:
        (length,) = struct.unpack_from(order + "L", content, at + 4)
        return Header(tag, VR_BY_TAG.get(tag, ""), length, at + 8)
    vr = bytes(content[at + 4 : at + 6]).decode("latin-1")
    if vr in SHORT_VRS:
        (length,) = struct.unpack_from(order + "H", content, at + 6)
        return Header(tag, vr, length, at + 8)
    if vr not in LONG_VRS:
        raise Refusal("unreadable")
    if end - at < 12:
        raise Refusal("truncated")
    (length,) = struct.unpack_from(order + "L", content, at + 8)
    return Header(tag, vr, length, at + 12)


class Parser:
    """Reads the elements of one data set."""

    def __init__(self, content: Content) -> None:
        self._content = content

    def data_set(self, start: int, end: int, encoding: Encoding) -> tuple[list[Element], int]:
        """The elements before pixel data, and where the pixel data element is (`end` if none)."""
        elements: list[Element] = []
        at = start
        while at < end:
            header = read_header(self._content, at, end, encoding)
            if header.tag in PIXEL_TAGS:
                return elements, at
            element, at = self._element(header, end, encoding, 0)
            elements.append(element)
        return elements, end

    def group_two(self, start: int, end: int) -> tuple[list[Element], int]:
        """The file meta elements (PS3.10 section 7.1, always explicit VR little endian)."""
        elements: list[Element] = []
        at = start
        while at < end and bytes(self._content[at : at + 2]) == b"\x02\x00":
            header = read_header(self._content, at, end, Encoding(""))
            element, at = self._element(header, end, Encoding(""), 0)
            elements.append(element)
        return elements, at

    def _element(
        self, header: Header, end: int, encoding: Encoding, depth: int
    ) -> tuple[Element, int]:
        if header.tag >> 16 == 0xFFFE:
            raise Refusal("unreadable")
        if header.length == UNDEFINED:
            return self._undefined(header, end, encoding, depth)
        stop = header.value + header.length
        if stop > end:
            raise Refusal("truncated")
        if header.vr == "SQ":
            items, _ = self._items(header.value, stop, encoding, depth, delimited=False)
            return Element(header.tag, "SQ", items=items), stop
        if header.vr == "UN" and VR_BY_TAG.get(header.tag) == "SQ":
            items, _ = self._items(header.value, stop, IMPLICIT, depth, delimited=False)
            return Element(header.tag, "UN", items=items), stop
        return Element(header.tag, header.vr, bytes(self._content[header.value : stop])), stop

    def _undefined(
        self, header: Header, end: int, encoding: Encoding, depth: int
    ) -> tuple[Element, int]:
        if header.tag in PIXEL_TAGS or header.vr in ("OB", "OW"):
            _, stop = read_fragments(self._content, header.value, end, encoding)
            return Element(header.tag, "OB"), stop
        # CP-246: an unknown sequence is implicit VR little endian inside, whatever is around it.
        inner = IMPLICIT if header.vr == "UN" else encoding
        if header.vr not in ("SQ", "UN", ""):
            raise Refusal("unreadable")
        items, stop = self._items(header.value, end, inner, depth, delimited=True)
        return Element(header.tag, header.vr or "SQ", items=items), stop

    def _items(
        self, start: int, end: int, encoding: Encoding, depth: int, *, delimited: bool
    ) -> tuple[list[list[Element]], int]:
        if depth >= DEEPEST:
            raise Refusal("unreadable")
        items: list[list[Element]] = []
        at = start
        while at < end:
            header = read_header(self._content, at, end, encoding)
            if header.tag == SEQUENCE_END and delimited:
                return items, header.value
            if header.tag != ITEM:
                raise Refusal("unreadable")
            item, at = self._item(header, end, encoding, depth + 1)
            items.append(item)
        if delimited:
            raise Refusal("truncated")
        return items, at

    def _item(
        self, item: Header, end: int, encoding: Encoding, depth: int
    ) -> tuple[list[Element], int]:
        delimited = item.length == UNDEFINED
        stop = end if delimited else item.value + item.length
        if stop > end:
            raise Refusal("truncated")
        elements: list[Element] = []
        at = item.value
        while at < stop:
            header = read_header(self._content, at, stop, encoding)
            if header.tag == ITEM_END and delimited:
                return elements, header.value
            element, at = self._element(header, stop, encoding, depth)
            elements.append(element)
        if delimited:
            raise Refusal("truncated")
        return elements, at


def read_fragments(
    content: Content, start: int, end: int, encoding: Encoding
) -> tuple[list[tuple[int, int]], int]:
    """Start and stop of each fragment of an encapsulated element (PS3.5 section A.4; the first one
    is the Basic Offset Table), and the place after the sequence delimiter."""
    fragments: list[tuple[int, int]] = []
    at = start
    while True:
        header = read_header(content, at, end, encoding)
        if header.tag == SEQUENCE_END:
            return fragments, header.value
        if header.tag != ITEM:
            raise Refusal("unreadable")
        stop = header.value + header.length
        if stop > end:
            raise Refusal("truncated")
        fragments.append((header.value, stop))
        at = stop
