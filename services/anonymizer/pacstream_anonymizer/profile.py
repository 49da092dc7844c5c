"""What a project wants: the Basic Profile with the options that are on, and its own rules."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass, fields
from typing import Literal

from pacstream.errors import InputError
from pacstream_anonymizer import attributes, safe_private
from pacstream_anonymizer.actions import (
    CLEAN_DESCRIPTORS,
    CLEAN_PIXEL_DATA,
    DESCRIBING,
    DEVICE_IDENTITY,
    FULL_DATES,
    INSTITUTION_IDENTITY,
    MODIFIED_DATES,
    RETAIN_PATIENT_CHARACTERISTICS,
    RETAIN_UIDS,
    SAFE_PRIVATE,
    Action,
    Decision,
    decide,
    least,
)
from pacstream_anonymizer.dictionary import VR_BY_TAG
from pacstream_anonymizer.iod import Type

OPTIONS = frozenset(
    {
        SAFE_PRIVATE,
        RETAIN_UIDS,
        DEVICE_IDENTITY,
        INSTITUTION_IDENTITY,
        RETAIN_PATIENT_CHARACTERISTICS,
        FULL_DATES,
        MODIFIED_DATES,
        CLEAN_DESCRIPTORS,
        "clean_structured_content",
        "clean_graphics",
        CLEAN_PIXEL_DATA,
    }
)
"""The options of PS3.15 Annex E, named as the columns of the table."""

CONTENT = frozenset({"clean_structured_content", "clean_graphics"})
"""Options that clean values by rules of their own, not by attribute."""


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

    def names(self, tag: int, creator: str, manufacturer: str) -> bool:
        """Whether the rule is for an attribute, private if it has a creator, of such a device."""
        if creator != self.private_creator:
            return False
        if not manufacturer.strip().casefold().startswith(self.manufacturer.casefold()):
            return False
        number = f"{tag:08X}"
        if creator:
            number = f"{number[:4]}XX{number[6:]}"
        return all(want in ("X", got) for want, got in zip(self.tag.upper(), number, strict=True))


Rectangle = tuple[int, int, int, int]
"""Left, top, width and height in pixels; columns and rows count from 0 at the top left."""


@dataclass(frozen=True)
class DeviceRegions:
    """What to black out in images of `rows` and `columns` of a device. An empty model, software or
    modality is any; all of `image_type` have to be among the values of Image Type (0008,0008)."""

    manufacturer: str
    model: str
    software: str
    rows: int
    columns: int
    rectangles: tuple[Rectangle, ...]
    modality: str = ""
    image_type: tuple[str, ...] = ()


@dataclass(frozen=True)
class Profile:
    """The Basic Profile with the options that are on, and what a project wants beyond them.

    `modalities` and `sop_classes` are admitted; none: all. An empty `key_id` is the project's
    newest key. `second_look`: hold back what has text in its pixels. `keep_ultrasound_regions`:
    black out ultrasound images but for the regions that they name. Raises InputError for options
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
    keep_ultrasound_regions: bool = False

    def __post_init__(self) -> None:
        unknown = self.options - OPTIONS
        if unknown:
            raise InputError(f"no such option: {', '.join(sorted(unknown))}")
        if {FULL_DATES, MODIFIED_DATES} <= self.options:
            raise InputError(f"{FULL_DATES} and {MODIFIED_DATES} exclude one another")
        if self.mode == "allow_list" and self.options & CONTENT:
            raise InputError("an allow-list says nothing of what is in reports and annotations")

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

    @functools.cached_property
    def asks_manufacturer(self) -> bool:
        """Whether a decision may depend on who made the device."""
        return any(rule.manufacturer for rule in self.rules)

    def decide(
        self, tag: int, creator: str = "", manufacturer: str = "", kind: Type = Type.OPTIONAL
    ) -> Decision:
        """The decision on an attribute: the last rule that names it, else table and lists.

        A private attribute has a `creator`; without one nothing says what it is. `kind` is the
        attribute's type where it is.
        """
        if tag in attributes.UNTOUCHABLE or tag & 0xFFFF == 0 or tag >> 16 < 0x0008:
            return decide(tag, self.options)
        own = self.own(tag, creator, manufacturer)
        if own is not None:
            return own
        if tag >> 16 & 1:
            return _private(tag, creator, self.options)
        decision = decide(tag, self.options, kind)
        if self.mode == "allow_list" and not _is_needed(tag, decision):
            return Decision(least(kind), "allow_list")
        return decision

    def own(self, tag: int, creator: str = "", manufacturer: str = "") -> Decision | None:
        """What a rule of the project says of an attribute, if one does."""
        for number, rule in reversed(list(enumerate(self.rules, 1))):
            if rule.names(tag, creator, manufacturer):
                return _decision_of(rule, number, tag)
        return None

    def action(self, tag: int) -> Action:
        """What is done with a standard attribute of any device."""
        return self.decide(tag).action


def _decision_of(rule: Rule, number: int, tag: int) -> Decision:
    vr = VR_BY_TAG.get(tag, "")
    action = {
        "keep": Action.KEEP,
        "remove": Action.REMOVE,
        "empty": Action.EMPTY,
        "replace": Action.REPLACE,
        "clean": Action.WORDS if vr in DESCRIBING else Action.CLEAN,
    }[rule.action]
    return Decision(action, f"profile:{number}", Action.REMOVE, rule.value)


def _private(tag: int, creator: str, options: frozenset[str]) -> Decision:
    key = (tag >> 16, creator, tag & 0xFF)
    if SAFE_PRIVATE in options and key in safe_private.rows():
        text = safe_private.rows()[key] in DESCRIBING
        rule = f"E3.10.1:{tag >> 16:04X}xx{tag & 0xFF:02X}"
        return Decision(Action.WORDS if text else Action.CLEAN, rule)
    return Decision(Action.REMOVE, "private")


def _is_needed(tag: int, decision: Decision) -> bool:
    """Without these an instance is none, or no image; what is emptied tells nothing."""
    return (
        tag in attributes.CORE
        or tag >> 16 == attributes.IMAGE_GROUP
        or decision.action in (Action.EMPTY, Action.PSEUDONYM, Action.CODE)
    )


DEFAULT = Profile(
    frozenset({SAFE_PRIVATE, RETAIN_PATIENT_CHARACTERISTICS, MODIFIED_DATES, CLEAN_DESCRIPTORS}),
    name="research",
)
