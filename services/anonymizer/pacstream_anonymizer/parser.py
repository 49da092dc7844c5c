"""Bytes to elements (PS3.5 section 7), values untouched and pixel data left where it is.

Strict on purpose: what is not well formed is withheld, never guessed at.
"""

from __future__ import annotations

import functools
import mmap
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pacstream.memory import LONGEST, MISSING, Memory
from pacstream.stretches import Stretches
from pacstream_anonymizer.dictionary import LONG_VRS, SHORT_VRS, VR_BY_TAG
from pacstream_anonymizer.encoding import IMPLICIT, Encoding
from pacstream_anonymizer.refusal import Refusal

Content = bytes | mmap.mmap

ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
UNDEFINED = 0xFFFFFFFF
PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
"""Float, Double Float and Pixel Data."""
DEEPEST = 32
LAST_CREATOR = 0xFF
"""Element number of the last private creator that may be (PS3.5 section 7.8.1)."""
META = Encoding("")
"""How file meta lies, whatever the data set's encoding."""


@dataclass(slots=True)
class Element:
    """One attribute; `items` is None unless it is a sequence. In implicit VR encodings `vr` is the
    dictionary's (it may read `US or SS`), empty if the tag is not there.

    It may be remembered and stand in other data sets too, so it is never changed once it is made.
    `raw` are the bytes that it was parsed from, header and all, if they are short enough to be
    remembered; `written` those that it was serialized to, `treated` what a cleaner made of it, with
    the cleaner's mark.
    """

    tag: int
    vr: str
    value: bytes = b""
    items: list[list[Element]] | None = None
    raw: bytes = field(default=b"", compare=False, repr=False)
    written: tuple[Encoding, bytes] | None = field(default=None, compare=False, repr=False)
    treated: tuple[object, Any] | None = field(default=None, compare=False, repr=False)

    @property
    def is_private(self) -> bool:
        return bool(self.tag >> 16 & 1)


class Run:
    """Elements that stand one after another at top level, all private or none, in the same bytes in
    many data sets. `treated` is what a cleaner made of all of them, with its mark."""

    __slots__ = ("by_tag", "creators", "elements", "is_private", "treated")

    def __init__(self, elements: Sequence[Element]) -> None:
        self.elements = tuple(elements)
        self.by_tag = _by_tag(elements)
        self.is_private = bool(elements[0].tag >> 16 & 1)
        self.creators = [
            one for one in elements if self.is_private and one.tag & 0xFFFF <= LAST_CREATOR
        ]
        self.treated: tuple[object, Any] | None = None


def _by_tag(elements: Sequence[Element]) -> dict[int, Element]:
    """The first element of each tag that is no sequence."""
    return {one.tag: one for one in reversed(elements) if one.items is None}


class DataSet(list[Element]):
    """The elements of a data set as they were read, never changed; `parts` are the same again,
    together where they came together before."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[Run | Element] = []

    def add(self, element: Element) -> None:
        self.append(element)
        self.parts.append(element)

    def add_run(self, run: Run) -> None:
        self.extend(run.elements)
        self.parts.append(run)

    @functools.cached_property
    def by_tag(self) -> dict[int, Element]:
        """The first element of each tag that is no sequence; to be asked for when all are there."""
        found: dict[int, Element] = {}
        for part in reversed(self.parts):
            if isinstance(part, Run):
                found.update(part.by_tag)
            elif part.items is None:
                found[part.tag] = part
        return found


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

    def __init__(
        self,
        content: Content,
        memory: Memory[Element] | None = None,
        stretches: Stretches[Element, Run] | None = None,
    ) -> None:
        """`memory` holds elements of data sets in the one encoding that is read with it, and
        `stretches` those that come together in one series of them."""
        self._content = content
        self._memory: Memory[Element] = Memory(0) if memory is None else memory
        self._stretches = Stretches(Run, 0) if stretches is None else stretches

    def data_set(self, start: int, end: int, encoding: Encoding) -> tuple[DataSet, int]:
        """The elements before pixel data, and where the pixel data element is (`end` if none)."""
        elements, content, stretches = DataSet(), self._content, self._stretches
        stretches.begin()
        at, parity = start, 0
        while at < end:
            stretch = stretches.found(content, at, end)
            if stretch is not None:
                elements.add_run(stretch.what)
                at += stretch.length
                continue
            header = read_header(content, at, end, encoding)
            if header.tag in PIXEL_TAGS:
                break
            element, at = self._top(header, at, end, encoding)
            elements.add(element)
            if header.tag >> 16 & 1 != parity or not element.raw:
                parity = header.tag >> 16 & 1
                stretches.part()
            if element.raw:
                stretches.add(element.raw, element)
        stretches.end()
        return elements, at

    def _top(self, header: Header, at: int, end: int, encoding: Encoding) -> tuple[Element, int]:
        """An element at top level: the one that the same bytes gave before, if they did."""
        stop = header.value + header.length
        if header.length == UNDEFINED or stop > end or stop - at > LONGEST:
            return self._element(header, end, encoding, 0)
        raw = bytes(self._content[at:stop])
        element: Element = self._memory.get(raw)
        if element is MISSING:
            element, _ = self._element(header, end, encoding, 0)
            element.raw = raw
            self._memory.put(raw, element)
        return element, stop

    def group_two(self, start: int, end: int) -> tuple[list[Element], int]:
        """The file meta elements (PS3.10 section 7.1, always explicit VR little endian)."""
        elements: list[Element] = []
        at = start
        while at < end and bytes(self._content[at : at + 2]) == b"\x02\x00":
            header = read_header(self._content, at, end, META)
            element, at = self._element(header, end, META, 0)
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
