"""Values in which the gate has found an identifier: emptied, or without the name."""

from __future__ import annotations

from collections.abc import Callable

from pacstream_anonymizer import descriptors
from pacstream_anonymizer.actions import DESCRIBING
from pacstream_anonymizer.parser import Element
from pacstream_anonymizer.refusal import Echo

NOBODYS = "zzzzzzzz"
"""A word that no description may keep."""

Path = tuple[int, ...]
Repair = Callable[[Element], Element]


def emptied(element: Element) -> Element:
    return Element(element.tag, element.vr)


def without_names(echo: Echo, vocabulary: frozenset[str]) -> Repair:
    """The repair that leaves a description, clean already, the words that are no names. It is
    cleaned again, so that what stood beside a name goes by the same rules as beside any word that
    is not known. Other values it empties."""

    def repair(element: Element) -> Element:
        if element.vr not in DESCRIBING:
            return emptied(element)
        text = echo.without_names(element.value.decode("utf-8", "replace"), NOBODYS)
        words = descriptors.cleaned(text, vocabulary)
        return Element(element.tag, element.vr, words.encode("utf-8"))

    return repair


def repaired(
    elements: list[Element],
    paths: frozenset[Path],
    repair: Repair,
    told: Callable[[Path, Element], None] = lambda path, element: None,
    above: Path = (),
) -> list[Element]:
    """The elements with the repair at `paths` (tags from top level down), in every item; `told` of
    each with its path."""
    inner: dict[int, set[Path]] = {}
    for path in paths:
        inner.setdefault(path[0], set()).add(path[1:])

    def one_of(element: Element) -> Element:
        below = inner.get(element.tag)
        here = (*above, element.tag)
        if below is None:
            return element
        if element.items is None or () in below:
            new = repair(element)
            told(here, new)
            return new
        items = [repaired(one, frozenset(below), repair, told, here) for one in element.items]
        return Element(element.tag, element.vr, items=items)

    return [one_of(element) for element in elements]
