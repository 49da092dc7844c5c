"""The three UIDs from the first bytes of a data set, walked over without making any element.

The plain case only, and only a sure answer: what is not understood here is left to `identify`,
which costs ten times as much. PS3.5 sections 7.1 to 7.5.
"""

from __future__ import annotations

from struct import Struct, error

from pydicom.valuerep import EXPLICIT_VR_LENGTH_16, EXPLICIT_VR_LENGTH_32

from pacstream.archive import UID
from pacstream.receiving.identify import (
    DEFLATED,
    EXPLICIT_BIG,
    IMPLICIT_LITTLE,
    SERIES,
    SOP_INSTANCE,
    STUDY,
    Identity,
)

ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
UNDEFINED = 0xFFFFFFFF
LONG_VRS = frozenset(vr.encode() for vr in EXPLICIT_VR_LENGTH_32)
SHORT_VRS = frozenset(vr.encode() for vr in EXPLICIT_VR_LENGTH_16)
"""VRs with a length of 32 and of 16 bits (PS3.5 tables 7.1-1 and 7.1-2)."""
DEEPEST = 16


class _Walk:
    """How elements are laid out in one transfer syntax."""

    def __init__(self, *, implicit: bool, little: bool) -> None:
        order = "<" if little else ">"
        self._implicit = implicit
        self._tag = Struct(order + "HH").unpack_from
        self._short = Struct(order + "H").unpack_from
        self._long = Struct(order + "I").unpack_from

    def element(self, head: bytes, at: int) -> tuple[int, int, int]:
        """Tag, position of the value, and its length. Raises as `struct` at the end of `head`, and
        ValueError for a VR that there is not."""
        group, number = self._tag(head, at)
        tag = group << 16 | number
        if self._implicit or group == 0xFFFE:
            return tag, at + 8, self._long(head, at + 4)[0]
        vr = head[at + 4 : at + 6]
        if vr in SHORT_VRS:
            return tag, at + 8, self._short(head, at + 6)[0]
        if vr in LONG_VRS:
            length = self._long(head, at + 8)[0]
            if vr == b"UN" and length == UNDEFINED:
                raise ValueError("implicit inside")  # PS3.5 section 6.2.2, note 2
            return tag, at + 12, length
        raise ValueError("no VR")

    def after(self, head: bytes, value: int, length: int, depth: int = 0) -> int:
        """The position behind a value; a sequence or item of undefined length is walked over."""
        if length != UNDEFINED:
            return value + length
        if depth == DEEPEST:
            raise ValueError("too deep")
        at = value
        while True:
            tag, value, length = self.element(head, at)
            if tag in (ITEM_END, SEQUENCE_END):
                return value
            at = self.after(head, value, length, depth + 1)


_EXPLICIT = _Walk(implicit=False, little=True)
_WALKS = {
    IMPLICIT_LITTLE: _Walk(implicit=True, little=True),
    EXPLICIT_BIG: _Walk(implicit=False, little=False),
}


def identity_in(head: bytes, transfer_syntax: str) -> Identity | None:
    """The UIDs if `head`, the beginning of a data set, holds them all beyond doubt; else None."""
    if transfer_syntax in DEFLATED:
        return None
    walk = _WALKS.get(transfer_syntax, _EXPLICIT)
    found: dict[int, str] = {}
    at, before = 0, -1
    try:
        while before < SERIES:
            tag, value, length = walk.element(head, at)
            if tag <= before:
                return None
            at = walk.after(head, value, length)
            if tag in (SOP_INSTANCE, STUDY, SERIES):
                found[tag] = _uid(head[value:at], length)
            before = tag
        return Identity(found[SOP_INSTANCE], found[STUDY], found[SERIES])
    except (error, ValueError, KeyError):
        return None


def _uid(raw: bytes, length: int) -> str:
    text = raw.strip(b" \0").decode("ascii")
    if len(raw) != length or not UID.fullmatch(text):
        raise ValueError("no UID")
    return text
