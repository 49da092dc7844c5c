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

from pacstream_anonymizer import attributes, content_tree, descriptors, text, values
from pacstream_anonymizer.actions import CLEAN_DESCRIPTORS, FULL_DATES, MODIFIED_DATES, RETAIN_UIDS
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
OWN = frozenset({CONTENT, *(tag for tag, _ in VALUES.values())})

SUBJECT_NAME, SUBJECT_AGE = ("DCM", "121029"), ("DCM", "121033")
OLDEST = 89
REMOVED = values.REMOVED.encode()
DUMMIES = {"DATE": b"19000101", "TIME": b"000000", "DATETIME": b"19000101000000"}


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


@dataclass(frozen=True)
class ContentCleaner:
    """Cleans content trees by the profile, and for the patient, of `cleaner`; `scene` is that of
    the content items."""

    cleaner: Cleaner
    scene: Scene

    def spliced(self, elements: list[Element], cleaned: list[Element]) -> list[Element]:
        """`cleaned`, which is what the table of attributes leaves of `elements`, with the tree.

        Refusal `structured_report` for a value type that is not known.
        """
        kept = [one for one in cleaned if one.tag not in (*OWN, VERIFYING_OBSERVERS)]
        items = [self._item(item) for item in self._staying(_items(elements, CONTENT))]
        if items:
            kept.append(Element(CONTENT, "SQ", items=items))
        observers = [self._observer(item) for item in _items(elements, VERIFYING_OBSERVERS)]
        if observers:
            kept.append(Element(VERIFYING_OBSERVERS, "SQ", items=observers))
        return kept

    def _staying(self, items: list[list[Element]]) -> list[list[Element]]:
        """The items that stay, not yet cleaned. One that has lost all below it may go itself."""
        while True:
            kept = content_tree.without(
                items, lambda item: self._own(item) is None, self.cleaner.encoding.order
            )
            if content_tree.count(kept) == content_tree.count(items):
                return kept
            items = kept

    def _item(self, item: list[Element]) -> list[Element]:
        """A content item that stays, and all below it."""
        kept = self._own(item) or []
        children = [self._item(child) for child in _items(item, CONTENT)]
        if children:
            kept.append(Element(CONTENT, "SQ", items=children))
        return kept

    def _own(self, item: list[Element]) -> list[Element] | None:
        """What a content item says itself; None if it goes, with all below it."""
        kind = self._text(item, VALUE_TYPE)
        if kind not in VALUES and kind not in OTHERS and value_of(item, BY_REFERENCE) is None:
            raise Refusal("structured_report")
        concept = self._concept(item)
        row = rows().get((*concept, kind))
        if not self._stays(kind, concept, row, item):
            return None
        kept = self.cleaner.item([one for one in item if one.tag not in OWN], self.scene)
        if kind in VALUES:
            value = self._value(kind, concept, row, item)
            if not value:
                return None
            kept.append(Element(*VALUES[kind], value))
        return kept

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
    ) -> bytes | None:
        """The value of an item; None if the item goes. What others depend on gets a dummy: no
        measurement is lost for a remark about it."""
        given = value_of(item, VALUES[kind][0]) or b""
        if kind == "UIDREF":
            return given if RETAIN_UIDS in self._options else self._by_vr(kind, given)
        if kind in DUMMIES:
            return self._moment(kind, row, given)
        if concept == SUBJECT_NAME:
            return self.cleaner.patient.pseudonym.encode()
        if row is None:
            return REMOVED
        told = text.decode(given, self.scene.codecs)
        if any(row.options.get(option) == "K" for option in self._options):
            return told.encode("utf-8")
        words = ""
        if CLEAN_DESCRIPTORS in self._options and CLEAN_DESCRIPTORS in row.options:
            words = descriptors.cleaned(told, self.cleaner.profile.vocabulary)
        goes = row.basic == "X" and not _items(item, CONTENT)
        return words.encode("utf-8") or (None if goes else REMOVED)

    def _moment(self, kind: str, row: Row | None, given: bytes) -> bytes | None:
        """A date or time: kept or shifted as the profile does with dates, unless the table has no
        option for it (a birth date)."""
        moves = row is None or MODIFIED_DATES in row.options
        if moves and {FULL_DATES, MODIFIED_DATES} & self._options:
            return self._by_vr(kind, given)
        return None if row is None or "X" in row.basic.split("/") else DUMMIES[kind]

    def _by_vr(self, kind: str, given: bytes) -> bytes | None:
        return values.clean(*VALUES[kind], given, self.cleaner.patient)

    def _observer(self, item: list[Element]) -> list[Element]:
        """Who verified a report is nobody, and when is as any other date."""
        row = Row("D", {FULL_DATES: "K", MODIFIED_DATES: "C"})
        when = self._moment("DATETIME", row, value_of(item, VERIFIED_AT) or b"")
        return [
            Element(0x0040A027, "LO", REMOVED),
            Element(VERIFIED_AT, "DT", when or DUMMIES["DATETIME"]),
            Element(0x0040A075, "PN", REMOVED),
            Element(0x0040A088, "SQ", items=[]),
        ]

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


def _items(elements: list[Element], tag: int) -> list[list[Element]]:
    for element in elements:
        if element.tag == tag and element.items is not None:
            return element.items
    return []
