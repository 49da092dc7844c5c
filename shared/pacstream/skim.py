"""Elements of a Part 10 file as the bytes that stand there, by a walk over their headers (PS3.5
section 7) that makes no element.

The plain case only, and only a sure answer: what is not understood here is left to pydicom, which
costs ten times as much.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from struct import Struct, error

from pydicom.datadict import DicomDictionary
from pydicom.valuerep import EXPLICIT_VR_LENGTH_16, EXPLICIT_VR_LENGTH_32

Content = bytes | mmap.mmap

META_HEAD = b"DICM\2\0\0\0UL\4\0"
META_START = 140
"""The prefix, the header of the first element of group 2 (its length), and where that header ends
(PS3.10 section 7.1)."""

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
DEFLATED = frozenset(
    {"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"}
)
"""Transfer syntaxes that deflate the whole data set (PS3.5 sections A.5, A.7, A.12)."""

GROUP_LENGTH, TRANSFER_SYNTAX, LAST_META = 0x00020000, 0x00020010, 0x0002FFFF
LAST = 0xFFFDFFFF
META = frozenset({TRANSFER_SYNTAX})
PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
UNDEFINED = 0xFFFFFFFF
LONG_VRS = frozenset(vr.encode() for vr in EXPLICIT_VR_LENGTH_32)
SHORT_VRS = frozenset(vr.encode() for vr in EXPLICIT_VR_LENGTH_16)
UNDEFINED_TAGS = PIXELS | {tag for tag, entry in DicomDictionary.items() if entry[0] == "SQ"}
"""What may have an undefined length where no VR tells: of other elements pydicom seeks the end."""
DEEPEST = 16


@dataclass(frozen=True)
class Skimmed:
    """The VR (empty in implicit VR encodings) and value bytes of elements at top level, by tag; the
    bytes of a sequence are those of its items."""

    transfer_syntax: str
    elements: dict[int, tuple[bytes, bytes]]

    @property
    def identity(self) -> tuple[str, tuple[tuple[int, tuple[bytes, bytes]], ...]]:
        """Equal for two files if pydicom reads the same values in both."""
        return self.transfer_syntax, tuple(self.elements.items())


class Walk:
    """How elements lie in one encoding."""

    def __init__(self, *, implicit: bool = False, little: bool = True) -> None:
        order = "<" if little else ">"
        self.implicit = implicit
        self.little = little
        self._head = Struct(order + "HH2sH").unpack_from
        self._long = Struct(order + "I").unpack_from

    def element(self, content: Content, at: int) -> tuple[int, bytes, int, int]:
        """Tag, VR, position of the value, and its length. Raises struct.error at the end of
        `content`, and ValueError for a VR that there is not."""
        group, number, vr, length = self._head(content, at)
        tag = group << 16 | number
        if self.implicit or group == 0xFFFE:
            length = self._long(content, at + 4)[0]
            if length == UNDEFINED and group != 0xFFFE and tag not in UNDEFINED_TAGS:
                raise ValueError("no sequence")
            return tag, b"", at + 8, length
        if vr in SHORT_VRS:
            return tag, vr, at + 8, length
        if vr in LONG_VRS:
            length = self._long(content, at + 8)[0]
            if length == UNDEFINED and vr != b"SQ" and tag not in PIXELS:
                raise ValueError("no sequence")  # or implicit inside: PS3.5 section 6.2.2, note 2
            return tag, vr, at + 12, length
        raise ValueError("no VR")

    def elements(
        self, content: Content, at: int, end: int
    ) -> Iterator[tuple[int, bytes, int, int, int]]:
        """Tag, VR, start, start of the value and stop of the elements between two positions, which
        have to ascend; pixel data is the last one and its stop not told (-1). Raises as `element`
        and `after` do."""
        before = -1
        while at < end:
            tag, vr, value, stop = self.next(content, at, end, before)
            yield tag, vr, at, value, stop
            if stop < 0:
                return
            before, at = tag, stop

    def next(self, content: Content, at: int, end: int, before: int) -> tuple[int, bytes, int, int]:
        """Tag, VR, start of the value and stop of the element at a place, behind one with the tag
        `before`; as `elements`."""
        # Most elements are of the kind that is read here, without a call for each.
        group, number, vr, length = self._head(content, at)
        tag, value = group << 16 | number, at + 8
        if self.implicit or vr not in SHORT_VRS or group == 0xFFFE:
            tag, vr, value, length = self.element(content, at)
        if tag <= before or tag > LAST:
            raise ValueError("not in order")
        if tag in PIXELS:
            return tag, vr, value, -1
        stop = value + length if length != UNDEFINED else self.after(content, value, length)
        if stop > end:
            raise ValueError("cut")
        return tag, vr, value, stop

    def items(self, content: Content, at: int, stop: int) -> Iterator[tuple[int, int]]:
        """Start and stop of the content of each item of a sequence (PS3.5 section 7.5) whose value
        is between two positions, its delimiter included if it has one. Raises as `after` does."""
        while at < stop:
            tag, _, value, length = self.element(content, at)
            if tag == SEQUENCE_END and length == 0 and value == stop:
                return
            if tag != ITEM:
                raise ValueError("no item")
            at = self._after_item(content, value, length, 0)
            if at > stop:
                raise ValueError("an item is longer than its sequence")
            yield value, at - (8 if length == UNDEFINED else 0)

    def after(self, content: Content, value: int, length: int, depth: int = 0) -> int:
        """The position behind a value; a sequence of undefined length is walked over, item by item.
        Raises as `element` does, and ValueError for what is no sequence (PS3.5 section 7.5)."""
        if length != UNDEFINED:
            return value + length
        if depth == DEEPEST:
            raise ValueError("too deep")
        at = value
        while True:
            tag, _, value, length = self.element(content, at)
            if tag == SEQUENCE_END and length == 0:
                return value
            if tag != ITEM:
                raise ValueError("no item")
            at = self._after_item(content, value, length, depth)

    def _after_item(self, content: Content, at: int, length: int, depth: int) -> int:
        stop = None if length == UNDEFINED else at + length
        while stop is None or at < stop:
            tag, _, value, length = self.element(content, at)
            if tag == ITEM_END and length == 0 and stop is None:
                return value
            if tag >> 16 == 0xFFFE:
                raise ValueError("no element")
            at = self.after(content, value, length, depth + 1)
        if at > stop:
            raise ValueError("an element is longer than its item")
        return at


_EXPLICIT = Walk()
_WALKS = {IMPLICIT_LITTLE: Walk(implicit=True), EXPLICIT_BIG: Walk(little=False)}


def walk_of(transfer_syntax: str) -> Walk:
    return _WALKS.get(transfer_syntax, _EXPLICIT)


def data_set_of(content: Content) -> tuple[str, int] | None:
    """The transfer syntax of a Part 10 file and where its data set starts; None if in doubt, or if
    the data set is deflated."""
    try:
        transfer_syntax, start = _meta(content)
    except (error, ValueError, KeyError):
        return None
    walk = walk_of(transfer_syntax)
    if transfer_syntax in DEFLATED or (walk.implicit and content[start + 4 : start + 6].isalpha()):
        return None
    return transfer_syntax, start


def deflated_data_set_of(content: Content) -> int | None:
    """Where the deflated data set of a Part 10 file starts; None if it has none, or in doubt."""
    try:
        transfer_syntax, start = _meta(content)
    except (error, ValueError, KeyError):
        return None
    return start if transfer_syntax in DEFLATED else None


def skim(content: Content, tags: Collection[int]) -> Skimmed | None:
    """Those of `tags` that stand before pixel data; None if there is any doubt.

    All elements are walked over, whatever is asked for, and have to ascend.
    """
    found = data_set_of(content)
    if found is None:
        return None
    transfer_syntax, start = found
    walk = walk_of(transfer_syntax)
    try:
        span, limits = (start, len(content)), (LAST_META, LAST)
        return Skimmed(transfer_syntax, _elements(content, span, limits, walk, tags))
    except (error, ValueError, KeyError):
        return None


def skim_file(path: Path, tags: Collection[int]) -> Skimmed | None:
    """`skim` of a file; None if it is empty. Raises OSError."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return None
        with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as content:
            return skim(content, tags)


