"""What is done with an attribute: Table E.1-1 with its options first, then reviewed lists, then the
VR; X, Z or D by the attribute's type in the IOD. Decided by tag, never by keyword; what nothing
decides is removed."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from pacstream_anonymizer import attributes, table
from pacstream_anonymizer.dictionary import BULK_VRS, FREE_TEXT_VRS, VR_BY_TAG
from pacstream_anonymizer.iod import Type

SAFE_PRIVATE = "retain_safe_private"
RETAIN_UIDS = "retain_uids"
DEVICE_IDENTITY = "retain_device_identity"
INSTITUTION_IDENTITY = "retain_institution_identity"
RETAIN_PATIENT_CHARACTERISTICS = "retain_patient_characteristics"
FULL_DATES = "retain_longitudinal_full_dates"
MODIFIED_DATES = "retain_longitudinal_modified_dates"
CLEAN_DESCRIPTORS = "clean_descriptors"
CLEAN_PIXEL_DATA = "clean_pixel_data"

DATES = frozenset({"DA", "DT", "TM"})
ANY_OF = ["X", "Z", "D"]
DESCRIBING = frozenset({"LO", "LT", "SH", "ST", "UC", "UT"})
"""VRs of texts that may describe; PN, AE and UR always point at somebody or something."""


class Action(Enum):
    REMOVE = auto()
    EMPTY = auto()
    DUMMY = auto()
    PSEUDONYM = auto()
    CODE = auto()
    TEXT = auto()
    """Decode, check and rewrite."""
    WORDS = auto()
    """Known words only."""
    CLEAN = auto()
    """What the VR asks for: map UIDs, shift dates, check numbers and codes, descend into items."""
    KEEP = auto()
    """As it is, in UTF-8; of a sequence the items are cleaned."""
    REPLACE = auto()
    """The decision's `value` instead."""


class Decision(NamedTuple):
    """`rule` is what the audit calls it; `otherwise` is for a value of which nothing may stay, or
    that is none."""

    action: Action
    rule: str
    otherwise: Action = Action.REMOVE
    value: str = ""


def decide(tag: int, options: frozenset[str], kind: Type = Type.OPTIONAL) -> Decision:
    """The decision on a standard attribute, by the dictionary's VR. `kind` is its type where it
    is."""
    vr = VR_BY_TAG.get(tag, "")
    never = _never_released(tag, vr)
    if never:
        return Decision(Action.REMOVE, never)
    if tag in (attributes.PATIENT_NAME, attributes.PATIENT_ID):
        return Decision(Action.PSEUDONYM, f"E1.1:{tag:08X}")
    if tag == attributes.METHOD_CODES:
        return Decision(Action.CLEAN, "list:markers")
    if tag in attributes.CODE_TAGS:
        return Decision(Action.CODE, "list:codes")
    row = table.rows().get(tag)
    if row is None:
        return _unlisted(tag, vr, options, kind)
    return _listed(tag, vr, row, options, kind)


def _never_released(tag: int, vr: str) -> str:
    """The rule by which no option ever lets the attribute through; empty if there is none."""
    group = tag >> 16
    if group % 2 == 1:
        return "private"
    if group < 0x0008 or tag & 0xFFFF == 0:
        return "list:not_of_a_data_set"
    if group & 0xFF00 in (0x5000, 0x6000, 0xFF00):
        return "list:repeating_groups"
    if not vr:
        return f"E1.1:{tag:08X}" if tag in table.rows() else "unknown"
    if tag == attributes.CHARACTER_SET or tag in attributes.MARKER_TAGS:
        return "list:markers"
    return "list:never" if tag in attributes.NEVER else ""


def _listed(tag: int, vr: str, row: table.Row, options: frozenset[str], kind: Type) -> Decision:
    rule = f"E1.1:{tag:08X}"
    basic = _basic(vr, row.basic.split("/"), kind)
    for option in sorted(options & row.options.keys()):
        action = _optional(option, tag, vr, row.options[option])
        if action is not None:
            return Decision(action, f"{rule}:{option}", _odd(kind) if vr in DATES else basic)
    return Decision(basic, rule)


