"""Each row of Table E.1-1 once at top level and once in an item, with a value of its VR."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path as FilePath

from pydicom import Dataset
from pydicom.datadict import DicomDictionary
from pydicom.dataelem import DataElement
from pydicom.uid import ImplicitVRLittleEndian

from tests.answer_key.key import PATIENT_CHARACTERISTICS, Action, Check, Fate, FileKey, Path
from tests.answer_key.maker import DATES, Maker, Written, date_check, time_checks
from tests.answer_key.naming import inside

TABLE = (
    FilePath(__file__).parents[2]
    / "services/anonymizer/pacstream_anonymizer/tables/e1_1_basic_profile_2026d.csv"
)
"""The standard's facts; which actions follow from them is decided here."""

NEWER = {
    "00081301": "SQ", "00081302": "SQ", "00081303": "SQ", "00081304": "SQ", "00100011": "SQ",
    "00100012": "LT", "00100013": "UT", "00100014": "SQ", "00100015": "SQ", "00100016": "UT",
    "00100041": "SQ", "00100042": "UT", "00100043": "SQ", "00100044": "SQ", "00100045": "UT",
    "00100046": "SQ", "00100047": "UR", "00102162": "UC", "0040A034": "DT", "0040A035": "DT",
    "0040B034": "DT", "0040B036": "DT", "0040B03B": "LT", "0040B03F": "LO", "0040E012": "UR",
    "3004007F": "LO",
}  # fmt: skip
"""VRs of the rows that pydicom's dictionary lacks."""

NOT_IN_A_DATA_SET = ("0000", "0002", "FFFC")
ELSEWHERE = frozenset(
    (
        "00080018", "0020000D", "0020000E", "00200052", "00100010", "00100020", "00100030",
        "00420011", "00080020", "00080021", "00080022", "00080023", "00080030", "00080031",
        "00080032", "00080033", "00101010", "00101020", "00101030", "00100040", "00080050",
        "00080090", "00200010", "00080080", "FFFAFFFA",
    )
)  # fmt: skip
"""At top level: each file has them with checks of their own, or a file is made for them."""

ROWS_IN_A_FILE = 110
WHOLE = "SharedFunctionalGroupsSequence"
"""Stays under any option; its item takes the nested rows."""


@dataclass(frozen=True)
class Row:
    tag: str
    vr: str
    basic: str
    options: Mapping[str, str]


@cache
def rows() -> tuple[Row, ...]:
    """All rows of exact tags that may stand in a data set, with a VR."""
    with TABLE.open(encoding="utf-8") as file:
        return tuple(
            Row(line["tag"], vr_of(line["tag"]), line["basic"], dict(list(line.items())[5:]))
            for line in csv.DictReader(file)
            if "x" not in line["tag"]
            and line["tag"] != "PRIVATE"
            and not line["tag"].startswith(NOT_IN_A_DATA_SET)
        )


def vr_of(tag: str) -> str:
    entry = DicomDictionary.get(int(tag, 16))
    return str(entry[0]) if entry else NEWER[tag]


def add_table_rows(maker: Maker) -> None:
    top = [row for row in rows() if row.tag not in ELSEWHERE]
    for at in range(0, len(top), ROWS_IN_A_FILE):
        part = top[at : at + ROWS_IN_A_FILE]
        _add(maker, f"table/top-{at:03d}.dcm", "table, top", part, ())
    nested = [row for row in rows() if row.tag not in ("00420011", "FFFAFFFA")]
    for at in range(0, len(nested), ROWS_IN_A_FILE):
        part = nested[at : at + ROWS_IN_A_FILE]
        _add(maker, f"table/nested-{at:03d}.dcm", "table, nested", part, inside(WHOLE, 0))
    newer = [row for row in top if row.tag in NEWER]
    syntax = Written(ImplicitVRLittleEndian)
    _add(maker, "table/newer-implicit.dcm", "table, implicit VR", newer, (), syntax)
    _add_unknown(maker, newer)


def _add(
    maker: Maker,
    name: str,
    category: str,
    part: list[Row],
    before: Path,
    written: Written | None = None,
) -> FileKey:
    person = maker.cast.person()
    data_set = maker.instance(person)
    target = Dataset() if before else data_set
    checks = [check for row in part for check in planted(maker, row, target, category, before)]
    if before:
        data_set.SharedFunctionalGroupsSequence = [target]
    file = maker.add(name, category, data_set, person, Fate.RELEASED, written)
    file.checks += checks
    return file


