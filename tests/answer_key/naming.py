"""Paths to elements, as text and as steps."""

from __future__ import annotations

from pydicom.tag import Tag

from tests.answer_key.key import Path


def path_of(*steps: int | str) -> Path:
    """`path_of("ReferencedImageSequence", 0, "ReferencedSOPInstanceUID")`: names or tags, with the
    item numbers between them."""
    found = [(int(Tag(steps[at])), "", int(steps[at + 1])) for at in range(0, len(steps) - 1, 2)]
    return (*found, (int(Tag(steps[-1])), "", -1))


def private_path(group: int, creator: str, low: int, before: Path = ()) -> Path:
    return (*before, ((group << 16) + low, creator, -1))


def inside(*steps: int | str) -> Path:
    """The path of an item: to be put in front of a path inside it."""
    return tuple((int(Tag(steps[at])), "", int(steps[at + 1])) for at in range(0, len(steps), 2))


def text_of(path: Path) -> str:
    return "/".join(
        f"({tag >> 16:04X},{tag & 0xFFFF:04X}{' ' + creator if creator else ''})"
        + (f"[{item}]" if item >= 0 else "")
        for tag, creator, item in path
    )
