"""The gate's own reading of a data set: values as they stand there, at any depth."""

from __future__ import annotations

from collections.abc import Iterator
from struct import error
from typing import NamedTuple

from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset

from pacstream.skim import Content, Walk

CHARACTER_SET = 0x00080005
ITEM_HEADS = frozenset({b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00"})
IMPLICIT, EXPLICIT = Walk(implicit=True), Walk()
UNREADABLE = (error, ValueError)
"""What a walk raises."""


class Leaf(NamedTuple):
    """A value that is no sequence: `path` are the tags from top level down to its own, `vr` is the
    file's (the dictionary's where the file has none, or UN), empty if nobody knows."""

    path: tuple[int, ...]
    vr: str
    value: bytes
    character_set: bytes

    @property
    def tag(self) -> int:
        return self.path[-1]


class Place(NamedTuple):
    """An element in `content`: its VR, where its value starts and where it stops."""

    content: Content
    walk: Walk
    vr: bytes
    start: int
    stop: int


def known_vr(tag: int) -> str:
    """The dictionary's VR, of two that are possible the first; empty if the tag is not in it."""
    entry = DicomDictionary.get(tag)
    return str(entry[0])[:2] if entry else ""


def leaves(place: Place, path: tuple[int, ...], character_set: bytes) -> Iterator[Leaf]:
    """The values of an element. Raises one of UNREADABLE for what is no sequence and has to be."""
    vr = place.vr.decode("latin-1")
    if vr in ("", "UN"):
        vr = known_vr(path[-1]) or vr
    if vr == "SQ":
        walk = IMPLICIT if place.vr == b"UN" else place.walk
        yield from _of_items(place._replace(walk=walk), path, character_set)
        return
    value = bytes(place.content[place.start : place.stop])
    if vr in ("", "UN") and value[:4] in ITEM_HEADS:
        found = _of_unknown(value, path, character_set)
        if found is not None:
            yield from found
            return
    yield Leaf(path, vr, value, character_set)


def _of_unknown(value: bytes, path: tuple[int, ...], character_set: bytes) -> list[Leaf] | None:
    """The leaves of what looks like a sequence (CP-246: implicit inside); None if it is none."""
    for walk in (IMPLICIT, EXPLICIT):
        place = Place(value, walk, b"SQ", 0, len(value))
        try:
            return list(_of_items(place, path, character_set))
        except UNREADABLE:
            continue
    return None


def _of_items(place: Place, path: tuple[int, ...], character_set: bytes) -> Iterator[Leaf]:
    content, walk = place.content, place.walk
    for start, stop in walk.items(content, place.start, place.stop):
        inside = character_set
        for tag, vr, _, value, end in walk.elements(content, start, stop):
            if end < 0:
                raise ValueError("pixel data in an item")
            if tag == CHARACTER_SET:
                inside = bytes(content[value:end])
            yield from leaves(Place(content, walk, vr, value, end), (*path, tag), inside)


def leaves_by_pydicom(
    data_set: Dataset, path: tuple[int, ...] = (), character_set: bytes = b""
) -> Iterator[Leaf]:
    """The same of a whole data set, as pydicom reads it."""
    if CHARACTER_SET in data_set:
        character_set = _raw(data_set.get_item(CHARACTER_SET).value)
    for tag in list(data_set.keys()):
        raw = data_set.get_item(tag)
        inside = (*path, int(tag))
        if _is_sequence(data_set, tag, raw.VR or ""):
            for item in data_set[tag].value:
                yield from leaves_by_pydicom(item, inside, character_set)
            continue
        vr = raw.VR or ""
        vr = known_vr(int(tag)) or vr if vr in ("", "UN") else vr
        yield Leaf(inside, vr[:2], _raw(raw.value), character_set)


def _is_sequence(data_set: Dataset, tag: int, vr: str) -> bool:
    return vr == "SQ" or (vr in ("", "UN") and data_set[tag].VR == "SQ")


def _raw(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    return b"" if value is None else str(value).encode("utf-8")