def _add_unknown(maker: Maker, newer: list[Row]) -> None:
    """The same rows as UN: the writer does not know them either (PS3.5 section 6.2.2)."""
    person = maker.cast.person()
    data_set = maker.instance(person)
    for row in newer:
        content = Dataset()
        token = maker.hidden(maker.cast.word(), "table, UN")
        if row.vr == "SQ":
            content.PatientName = token
            value = b"\xfe\xff\x00\xe0" + _implicit(content)
        else:
            value = token.encode() + b" " * (len(token) % 2)
        data_set.add(DataElement(int(row.tag, 16), "UN", value))
    maker.add("table/newer-un.dcm", "table, UN", data_set, person)


def _implicit(item: Dataset) -> bytes:
    """Length and content of an item with one PN, implicit VR."""
    name = str(item.PatientName).encode()
    name += b" " * (len(name) % 2)
    element = b"\x10\x00\x10\x00" + len(name).to_bytes(4, "little") + name
    return len(element).to_bytes(4, "little") + element


def planted(
    maker: Maker, row: Row, target: Dataset, category: str, before: Path
) -> Iterator[Check]:
    """Put a value into the row's attribute; what has to become of it."""
    tag, cast = int(row.tag, 16), maker.cast
    path: Path = (*before, (tag, "", -1))
    dated = bool(row.options["retain_longitudinal_modified_dates"])
    kept = row.options[PATIENT_CHARACTERISTICS] == "K"
    value: object
    if row.vr in ("DA", "DT"):
        value = cast.date(2005, 2022) + ("101112.5" if row.vr == "DT" else "")
        yield (
            date_check(category, path, str(value))
            if dated
            else Check(category, Action.TEXT_REMOVED, path, str(value)[:8])
        )
    elif row.vr == "TM":
        value = f"{cast.time()}.{cast.digits(5)}"
        if dated:
            yield from time_checks(category, path, value)
        else:
            yield Check(category, Action.TEXT_REMOVED, path, value)
    elif row.vr == "UI":
        value = cast.uid()
    elif row.vr == "SQ":
        value = [_an_item(maker, category)]
    elif row.vr in ("AS", "DS", "IS", "US", "CS"):
        value = _coded_value(maker, row)
        option = frozenset({PATIENT_CHARACTERISTICS}) if kept else frozenset()
        yield Check(category, Action.TEXT_REMOVED, path, str(value), without=option)
        if kept:
            yield Check(category, Action.TEXT_RETAINED, path, str(value), only=option)
    else:
        value = _text(maker, row, category, dated=dated, kept=kept)
    target.add(DataElement(tag, row.vr, value))


def _an_item(maker: Maker, category: str) -> Dataset:
    item = Dataset()
    item.PersonName = maker.hidden(maker.cast.word(), category)
    item.CodeValue = maker.hidden(maker.cast.capitals(8), category)
    item.CodingSchemeDesignator = "99LOCAL"
    item.CodeMeaning = maker.hidden(maker.cast.word(), category)
    item.ReferencedSOPInstanceUID = maker.cast.uid()
    return item


def _coded_value(maker: Maker, row: Row) -> object:
    by_tag = {"001021A0": "YES", "001021C0": 2, "00102203": "ALTERED", "00100040": "F"}
    if row.tag in by_tag:
        return by_tag[row.tag]
    by_vr = {"AS": "047Y", "DS": "73.25", "IS": "7325", "US": 7325}
    if row.vr in by_vr:
        return by_vr[row.vr]
    return maker.cast.capitals(9)


def _text(maker: Maker, row: Row, category: str, *, dated: bool, kept: bool) -> object:
    """A text that must be gone, as long as the VR bears; a time zone of a known place."""
    if row.tag == "00080201":
        return "+0545"
    text = maker.cast.capitals(10) if row.vr in ("AE", "SH") else maker.cast.word()
    if not kept:
        without = DATES if dated else frozenset[str]()
        maker.hidden(text, category)
        maker.key.tokens[-1] = type(maker.key.tokens[-1])(category, text, without)
    if row.vr in ("OB", "UN"):
        return text.encode() + b"\0" * (len(text) % 2)
    return f"https://{text}.example/a" if row.vr == "UR" else text
