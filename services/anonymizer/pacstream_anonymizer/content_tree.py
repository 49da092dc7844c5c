"""A tree of content items without some of them: references inside it are by position (PS3.3
section C.17.3.2.5), so they move along."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from pacstream_anonymizer.parser import Element

CONTENT_SEQUENCE, REFERENCED_ITEM = 0x0040A730, 0x0040DB73

Position = tuple[int, ...]
"""Ordinals from the root, which is (1,)."""
Item = list[Element]
ROOT: Position = (1,)


def without(
    items: list[Item],
    is_dropped: Callable[[Item], bool],
    order: str,
    gone: Callable[[Item, int, bool], None],
) -> list[Item]:
    """The items below the root that stay, new ones; an item that refers to one that goes, goes,
    too. `order` is the byte order as struct writes it. `gone` is called for each that goes, with
    its depth (1: just below the root) and whether it goes for its own sake."""
    own = {place for place, item in _places(items, ROOT) if is_dropped(item)}
    dropped = set(own)
    while more := {
        place
        for place, item in _places(items, ROOT)
        if not _is_gone(place, dropped) and _refers_to(item, dropped, order)
    }:
        dropped |= more
    for place, item in _places(items, ROOT):
        if _is_gone(place, dropped):
            gone(item, len(place) - 1, place in own)
    moved = dict(_moved(items, ROOT, ROOT, dropped))
    return _rebuilt(items, ROOT, moved, order)


def _places(items: list[Item], parent: Position) -> Iterator[tuple[Position, Item]]:
    for number, item in enumerate(items, 1):
        place = (*parent, number)
        yield place, item
        yield from _places(children_of(item), place)


def _is_gone(place: Position, dropped: set[Position]) -> bool:
    return any(place[:length] in dropped for length in range(1, len(place) + 1))


def _refers_to(item: Item, dropped: set[Position], order: str) -> bool:
    return any(_is_gone(target, dropped) for target in _targets(item, order))


def _targets(item: Item, order: str) -> Iterator[Position]:
    for element in item:
        if element.tag == REFERENCED_ITEM and element.items is None:
            count = len(element.value) // 4
            yield struct.unpack_from(f"{order}{count}I", element.value)


def _moved(
    items: list[Item], old: Position, new: Position, dropped: set[Position]
) -> Iterator[tuple[Position, Position]]:
    """Old and new place of all that stays."""
    if old == ROOT:
        yield ROOT, ROOT
    count = 0
    for number, item in enumerate(items, 1):
        place = (*old, number)
        if place in dropped:
            continue
        count += 1
        yield place, (*new, count)
        yield from _moved(children_of(item), place, (*new, count), dropped)


def _rebuilt(
    items: list[Item], parent: Position, moved: dict[Position, Position], order: str
) -> list[Item]:
    return [
        [_element(element, (*parent, number), moved, order) for element in item]
        for number, item in enumerate(items, 1)
        if (*parent, number) in moved
    ]


def _element(
    element: Element, place: Position, moved: dict[Position, Position], order: str
) -> Element:
    if element.tag == CONTENT_SEQUENCE and element.items is not None:
        return Element(element.tag, "SQ", items=_rebuilt(element.items, place, moved, order))
    if element.tag == REFERENCED_ITEM and element.items is None:
        (target,) = _targets([element], order)
        new = moved.get(target, target)
        return Element(element.tag, element.vr, struct.pack(f"{order}{len(new)}I", *new))
    return element


def children_of(item: Item) -> list[Item]:
    return [
        child
        for element in item
        if element.tag == CONTENT_SEQUENCE
        for child in element.items or []
    ]


def count(items: list[Item]) -> int:
    return sum(1 for _ in _places(items, ROOT))
