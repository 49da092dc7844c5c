"""PS3.15 Table E.1-1 as data: `tables/e1_1_basic_profile_2026d.csv`."""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType

EDITION = "2026d"


@dataclass(frozen=True)
class Row:
    """What the Basic Profile says of one attribute (`X`, `Z/D`, `X/Z/U*` ...), and the options that
    say something else, by the table's column name (`K` or `C`)."""

    basic: str
    options: Mapping[str, str]


@functools.cache
def rows() -> Mapping[int, Row]:
    """The table's rows by tag. Its repeating groups and private attributes have no row here: the
    profile removes those groups whole."""
    text = resources.files(__package__).joinpath(f"tables/e1_1_basic_profile_{EDITION}.csv")
    found: dict[int, Row] = {}
    with text.open(encoding="utf-8") as file:
        for line in csv.DictReader(file):
            if "x" in line["tag"] or line["tag"] == "PRIVATE":
                continue
            options = {
                name: value
                for name, value in line.items()
                if name not in ("tag", "name", "retired", "in_std_iod", "basic") and value
            }
            found[int(line["tag"], 16)] = Row(line["basic"], MappingProxyType(options))
    return MappingProxyType(found)
