"""Elements of a Part 10 file as the bytes that stand there, by a walk over their headers (PS3.5
section 7) that makes no element.

The plain case only, and only a sure answer: what is not understood here is left to pydicom, which
costs ten times as much.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from struct import Struct, error

from pydicom.valuerep import EXPLICIT_VR_LENGTH_16, EXPLICIT_VR_LENGTH_32

Content = bytes | mmap.mmap

META_START = 132
"""After preamble and prefix (PS3.10 section 7.1)."""

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
DEFLATED = frozenset(
    {"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"}
)
"""Transfer syntaxes that deflate the whole data set (PS3.5 sections A.5, A.7, A.12)."""

TRANSFER_SYNTAX = 0x00020010
PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
ITEM_END, SEQUENCE_END = 0xFFFEE00D, 0xFFFEE0DD
UNDEFINED = 0xFFFFFFFF
LONG_VRS = frozenset(vr.encode() for vr in EXPLICIT_VR_LENGTH_32)
SHORT_VRS = frozenset(vr.encode() for vr in EXPLICIT_VR_LENGTH_16)
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
        self._tag = Struct(order + "HH").unpack_from
        self._short = Struct(order + "H").unpack_from
        self._long = Struct(order + "I").unpack_from

    def element(self, content: Content, at: int) -> tuple[int, bytes, int, int]:
        """Tag, VR, position of the value, and its length. Raises struct.error at the end of
        `content`, and ValueError for a VR that there is not."""
        group, number = self._tag(content, at)
        tag = group << 16 | number
        if self.implicit or group == 0xFFFE:
            return tag, b"", at + 8, self._long(content, at + 4)[0]
        vr = content[at + 4 : at + 6]
        if vr in SHORT_VRS:
            return tag, vr, at + 8, self._short(content, at + 6)[0]
        if vr in LONG_VRS:
            length = self._long(content, at + 8)[0]
            if vr == b"UN" and length == UNDEFINED:
                raise ValueError("implicit inside")  # PS3.5 section 6.2.2, note 2
            return tag, vr, at + 12, length
        raise ValueError("no VR")

    def after(self, content: Content, value: int, length: int, depth: int = 0) -> int:
        """The position behind a value; a sequence or item of undefined length is walked over."""
        if length != UNDEFINED:
            return value + length
        if depth == DEEPEST:
            raise ValueError("too deep")
        at = value
        while True:
            tag, _, value, length = self.element(content, at)
            if tag in (ITEM_END, SEQUENCE_END):
                return value
            at = self.after(content, value, length, depth + 1)


_EXPLICIT = Walk()
_WALKS = {IMPLICIT_LITTLE: Walk(implicit=True), EXPLICIT_BIG: Walk(little=False)}


def walk_of(transfer_syntax: str) -> Walk:
    return _WALKS.get(transfer_syntax, _EXPLICIT)


def skim(content: Content, tags: Collection[int]) -> Skimmed | None:
    """Those of `tags` that stand before pixel data; None if there is any doubt.

    All elements are walked over, whatever is asked for, and have to ascend.
    """
    try:
        transfer_syntax, start = _meta(content)
        if transfer_syntax in DEFLATED:
            return None
        walk = walk_of(transfer_syntax)
        if walk.implicit and content[start + 4 : start + 6].isalpha():
            return None
        return Skimmed(transfer_syntax, _data_set(content, start, walk, tags))
    except (error, ValueError):
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
    if content[META_START - 4 : META_START] != b"DICM":
        raise ValueError("no prefix")
    syntax, at = b"", META_START
    while content[at : at + 2] == b"\2\0":
        tag, _, value, length = _EXPLICIT.element(content, at)
        at = _EXPLICIT.after(content, value, length)
        if tag == TRANSFER_SYNTAX:
            syntax = content[value:at]
    if not syntax:
        raise ValueError("no transfer syntax")
    return syntax.strip(b" \0").decode("ascii"), at


def _data_set(
    content: Content, at: int, walk: Walk, tags: Collection[int]
) -> dict[int, tuple[bytes, bytes]]:
    found: dict[int, tuple[bytes, bytes]] = {}
    before, end = -1, len(content)
    while at < end:
        tag, vr, value, length = walk.element(content, at)
        if tag in PIXELS:
            return found
        at = walk.after(content, value, length)
        if tag <= before or at > end:
            raise ValueError("not in order, or cut")
        if tag in tags:
            found[tag] = vr, content[value:at]
        before = tag
    return found
