"""Attribute types (PS3.5 section 7.4) by SOP class: `tables/iod_*.csv`, from PS3.3.

An attribute has its type in a sequence, whatever that is part of: macros are the same everywhere.
Of two types the stricter one counts, and a condition counts as met: the original has the attribute.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from importlib import resources
from types import MappingProxyType

CLASSES_FILE, TYPES_FILE = "iod_modules.csv", "iod_attribute_types.csv"


class Type(IntEnum):
    """What an IOD wants of an attribute."""

    VALUE = 1
    """There, with a value (1, 1C)."""
    PRESENT = 2
    """There, empty or not (2, 2C)."""
    OPTIONAL = 3
    """Nothing: of type 3, or no attribute of the IOD."""


@dataclass(frozen=True, eq=False)
class Iod:
    """The types of attributes by the sequence that they are in (0: top level) and their tag. Only
    attributes on which the profile's actions depend are in it."""

    types: Mapping[tuple[int, int], Type]

    def type_of(self, path: tuple[int, ...], tag: int) -> Type:
        """The type of an attribute; `path` are the tags of the sequences above it."""
        return self.types.get((path[-1] if path else 0, tag), Type.OPTIONAL)


@functools.lru_cache(maxsize=256)
def iod_of(sop_class_uid: str) -> Iod:
    """The IOD of a SOP class; of one that the tables do not have, the strictest of all."""
    modules = _modules().get(sop_class_uid)
    return _any() if modules is None else Iod(MappingProxyType(_strictest(modules)))


@functools.cache
def _any() -> Iod:
    return Iod(MappingProxyType(_strictest(None)))


def _strictest(modules: frozenset[str] | None) -> dict[tuple[int, int], Type]:
    """Of these modules, or of all."""
    found: dict[tuple[int, int], Type] = {}
    for place, kind, having in _types():
        if modules is None or not modules.isdisjoint(having):
            found[place] = min(kind, found.get(place, kind))
    return found


@functools.cache
def _modules() -> Mapping[str, frozenset[str]]:
    """The modules of each SOP class."""
    rows = _rows(CLASSES_FILE)
    return MappingProxyType(
        {row["sop_class_uid"]: frozenset(row["modules"].split()) for row in rows}
    )


@functools.cache
def _types() -> tuple[tuple[tuple[int, int], Type, frozenset[str]], ...]:
    """Sequence and tag, type, and the modules that have the attribute so."""
    return tuple(
        (
            (int(row["parent"], 16), int(row["tag"], 16)),
            Type(int(row["type"])),
            frozenset(row["modules"].split()),
        )
        for row in _rows(TYPES_FILE)
    )


def _rows(name: str) -> Iterator[dict[str, str]]:
    with resources.files(__package__).joinpath(f"tables/{name}").open(encoding="utf-8") as file:
        yield from csv.DictReader(file)