def _basic(vr: str, choices: list[str], kind: Type) -> Action:
    """What the table says without options. A UID's dummy is another UID; a sequence's is made only
    where an IOD wants one."""
    if "U" in choices or "U*" in choices or (vr == "UI" and "D" in choices):
        return Action.CLEAN
    if vr == "SQ" and choices == ["D"]:
        choices = ANY_OF
    return _required(choices, kind)


def _optional(option: str, tag: int, vr: str, code: str) -> Action | None:
    """What an option wants of a row that it names with `code`; None: no more than the profile."""
    if option in (FULL_DATES, MODIFIED_DATES):
        if tag == attributes.TIMEZONE_OFFSET:
            return Action.TEXT
        return Action.CLEAN if vr in DATES or vr == "SQ" else None
    if vr in DATES:
        return None
    if vr == "SQ":
        return Action.CLEAN
    if option == RETAIN_UIDS:
        return Action.KEEP
    if option in (DEVICE_IDENTITY, INSTITUTION_IDENTITY):
        return Action.KEEP if code == "K" else None
    if option == RETAIN_PATIENT_CHARACTERISTICS and vr not in FREE_TEXT_VRS:
        return Action.CLEAN
    if option in (RETAIN_PATIENT_CHARACTERISTICS, CLEAN_DESCRIPTORS):
        return Action.WORDS if vr in DESCRIBING else None
    return None


def _required(choices: list[str], kind: Type) -> Action:
    """X, Z or D by what the IOD wants of the attribute (PS3.15 section E.1.1). Where it can't be
    without one, a dummy also stands for a value that the table wants empty."""
    if choices == ["X"]:
        return Action.REMOVE
    if kind is Type.VALUE or choices == ["D"]:
        return Action.DUMMY
    if kind is Type.PRESENT or "X" not in choices:
        return Action.EMPTY
    return Action.REMOVE


def least(kind: Type) -> Action:
    """The least that the IOD puts up with."""
    return _required(ANY_OF, kind)


def _odd(kind: Type) -> Action:
    """For a date that is none."""
    return Action.DUMMY if kind is Type.VALUE else Action.EMPTY


def _unlisted(tag: int, vr: str, options: frozenset[str], kind: Type) -> Decision:
    rule = f"vr:{vr[:2]}"
    if tag >> 16 in attributes.REMOVED_GROUPS and not _is_spared(tag, options):
        return Decision(least(kind), f"list:group_{tag >> 16:04X}")
    if tag in attributes.TECHNICAL_TEXT:
        return Decision(Action.TEXT, "list:technical_text", least(kind))
    if tag in attributes.TERMS:
        return Decision(Action.WORDS, "list:terms", least(kind))
    if vr in FREE_TEXT_VRS:
        if CLEAN_DESCRIPTORS in options and vr in DESCRIBING:
            return Decision(Action.WORDS, f"{rule}:{CLEAN_DESCRIPTORS}", least(kind))
        return Decision(least(kind), rule)
    if vr in DATES:
        if options & {FULL_DATES, MODIFIED_DATES}:
            return Decision(Action.CLEAN, rule, _odd(kind))
        return Decision(least(kind), rule)
    if vr == "UI" and RETAIN_UIDS in options:
        return Decision(Action.KEEP, f"{rule}:{RETAIN_UIDS}")
    if vr[:2] in BULK_VRS or vr == "UN" or " or OW" in vr:
        numbers = tag in attributes.NUMERIC_BULK
        return Decision(Action.CLEAN if numbers else Action.REMOVE, "list:numeric_bulk")
    return Decision(Action.CLEAN, rule)


def _is_spared(tag: int, options: frozenset[str]) -> bool:
    """Whether an attribute stays although it is of one of the REMOVED_GROUPS."""
    if tag in attributes.SPARED_CHARACTERISTICS:
        return RETAIN_PATIENT_CHARACTERISTICS in options
    return tag in attributes.SPARED
