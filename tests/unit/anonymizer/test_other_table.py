"""Table E.1-1 as we have it, and what the engine makes of it, row by row beside the newest table of
dicom-anonymizer: a change in either shows, and each difference has its reason."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Any

import pytest

from pacstream.pseudonyms import ProjectKey
from pacstream_anonymizer import table, values
from pacstream_anonymizer.actions import Action, decide
from pacstream_anonymizer.dictionary import VR_BY_TAG
from pacstream_anonymizer.iod import Type
from pacstream_anonymizer.values import Patient

DATABASES = "dicomanonymizer.dicom_anonymization_databases"
CHOICES = {
    "D_TAGS": "D",
    "Z_TAGS": "Z",
    "X_TAGS": "X",
    "U_TAGS": "U",
    "Z_D_TAGS": "Z/D",
    "X_Z_TAGS": "X/Z",
    "X_D_TAGS": "X/D",
    "X_Z_D_TAGS": "X/Z/D",
    "X_Z_U_STAR_TAGS": "X/Z/U*",
}

REPEATING = {
    (0x5000, 0x0000, 0xFF00, 0x0000): "X",  # curves: group and mask, number and mask
    (0x6000, 0x4000, 0xFF00, 0xFFFF): "X",  # overlay comments
    (0x6000, 0x3000, 0xFF00, 0xFFFF): "X",  # overlay data
}

ROWS_OF_ONE = {
    0x3004007F: "Dose Calculation Model Name came with 2026d; theirs is of 2026c",
}
"""Rows that only one of the two has."""

OTHERWISE = {
    0x00001001: "command set: no part of a data set, removed",
    0x00020003: "file meta is written anew; in a data set there is none, removed",
    0x00041511: "a DICOMDIR is never released; in a data set there is none, removed",
    0x00100010: "Z or D as the pseudonym, so that a patient's files stay together",
    0x00100020: "Z or D as the pseudonym, so that a patient's files stay together",
    0x00340001: "D of a sequence only where the IOD wants one, empty or removed elsewhere",
    0x00401101: "D of a sequence only where the IOD wants one, empty or removed elsewhere",
    0x0040A073: "D of a sequence only where the IOD wants one, empty or removed elsewhere",
    0x0040A730: "D of a sequence only where the IOD wants one, empty or removed elsewhere",
    0x00700001: "D of a sequence only where the IOD wants one, empty or removed elsewhere",
    0x006A0003: "D of a UID is another UID, so that references to it stay whole",
    0x00340002: "bytes have no dummy: removed",
    0x00340005: "bytes have no dummy: removed",
    0x00340007: "bytes have no dummy: removed",
    0x00420011: "bytes have no dummy: removed; a document is withheld before",
    0x00720065: "bytes have no dummy: removed",
    0x04000115: "bytes have no dummy: removed",
    0x0072006D: "a value of unknown VR has no dummy: removed",
    0x00720071: "a URL points somewhere, and no dummy can: removed",
}
"""Where the engine, without options, does not do what their row says."""


@cache
def theirs() -> dict[tuple[int, ...], str]:
    package = importlib.import_module(DATABASES)
    newest = max(
        module.name
        for module in pkgutil.iter_modules(package.__path__)
        if module.name.startswith("dicomfields_")
    )
    database: Any = importlib.import_module(f"{DATABASES}.{newest}")
    assert set(CHOICES) == {name for name in dir(database) if name.endswith("_TAGS")} - {"ALL_TAGS"}
    return {tag: choice for name, choice in CHOICES.items() for tag in getattr(database, name)}


def their_rows() -> dict[int, str]:
    return {tag[0] << 16 | tag[1]: said for tag, said in theirs().items() if len(tag) == 2}


def test_each_row_says_what_theirs_says() -> None:
    ours = {tag: row.basic for tag, row in table.rows().items()}
    other = their_rows()
    assert ours.keys() ^ other.keys() == ROWS_OF_ONE.keys()
    assert {tag for tag in ours.keys() & other.keys() if ours[tag] != other[tag]} == set()
    assert len(ours.keys() & other.keys()) == 652


def test_the_groups_that_they_list_are_removed_whole() -> None:
    repeating = {tag: said for tag, said in theirs().items() if len(tag) == 4}
    assert repeating == REPEATING
    for group, number, _, _ in repeating:
        assert decide(group << 16 | number, frozenset(), Type.VALUE).action is Action.REMOVE


@pytest.mark.parametrize("kind", Type)
def test_the_engine_does_what_their_row_says(kind: Type) -> None:
    otherwise = {
        tag for tag, said in their_rows().items() if done(tag, kind) is not wanted(said, kind)
    }
    assert otherwise <= OTHERWISE.keys()


def test_each_listed_difference_is_one() -> None:
    for tag in OTHERWISE:
        said = their_rows()[tag]
        assert any(done(tag, kind) is not wanted(said, kind) for kind in Type), f"{tag:08X}"


def done(tag: int, kind: Type) -> Action:
    """What the engine does; a dummy that there is none of is a removal."""
    action = decide(tag, frozenset(), kind).action
    vr = VR_BY_TAG[tag]
    patient = Patient(ProjectKey(bytes(32)), "P1", 0)
    if action is Action.DUMMY and vr != "SQ" and values.dummy(tag, vr, b"", patient) is None:
        return Action.REMOVE
    return action


def wanted(said: str, kind: Type) -> Action:
    """PS3.15 section E.1.1: of several actions that which the IOD can put up with, for a type; an
    attribute that needs a value is not left empty."""
    choices = said.split("/")
    if "U" in choices or "U*" in choices:
        return Action.CLEAN
    if len(choices) == 1 and said != "Z":
        return {"X": Action.REMOVE, "D": Action.DUMMY}[said]
    by_type = {
        Type.VALUE: Action.DUMMY,
        Type.PRESENT: Action.EMPTY,
        Type.OPTIONAL: Action.REMOVE if "X" in choices else Action.EMPTY,
    }
    return by_type[kind]
