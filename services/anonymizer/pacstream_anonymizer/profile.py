"""What is done with an attribute: Table E.1-1 with its options first, then reviewed lists, then the
VR. Decided by tag, never by keyword; what nothing decides is removed."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from enum import Enum, auto

from pacstream_anonymizer import attributes, table
from pacstream_anonymizer.dictionary import BULK_VRS, FREE_TEXT_VRS, VR_BY_TAG

RETAIN_PATIENT_CHARACTERISTICS = "retain_patient_characteristics"
MODIFIED_DATES = "retain_longitudinal_modified_dates"


class Action(Enum):
    REMOVE = auto()
    EMPTY = auto()
    DUMMY = auto()
    PSEUDONYM = auto()
    CODE = auto()
    TEXT = auto()
    """Decode, check and rewrite."""
    CLEAN = auto()
    """What the VR asks for: map UIDs, shift dates, check numbers and codes, descend into items."""


@dataclass(frozen=True)
class Profile:
    """The Basic Profile with the options that are on, named as the table's columns are."""

    options: frozenset[str]

    def action(self, tag: int) -> Action:
        """The action for `tag`, by the dictionary's VR."""
        return _action(tag, self.options)


DEFAULT = Profile(frozenset({RETAIN_PATIENT_CHARACTERISTICS, MODIFIED_DATES}))


@functools.cache
def _action(tag: int, options: frozenset[str]) -> Action:
    vr = VR_BY_TAG.get(tag, "")
    if _is_never_released(tag, vr):
        return Action.REMOVE
    if tag in (attributes.PATIENT_NAME, attributes.PATIENT_ID):
        return Action.PSEUDONYM
    if tag == attributes.METHOD_CODES:
        return Action.CLEAN
    if tag in attributes.CODE_TAGS:
        return Action.CODE
    row = table.rows().get(tag)
    return _unlisted(tag, vr) if row is None else _listed(tag, vr, row, options)


def _is_never_released(tag: int, vr: str) -> bool:
    group = tag >> 16
    return (
        group % 2 == 1
        or group < 0x0008
        or group & 0xFF00 in (0x5000, 0x6000, 0xFF00)
        or tag & 0xFFFF == 0
        or not vr
        or tag == attributes.CHARACTER_SET
        or tag in attributes.NEVER
        or tag in attributes.MARKER_TAGS
    )


def _listed(tag: int, vr: str, row: table.Row, options: frozenset[str]) -> Action:
    if (
        RETAIN_PATIENT_CHARACTERISTICS in options
        and row.options.get(RETAIN_PATIENT_CHARACTERISTICS) == "K"
        and vr not in FREE_TEXT_VRS
    ):
        return Action.CLEAN
    if MODIFIED_DATES in options and MODIFIED_DATES in row.options:
        if vr in ("DA", "DT", "TM"):
            return Action.CLEAN
        if tag == attributes.TIMEZONE_OFFSET:
            return Action.TEXT
    choices = row.basic.split("/")
    if "U" in choices or "U*" in choices:
        return Action.CLEAN
    return _required(tag, choices)


def _required(tag: int, choices: list[str]) -> Action:
    """X, Z or D by what the IODs want of the attribute (PS3.15 section E.1.1)."""
    if tag in attributes.TYPE_1 and "D" in choices:
        return Action.DUMMY
    if tag in attributes.TYPE_2 and "Z" in choices:
        return Action.EMPTY
    if "X" in choices:
        return Action.REMOVE
    return Action.EMPTY if "Z" in choices else Action.DUMMY


def _unlisted(tag: int, vr: str) -> Action:
    if tag >> 16 in attributes.REMOVED_GROUPS:
        return Action.REMOVE
    if tag in attributes.TECHNICAL_TEXT:
        return Action.TEXT
    if vr in FREE_TEXT_VRS:
        return _required(tag, ["X", "Z", "D"])
    if vr[:2] in BULK_VRS or vr == "UN" or " or OW" in vr:
        return Action.CLEAN if tag in attributes.NUMERIC_BULK else Action.REMOVE
    return Action.CLEAN
