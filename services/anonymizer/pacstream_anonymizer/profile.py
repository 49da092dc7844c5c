"""What is done with an attribute: Table E.1-1 with its options first, then reviewed lists, then the
VR. Decided by tag, never by keyword; what nothing decides is removed."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass, fields
from enum import Enum, auto
from typing import Literal

from pacstream.errors import InputError
from pacstream_anonymizer import attributes, table
from pacstream_anonymizer.dictionary import BULK_VRS, FREE_TEXT_VRS, VR_BY_TAG

RETAIN_PATIENT_CHARACTERISTICS = "retain_patient_characteristics"
MODIFIED_DATES = "retain_longitudinal_modified_dates"
FULL_DATES = "retain_longitudinal_full_dates"
SAFE_PRIVATE = "retain_safe_private"

OPTIONS = frozenset(
    {
        SAFE_PRIVATE,
        "retain_uids",
        "retain_device_identity",
        "retain_institution_identity",
        RETAIN_PATIENT_CHARACTERISTICS,
        FULL_DATES,
        MODIFIED_DATES,
        "clean_descriptors",
        "clean_structured_content",
        "clean_graphics",
        "clean_pixel_data",
    }
)
"""The options of PS3.15 Annex E, named as the columns of the table."""


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
class Rule:
    """What a project wants of one attribute, before the table and the options.

    `tag` is eight hexadecimal digits, `x` stands for any; of a private one (`private_creator` is
    not empty) the two after the group are `xx`. With `manufacturer`, the rule holds for devices of
    which the manufacturer begins so, whatever its capitals.
    """

    tag: str
    action: Literal["keep", "remove", "empty", "replace", "clean"]
    reason: str
    private_creator: str = ""
    value: str = ""
    manufacturer: str = ""


@dataclass(frozen=True)
class DeviceRegions:
    """What to black out in images of `rows` and `columns` of a device: left, top, width and height
    in pixels. An empty model or software is any."""

    manufacturer: str
    model: str
    software: str
    rows: int
    columns: int
    rectangles: tuple[tuple[int, int, int, int], ...]


@dataclass(frozen=True)
class Profile:
    """The Basic Profile with the options that are on, and what a project wants beyond them.

    `modalities` and `sop_classes` are admitted; none: all. An empty `key_id` is the project's
    newest key. `second_look`: hold back what has text in its pixels. Raises InputError for options
    that are unknown or exclude one another.
    """

    options: frozenset[str]
    name: str = "unnamed"
    mode: Literal["profile", "allow_list"] = "profile"
    rules: tuple[Rule, ...] = ()
    vocabulary: frozenset[str] = frozenset()
    regions: tuple[DeviceRegions, ...] = ()
    modalities: frozenset[str] = frozenset()
    sop_classes: frozenset[str] = frozenset()
    key_id: str = ""
    second_look: bool = False

    def __post_init__(self) -> None:
        unknown = self.options - OPTIONS
        if unknown:
            raise InputError(f"no such option: {', '.join(sorted(unknown))}")
        if {FULL_DATES, MODIFIED_DATES} <= self.options:
            raise InputError(f"{FULL_DATES} and {MODIFIED_DATES} exclude one another")

    @functools.cached_property
    def digest(self) -> str:
        """64 hexadecimal digits, the same for the same content. What is as by default does not
        count, so that a new field leaves the digests of the profiles that do without it."""
        content = {
            field.name: sorted(value) if isinstance(value, frozenset) else value
            for field in fields(self)
            if (value := getattr(self, field.name)) != field.default
        }
        text = json.dumps(content, default=vars, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

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
