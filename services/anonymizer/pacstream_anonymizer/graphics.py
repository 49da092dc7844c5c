"""Clean Graphics (PS3.15 section E.3.3): the annotations of a presentation state without text.

Points, lines and shapes stay; text objects, compound graphics and the names of layers do not."""

from __future__ import annotations

from pacstream_anonymizer import values
from pacstream_anonymizer.cleaner import Cleaner, Scene, value_of
from pacstream_anonymizer.parser import Element

ANNOTATIONS, OBJECTS, LAYERS = 0x00700001, 0x00700009, 0x00700060
LAYER = 0x00700002
TEXTS, COMPOUNDS = 0x00700008, 0x00700209
LABEL = 0x00700080
HANDLED = frozenset({ANNOTATIONS, LAYERS, LABEL})
"""What of a data set these rules are for."""
RULE = "list:graphics"


def cleaned(elements: list[Element], cleaner: Cleaner, scene: Scene) -> list[Element]:
    """What stays of the elements HANDLED of a data set that is in `scene`; told there.

    Layers are named by their order: their names are free text within the limits of CS.
    """
    names: dict[bytes, bytes] = {}
    given = value_of(elements, LABEL)
    if given is not None:
        scene.tell(LABEL, RULE, "dummy", given)
    kept = [Element(LABEL, "CS", values.REMOVED.encode())]
    for tag in (LAYERS, ANNOTATIONS):
        items = []
        for item in _items(elements, tag):
            if tag == LAYERS or any(one.tag == OBJECTS for one in item):
                items.append(_named(_shapes(item, cleaner, scene.inside(tag)), names))
            else:
                scene.tell(tag, RULE, "remove")
        if items:
            kept.append(Element(tag, "SQ", items=items))
    return kept


def _items(elements: list[Element], tag: int) -> list[list[Element]]:
    return [item for one in elements if one.tag == tag for item in one.items or []]


def _shapes(item: list[Element], cleaner: Cleaner, scene: Scene) -> list[Element]:
    """An item without text; its layer still has its name."""
    for one in item:
        if one.tag in (TEXTS, COMPOUNDS):
            scene.tell(one.tag, RULE, "remove")
    return cleaner.item([one for one in item if one.tag not in (TEXTS, COMPOUNDS)], scene)


def _named(item: list[Element], names: dict[bytes, bytes]) -> list[Element]:
    given = value_of(item, LAYER)
    if given is None:
        return item
    name = names.setdefault(given.strip(b" \0"), f"LAYER{len(names) + 1}".encode())
    return [Element(LAYER, "CS", name) if one.tag == LAYER else one for one in item]
