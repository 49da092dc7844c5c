"""Clean Structured Content (PS3.15 section E.3.4): the content tree of a structured report or a key
object selection, item by item, by Table E.3.4-1 (`tables/e3_4_1_sr_content_items_2026d.csv`).

Coordinates, references, numbers and codes stay, with mapped UIDs; text is taken out whether the
table lists it or not.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import NamedTuple

from pacstream_anonymizer import attributes, content_tree, descriptors, text, values
from pacstream_anonymizer.actions import (
    CLEAN_DESCRIPTORS,
    FULL_DATES,
    MODIFIED_DATES,
    RETAIN_UIDS,
    Action,
)
from pacstream_anonymizer.cleaner import Cleaner, Scene, value_of
from pacstream_anonymizer.parser import Element
from pacstream_anonymizer.refusal import Refusal
from pacstream_anonymizer.table import EDITION

VALUE_TYPE, CONCEPT_NAME, CONTENT, BY_REFERENCE = 0x0040A040, 0x0040A043, 0x0040A730, 0x0040DB73
MEASURED_VALUES, NUMERIC_VALUE = 0x0040A300, 0x0040A30A
VERIFYING_OBSERVERS, VERIFIED_AT = 0x0040A073, 0x0040A030
VALUES = {
    "TEXT": (0x0040A160, "UT"),
    "PNAME": (0x0040A123, "PN"),
    "UIDREF": (0x0040A124, "UI"),
    "DATE": (0x0040A121, "DA"),
    "TIME": (0x0040A122, "TM"),
    "DATETIME": (0x0040A120, "DT"),
}
"""Where the value types that identify have their value (PS3.3 section C.17.3)."""

OTHERS = frozenset(
    {"CODE", "COMPOSITE", "CONTAINER", "IMAGE", "NUM", "SCOORD", "SCOORD3D", "TCOORD", "WAVEFORM"}
)
REFERENCES = frozenset({"COMPOSITE", "IMAGE", "WAVEFORM"})
MOMENTS = frozenset({"DATE", "TIME", "DATETIME"})
OWN = frozenset({CONTENT, *(tag for tag, _ in VALUES.values())})
HANDLED = OWN | {VERIFYING_OBSERVERS}
"""What of a data set the content tree's rules are for."""

SUBJECT_NAME, SUBJECT_AGE = ("DCM", "121029"), ("DCM", "121033")
OLDEST = 89
REMOVED = values.REMOVED.encode()


@dataclass(frozen=True)
class Row:
    """The action of the Basic Profile, and the options that say something else (`K` or `C`)."""

    basic: str
    options: Mapping[str, str]


@functools.cache
def rows() -> Mapping[tuple[str, str, str], Row]:
    """The table by coding scheme, code and value type."""
    file = resources.files(__package__).joinpath(f"tables/e3_4_1_sr_content_items_{EDITION}.csv")
    fixed = ("scheme", "code", "meaning", "value_type", "retired", "basic")
    with file.open(encoding="utf-8") as lines:
        return MappingProxyType(
            {
                (line["scheme"], line["code"], line["value_type"]): Row(
                    line["basic"], {k: v for k, v in line.items() if k not in fixed and v}
                )
                for line in csv.DictReader(lines)
            }
        )


class Outcome(NamedTuple):
    """What becomes of the value of a content item: None if the item goes, and by which rule; `done`
    is what the audit calls it."""

    value: bytes | None
    rule: str
    done: str


