"""The content tree of a structured report (PS3.3 section C.17.3), of any class and depth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pydicom import Dataset
from pydicom.valuerep import PersonName

from pacstream_exporter.reports.wording import plain, repaired

STRUCTURE = frozenset(
    {
        "RelationshipType",
        "ValueType",
        "ConceptNameCodeSequence",
        "ContentSequence",
        "ContinuityOfContent",
        "ContentTemplateSequence",
        "ReferencedContentItemIdentifier",
        "ObservationDateTime",
        "ObservationUID",
        "SpecificCharacterSet",
    }
)
"""Attributes of an item that are not its value."""


@dataclass(frozen=True)
class Item:
    """A content item. `number` is its place in the tree, as references give it: 1.3.2. `value` is
    what it says, for people; `details` is all of it, for machines; `raw` is the text that was
    there, if it was HTML or wrongly decoded."""

    number: str
    relationship: str
    value_type: str
    name: Mapping[str, str] = field(repr=False)
    value: str = field(repr=False)
    details: Mapping[str, object] = field(default_factory=dict, repr=False)
    raw: str = field(default="", repr=False)
    items: tuple[Item, ...] = field(default=(), repr=False)


def text_of(data_set: Dataset, keyword: str) -> str:
    """All values, with commas between them; empty if there is none."""
    value = data_set.get(keyword)
    if value is None:
        return ""
    if isinstance(value, str | PersonName) or not hasattr(value, "__iter__"):
        return str(value)
    return ", ".join(map(str, value))


def code_of(data_set: Dataset, keyword: str) -> dict[str, str]:
    """The first code of a sequence (PS3.3 section 8.8); empty if there is none."""
    for code in data_set.get(keyword) or ():
        value = next(
            (text_of(code, one) for one in ("CodeValue", "LongCodeValue", "URNCodeValue")
             if text_of(code, one)), "",
        )  # fmt: skip
        return {
            "value": value,
            "scheme": text_of(code, "CodingSchemeDesignator"),
            "meaning": _wording(text_of(code, "CodeMeaning")),
        }
    return {}


def item_of(data_set: Dataset, number: str = "1") -> Item:
    """The item and all below it. Raises whatever pydicom does on damaged values."""
    kind = text_of(data_set, "ValueType")
    value, details, raw = VALUES.get(kind, _other)(data_set)
    reference = data_set.get("ReferencedContentItemIdentifier")
    if reference is not None and not kind:
        place = text_of(data_set, "ReferencedContentItemIdentifier").replace(", ", ".")
        value, details, raw = f"see {place}", {"referenced_item": place}, ""
    if moment := text_of(data_set, "ObservationDateTime"):
        details = {**details, "observed": moment}
    below = data_set.get("ContentSequence") or ()
    return Item(
        number,
        text_of(data_set, "RelationshipType"),
        kind,
        code_of(data_set, "ConceptNameCodeSequence"),
        value,
        details,
        raw,
        tuple(item_of(one, f"{number}.{place}") for place, one in enumerate(below, start=1)),
    )


def as_dict(item: Item) -> dict[str, object]:
    """For JSON; without what is empty."""
    told: dict[str, object] = {
        "number": item.number,
        "relationship": item.relationship,
        "value_type": item.value_type,
        "name": dict(item.name),
        "value": item.value,
        "details": dict(item.details),
        "raw": item.raw,
        "items": [as_dict(one) for one in item.items],
    }
    return {key: value for key, value in told.items() if value}


Value = tuple[str, dict[str, object], str]


def _wording(text: str) -> str:
    return plain(repaired(text))


def _text(data_set: Dataset, keyword: str = "TextValue") -> Value:
    there = text_of(data_set, keyword)
    meant = _wording(there)
    return meant, {}, there if there != meant else ""


def _simple(keyword: str) -> Callable[[Dataset], Value]:
    return lambda data_set: (_wording(text_of(data_set, keyword)), {}, "")


def _container(data_set: Dataset) -> Value:
    details: dict[str, object] = {}
    for template in data_set.get("ContentTemplateSequence") or ():
        details["template"] = text_of(template, "TemplateIdentifier")
    return "", details, ""


def _code(data_set: Dataset) -> Value:
    code = code_of(data_set, "ConceptCodeSequence")
    return code.get("meaning") or code.get("value", ""), {"code": code}, ""


def _number(data_set: Dataset) -> Value:
    qualifier = code_of(data_set, "NumericValueQualifierCodeSequence")
    details: dict[str, object] = {"qualifier": qualifier} if qualifier else {}
    for measured in data_set.get("MeasuredValueSequence") or ():
        unit = code_of(measured, "MeasurementUnitsCodeSequence")
        number = text_of(measured, "NumericValue")
        shown = unit.get("meaning", "") if unit.get("scheme") != "UCUM" else unit["value"]
        shown = "" if unit.get("value") == "1" else shown
        return f"{number} {shown}".strip(), {"number": number, "unit": unit, **details}, ""
    return qualifier.get("meaning", "no value"), details, ""


def _reference(data_set: Dataset) -> Value:
    """To an image, a waveform or another object, in this report or not."""
    references = []
    for one in data_set.get("ReferencedSOPSequence") or ():
        said = {
            "sop_class_uid": text_of(one, "ReferencedSOPClassUID"),
            "sop_instance_uid": text_of(one, "ReferencedSOPInstanceUID"),
            "frames": text_of(one, "ReferencedFrameNumber"),
            "segments": text_of(one, "ReferencedSegmentNumber"),
            "channels": text_of(one, "ReferencedWaveformChannels"),
        }
        references.append({key: value for key, value in said.items() if value})
    shown = "; ".join(
        " ".join([one.get("sop_instance_uid", ""), *_parts_of(one)]).strip() for one in references
    )
    return shown, {"references": references}, ""


def _parts_of(reference: Mapping[str, str]) -> list[str]:
    return [f"({part} {reference[part]})" for part in ("frames", "segments", "channels")
            if part in reference]  # fmt: skip


def _other(data_set: Dataset) -> Value:
    """Coordinates, tables, and what a later edition brings: every attribute, by its keyword."""
    details: dict[str, object] = {}
    for element in data_set:
        name = element.keyword or str(element.tag)
        if name in STRUCTURE:
            continue
        if element.VR == "SQ":
            details[name] = [_other(one)[1] for one in element.value]
        elif not isinstance(element.value, bytes):
            details[name] = text_of(data_set, name) if element.keyword else str(element.value)
    shown = "; ".join(f"{name} {value}" for name, value in details.items() if value)
    return shown, details, ""


VALUES: Mapping[str, Callable[[Dataset], Value]] = {
    "CONTAINER": _container,
    "TEXT": _text,
    "CODE": _code,
    "NUM": _number,
    "DATE": _simple("Date"),
    "TIME": _simple("Time"),
    "DATETIME": _simple("DateTime"),
    "UIDREF": _simple("UID"),
    "PNAME": _simple("PersonName"),
    "COMPOSITE": _reference,
    "IMAGE": _reference,
    "WAVEFORM": _reference,
}
