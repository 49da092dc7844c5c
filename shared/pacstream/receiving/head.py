"""The three UIDs from the first bytes of a data set, walked over without making any element.

The plain case only, and only a sure answer: what is not understood here is left to `identify`,
which costs ten times as much. PS3.5 sections 7.1 to 7.5.
"""

from __future__ import annotations

from struct import error

from pacstream.archive import UID
from pacstream.receiving.identify import SERIES, SOP_INSTANCE, STUDY, Identity
from pacstream.skim import DEFLATED, walk_of


def identity_in(head: bytes, transfer_syntax: str) -> Identity | None:
    """The UIDs if `head`, the beginning of a data set, holds them all beyond doubt; else None."""
    if transfer_syntax in DEFLATED:
        return None
    walk = walk_of(transfer_syntax)
    found: dict[int, str] = {}
    at, before = 0, -1
    try:
        while before < SERIES:
            tag, _, value, length = walk.element(head, at)
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
