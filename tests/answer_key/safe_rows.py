"""Each row of Table E.3.10-1 whose VR says all of its value: of use with Retain Safe Private."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path as FilePath

from pydicom import Dataset
from pydicom.dataelem import DataElement
from pydicom.uid import ImplicitVRLittleEndian

from tests.answer_key.key import SAFE_PRIVATE, Action, Check
from tests.answer_key.maker import Maker, Written
from tests.answer_key.naming import private_path

TABLE = (
    FilePath(__file__).parents[2]
    / "services/anonymizer/pacstream_anonymizer/tables/e3_10_1_safe_private.csv"
)
CATEGORY = "private, safe"
OPTION = frozenset({SAFE_PRIVATE})

VALUES: dict[str, object] = {
    "CS": "NORMAL", "SH": "1.375:1", "LO": "epi2", "IS": "7", "DS": "1.5", "FL": 2.5, "FD": 2.5,
    "SL": -70_001, "SS": -701, "UL": 70_001, "US": 701,
}  # fmt: skip
"""By VR. Bytes and sequences hold anything, so that dropping them is right; UIDs are made."""


@dataclass(frozen=True)
class SafeRow:
    group: int
    low: int
    creator: str
    vr: str
    count: int


@cache
def safe_rows() -> tuple[SafeRow, ...]:
    with TABLE.open(encoding="utf-8") as file:
        return tuple(
            SafeRow(
                int(line["group"], 16),
                int(line["element"].removeprefix("xx"), 16),
                line["private_creator"],
                line["vr"],
                int(line["vm"].partition("-")[0]),
            )
            for line in csv.DictReader(file)
            if line["vr"] in (*VALUES, "UI")
        )


@cache
def safe_vrs() -> Mapping[tuple[int, str, int], str]:
    """VRs by group, creator and low byte."""
    return {(row.group, row.creator, row.low): row.vr for row in safe_rows()}


def add_safe_rows(maker: Maker) -> None:
    for title, written in (("explicit", Written()), ("implicit", Written(ImplicitVRLittleEndian))):
        person = maker.cast.person()
        data_set = maker.instance(person)
        checks = list(_planted(maker, data_set))
        name = f"private/safe-{title}.dcm"
        maker.add(name, CATEGORY, data_set, person, written=written).checks += checks


def _planted(maker: Maker, data_set: Dataset) -> Iterator[Check]:
    blocks: dict[int, list[str]] = defaultdict(list)
    for row in safe_rows():
        creators = blocks[row.group]
        if row.creator not in creators:
            creators.append(row.creator)
            data_set.add(DataElement((row.group << 16) + _block(creators, row), "LO", row.creator))
        tag = (row.group << 16) + (_block(creators, row) << 8) + row.low
        path = private_path(row.group, row.creator, row.low)
        if row.vr == "UI":
            data_set.add(DataElement(tag, "UI", maker.cast.uid()))
            yield Check(CATEGORY, Action.TEXT_NOTNULL, path, only=OPTION)
            continue
        value = VALUES[row.vr]
        data_set.add(DataElement(tag, row.vr, value if row.count == 1 else [value] * row.count))
        text = "\\".join([str(value)] * row.count)
        yield Check(CATEGORY, Action.TEXT_RETAINED, path, text, only=OPTION)
        yield Check(CATEGORY, Action.TEXT_REMOVED, path, text, without=OPTION)


def _block(creators: list[str], row: SafeRow) -> int:
    """Not where the vendor would put it: a file may be re-blocked (PS3.5 section 7.8.1)."""
    return 0x13 + creators.index(row.creator)
