"""What the BIDS specification says of files of imaging data, from its machine-readable schema."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from bidsschematools.schema import load_schema

VERSION = "1.11.1"
"""Of the specification; what is taken from the schema is the same in this and later ones."""

DATATYPES = ("anat", "dwi", "fmap", "func", "perf", "pet")
"""The folders for data that a conversion gives."""


@functools.cache
def entity_order() -> tuple[str, ...]:
    """The short names of all entities (`sub`, `ses`, `task` ...), as they follow in a file name."""
    schema = load_schema()
    return tuple(str(schema.objects.entities[one].name) for one in schema.rules.entities)


@functools.cache
def entities_of(folder: str, suffix: str) -> Mapping[str, bool]:
    """The entities that an image of this kind may have; True: it must. Empty for a kind that the
    specification does not know."""
    schema = load_schema()
    found: dict[str, bool] = {}
    for rule in schema.rules.files.raw[folder].values() if folder in DATATYPES else ():
        if suffix in rule.get("suffixes", ()) and ".nii.gz" in rule.extensions:
            for name, level in rule.entities.items():
                found[str(schema.objects.entities[name].name)] = level == "required"
    return found


@functools.cache
def suffixes_of(folder: str) -> tuple[str, ...]:
    schema = load_schema()
    return tuple(
        sorted(
            {
                str(suffix)
                for rule in schema.rules.files.raw[folder].values()
                for suffix in rule.get("suffixes", ())
                if ".nii.gz" in rule.extensions
            }
        )
    )