def _meta(content: Content) -> tuple[str, int]:
    """The transfer syntax, and where the data set starts."""
    if content[META_START - len(META_HEAD) : META_START] != META_HEAD:
        raise ValueError("no prefix, or no group length")
    start = META_START + 4
    end = start + int.from_bytes(content[META_START:start], "little")
    found = _elements(content, (start, end), (GROUP_LENGTH, LAST_META), _EXPLICIT, META)
    return found[TRANSFER_SYNTAX][1].strip(b" \0").decode("ascii"), end


def _elements(
    content: Content,
    span: tuple[int, int],
    limits: tuple[int, int],
    walk: Walk,
    tags: Collection[int],
) -> dict[int, tuple[bytes, bytes]]:
    """VR and value of `tags` between two positions. ValueError unless all tags there ascend, and
    lie behind the first of `limits` and up to the second."""
    found: dict[int, tuple[bytes, bytes]] = {}
    (at, end), (before, last) = span, limits
    while at < end:
        tag, vr, value, length = walk.element(content, at)
        if tag in PIXELS:
            return found
        at = walk.after(content, value, length)
        if not before < tag <= last or at > end:
            raise ValueError("not in order, or cut")
        if tag in tags:
            found[tag] = vr, content[value:at]
        before = tag
    return found