@dataclass(frozen=True)
class ContentCleaner:
    """Cleans content trees by the profile, and for the patient, of `cleaner`; `scene` is that of
    the data set. What it does is told there."""

    cleaner: Cleaner
    scene: Scene

    def cleaned(self, elements: list[Element]) -> list[Element]:
        """What stays of the elements HANDLED of a data set.

        Refusal `structured_report` for a value type that is not known.
        """
        kept = []
        items = [
            self._item(item, self.scene.inside(CONTENT))
            for item in self._staying(_items(elements, CONTENT))
        ]
        if items:
            kept.append(Element(CONTENT, "SQ", items=items))
        observers = [self._observer(item) for item in _items(elements, VERIFYING_OBSERVERS)]
        if observers:
            kept.append(Element(VERIFYING_OBSERVERS, "SQ", items=observers))
        for element in elements:
            if element.tag in OWN - {CONTENT}:
                self.scene.tell(element.tag, "content:outside", "remove", element.value)
        return kept

    def _staying(self, items: list[list[Element]]) -> list[list[Element]]:
        """The items that stay, not yet cleaned. One that has lost all below it may go itself."""
        while True:
            kept = content_tree.without(
                items,
                lambda item: self._own(item, self._silent) is None,
                self.cleaner.encoding.order,
                self._tell_gone,
            )
            if content_tree.count(kept) == content_tree.count(items):
                return kept
            items = kept

    @property
    def _silent(self) -> Scene:
        return self.scene._replace(path=(CONTENT,), told=None)

    def _tell_gone(self, item: list[Element], depth: int, by_rule: bool) -> None:
        """An item goes: for its own sake, or with the one that it is part of or refers to."""
        kind = self._text(item, VALUE_TYPE)
        concept = self._concept(item)
        row = rows().get((*concept, kind))
        rule = _rule(concept, row) if by_rule else "content:with_another"
        scene = self.scene
        for _ in range(depth if kind in VALUES else depth - 1):
            scene = scene.inside(CONTENT)
        if kind in VALUES:
            if by_rule:
                rule = self._value(kind, concept, row, item).rule
            scene.tell(VALUES[kind][0], rule, "remove", value_of(item, VALUES[kind][0]) or b"")
        else:
            scene.tell(CONTENT, rule, "remove")

    def _item(self, item: list[Element], scene: Scene) -> list[Element]:
        """A content item that stays, and all below it."""
        kept = self._own(item, scene) or []
        children = [self._item(child, scene.inside(CONTENT)) for child in _items(item, CONTENT)]
        if children:
            kept.append(Element(CONTENT, "SQ", items=children))
        return kept

    def _own(self, item: list[Element], scene: Scene) -> list[Element] | None:
        """What a content item says itself; None if it goes, with all below it."""
        kind = self._text(item, VALUE_TYPE)
        if kind not in VALUES and kind not in OTHERS and value_of(item, BY_REFERENCE) is None:
            raise Refusal("structured_report")
        concept = self._concept(item)
        row = rows().get((*concept, kind))
        if not self._stays(kind, concept, row, item):
            return None
        if kind not in VALUES:
            if row is not None:
                scene.tell(VALUE_TYPE, _rule(concept, row), "keep")
            return self._attributes(item, scene)
        tag, vr = VALUES[kind]
        outcome = self._value(kind, concept, row, item)
        if not outcome.value:
            return None
        given = value_of(item, tag) or b""
        done = "keep" if outcome.value == given else outcome.done
        scene.tell(tag, outcome.rule, done, given)
        return [*self._attributes(item, scene), Element(tag, vr, outcome.value)]

    def _attributes(self, item: list[Element], scene: Scene) -> list[Element]:
        return self.cleaner.item([one for one in item if one.tag not in OWN], scene)

    def _stays(
        self, kind: str, concept: tuple[str, str], row: Row | None, item: list[Element]
    ) -> bool:
        """Whether an item without text may stay; of those with, the value tells."""
        if row is None or kind in VALUES or kind in REFERENCES:
            return True
        if self._options.isdisjoint(row.options):
            return row.basic != "X"
        return concept != SUBJECT_AGE or self._number(item) <= OLDEST

    def _number(self, item: list[Element]) -> float:
        measured = _items(item, MEASURED_VALUES)
        try:
            return float(self._text(measured[0], NUMERIC_VALUE)) if measured else 0.0
        except ValueError:
            return float("inf")

    def _value(
        self, kind: str, concept: tuple[str, str], row: Row | None, item: list[Element]
    ) -> Outcome:
        """The value of an item. What others depend on gets a dummy: no measurement is lost for a
        remark about it."""
        tag, vr = VALUES[kind]
        given = value_of(item, tag) or b""
        own = self.cleaner.profile.own(tag, "", self.scene.manufacturer)
        goes = (row is not None and row.basic == "X") or (
            own is not None and own.action is Action.REMOVE
        )
        dummy = None if goes and not _items(item, CONTENT) else values.DUMMIES.get(vr, "").encode()
        if own is not None:
            value = self.cleaner.value(own, Element(tag, vr, given), vr, self.scene)
            return Outcome(value or dummy, own.rule, _name(own.action) if value else "dummy")
        rule = _rule(concept, row)
        if kind == "UIDREF":
            kept = given if RETAIN_UIDS in self._options else self._by_vr(kind, given)
            return Outcome(kept, rule, "clean")
        if kind in MOMENTS:
            return self._moment(kind, row, given, rule)
        if concept == SUBJECT_NAME:
            return Outcome(self.cleaner.patient.pseudonym.encode(), rule, "pseudonym")
        if row is None:
            return Outcome(REMOVED, rule, "dummy")
        return self._text_value(row, given, rule, dummy)

    def _text_value(self, row: Row, given: bytes, rule: str, dummy: bytes | None) -> Outcome:
        told = text.decode(given, self.scene.codecs)
        for option in sorted(self._options):
            if row.options.get(option) == "K":
                return Outcome(told.encode("utf-8"), f"{rule}:{option}", "keep")
        if CLEAN_DESCRIPTORS in self._options and CLEAN_DESCRIPTORS in row.options:
            rule = f"{rule}:{CLEAN_DESCRIPTORS}"
            words = descriptors.cleaned(told, self.cleaner.profile.vocabulary)
            if words:
                return Outcome(words.encode("utf-8"), rule, "words")
        return Outcome(dummy, rule, "dummy")

    def _moment(self, kind: str, row: Row | None, given: bytes, rule: str) -> Outcome:
        """A date or time: kept or shifted as the profile does with dates, unless the table has no
        option for it (a birth date)."""
        moves = row is None or MODIFIED_DATES in row.options
        options = {FULL_DATES, MODIFIED_DATES} & self._options
        if moves and options:
            return Outcome(self._by_vr(kind, given), f"{rule}:{min(options)}", "clean")
        goes = row is None or "X" in row.basic.split("/")
        dummy = values.DUMMIES[VALUES[kind][1]].encode()
        return Outcome(None if goes else dummy, rule, "dummy")

    def _by_vr(self, kind: str, given: bytes) -> bytes | None:
        return values.clean(*VALUES[kind], given, self.cleaner.patient)

    def _observer(self, item: list[Element]) -> list[Element]:
        """Who verified a report is nobody, and when is as any other date."""
        rule = f"E1.1:{VERIFYING_OBSERVERS:08X}"
        row = Row("D", {FULL_DATES: "K", MODIFIED_DATES: "C"})
        when = self._moment("DATETIME", row, value_of(item, VERIFIED_AT) or b"", rule)
        written = [
            Element(0x0040A027, "LO", REMOVED),
            Element(VERIFIED_AT, "DT", when.value or values.DUMMIES["DT"].encode()),
            Element(0x0040A075, "PN", REMOVED),
            Element(0x0040A088, "SQ", items=[]),
        ]
        fates = {one.tag: "empty" if one.items is not None else "dummy" for one in written}
        fates[VERIFIED_AT] = when.done if when.value else "dummy"
        scene = self.scene.inside(VERIFYING_OBSERVERS)
        for element in item:
            done = fates.get(element.tag, "remove")
            scene.tell(element.tag, rule, done, element.value)
        return written

    @property
    def _options(self) -> frozenset[str]:
        return self.cleaner.profile.options

    def _concept(self, item: list[Element]) -> tuple[str, str]:
        names = _items(item, CONCEPT_NAME)
        if not names:
            return "", ""
        return (
            self._text(names[0], attributes.CODING_SCHEME),
            self._text(names[0], attributes.CODE_VALUE),
        )

    def _text(self, item: list[Element], tag: int) -> str:
        return text.decode(value_of(item, tag) or b"", self.scene.codecs).strip()


def _rule(concept: tuple[str, str], row: Row | None) -> str:
    """What the audit calls it. A code that the table does not have may be anybody's, and is not
    told."""
    return "content:unlisted" if row is None else f"E3.4.1:{concept[0]}:{concept[1]}"


def _name(action: Action) -> str:
    return action.name.lower()


def _items(elements: list[Element], tag: int) -> list[list[Element]]:
    for element in elements:
        if element.tag == tag and element.items is not None:
            return element.items
    return []
