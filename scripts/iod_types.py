"""Writes the tables of attribute types by IOD, from a downloaded highdicom wheel:

    pip download --no-deps highdicom==0.28.2
    python scripts/iod_types.py highdicom-0.28.2-py3-none-any.whl

Only facts are taken (PS3.3: which attribute of which module has which type), and of them only those
that a decision of the engine depends on.
"""

from __future__ import annotations

import csv
import json
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydicom.datadict import tag_for_keyword

from pacstream_anonymizer import attributes, table
from pacstream_anonymizer.actions import DATES
from pacstream_anonymizer.dictionary import FREE_TEXT_VRS, VR_BY_TAG
from pacstream_anonymizer.iod import CLASSES_FILE, TYPES_FILE

SOURCE = "highdicom/_standard"
TABLES = Path(table.__file__).parent / "tables"
DUMMIED = frozenset(
    tag
    for tag, row in table.rows().items()
    if VR_BY_TAG.get(tag) == "SQ" and "D" in row.basic.split("/")
)
"""Sequences of which a dummy item may have to be made."""

CODED = attributes.CODE_TAGS | frozenset(
    {
        0x00080105,  # Mapping Resource
        0x00080106,  # Context Group Version, Local Version
        0x00080107,
        0x0008010D,  # Context Group Extension Creator UID
        0x00080120,  # URN Code Value
    }
)
"""What a code has beside its value: the engine writes codes whole."""


def main() -> int:
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        classes, iods, modules = (
            json.loads(wheel.read(f"{SOURCE}/{name}.json"))
            for name in ("sop_class_iod_map", "iod_module_map", "module_attribute_map")
        )
    types = types_of(modules)
    used = {module for found in types.values() for module in found}
    rows = [
        (uid, iod, " ".join(sorted({one["key"] for one in iods[iod]} & used)))
        for uid, iod in sorted(classes.items())
        if all(one["key"] in modules for one in iods[iod])
    ]
    _write(CLASSES_FILE, ("sop_class_uid", "iod", "modules"), rows)
    _write(
        TYPES_FILE,
        ("parent", "tag", "type", "modules"),
        (
            (f"{parent:08X}", f"{tag:08X}", kind, " ".join(sorted(found)))
            for (parent, tag, kind), found in sorted(types.items())
        ),
    )
    return 0


def types_of(modules: Mapping[str, Any]) -> dict[tuple[int, int, str], set[str]]:
    """The modules by sequence (0: none), attribute and type, `1` or `2`."""
    found: dict[tuple[int, int, str], set[str]] = defaultdict(set)
    for module, rows in modules.items():
        for row in rows:
            tag = tag_for_keyword(row["keyword"])
            path = [tag_for_keyword(keyword) for keyword in row["path"]]
            kind = (row["type"] or "3")[0]
            if tag is not None and kind in "12" and _counts(tag, path):
                found[path[-1] or 0 if path else 0, tag, kind].add(module)
    return found


def _counts(tag: int, path: list[int | None]) -> bool:
    """Whether the engine asks for the type of an attribute."""
    if tag in CODED:
        return False
    if DUMMIED & set(path):
        return True
    vr, row = VR_BY_TAG.get(tag, ""), table.rows().get(tag)
    if row is None:
        return vr in FREE_TEXT_VRS | DATES
    choices = row.basic.split("/")
    return "Z" in choices or row.basic == "X/D" or tag in DUMMIED


def _write(name: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    with (TABLES / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)


if __name__ == "__main__":
    sys.exit(main())
