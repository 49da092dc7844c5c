"""How a released data set says what was done to it (PS3.15 section E.1.1, PS3.16 CID 7050)."""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

from pacstream import __version__
from pacstream_anonymizer import attributes, text
from pacstream_anonymizer.actions import (
    CLEAN_DESCRIPTORS,
    CLEAN_PIXEL_DATA,
    DEVICE_IDENTITY,
    FULL_DATES,
    INSTITUTION_IDENTITY,
    MODIFIED_DATES,
    RETAIN_PATIENT_CHARACTERISTICS,
    RETAIN_UIDS,
    SAFE_PRIVATE,
)
from pacstream_anonymizer.parser import Element
from pacstream_anonymizer.profile import Profile
from pacstream_anonymizer.table import EDITION

BASIC = ("113100", "Basic Application Confidentiality Profile")
OPTION_CODES = {
    CLEAN_DESCRIPTORS: ("113105", "Clean Descriptors Option"),
    FULL_DATES: ("113106", "Retain Longitudinal Temporal Information Full Dates Option"),
    MODIFIED_DATES: (
        "113107",
        "Retain Longitudinal Temporal Information Modified Dates Option",
    ),
    RETAIN_PATIENT_CHARACTERISTICS: ("113108", "Retain Patient Characteristics Option"),
    DEVICE_IDENTITY: ("113109", "Retain Device Identity Option"),
    RETAIN_UIDS: ("113110", "Retain UIDs Option"),
    SAFE_PRIVATE: ("113111", "Retain Safe Private Option"),
    INSTITUTION_IDENTITY: ("113112", "Retain Institution Identity Option"),
}
"""CID 7050 (PS3.16) for the options that run on every instance."""

CONTENT_CODES = {
    "clean_graphics": ("113103", "Clean Graphics Option"),
    "clean_structured_content": ("113104", "Clean Structured Content Option"),
    CLEAN_PIXEL_DATA: ("113101", "Clean Pixel Data Option"),
}
"""For those that run on the instances that have such content, or such pixels."""


REPLACED = frozenset(
    {
        attributes.CHARACTER_SET,
        attributes.PATIENT_NAME,
        attributes.PATIENT_ID,
        attributes.PATIENT_IDENTITY_REMOVED,
        attributes.METHOD,
        attributes.METHOD_CODES,
        attributes.TEMPORAL_INFORMATION,
    }
)
"""What `mark` writes."""

DEGREES = ("UNMODIFIED", "MODIFIED", "REMOVED")

OWN_METHOD = re.compile(
    r"pacstream \d{1,4}(?:\.\d{1,4}){1,3}"
    r"|PS3\.15 20\d\d[a-e] Table E\.1-1 Basic Profile"
    r"|Option \d{6}",
    re.ASCII,
)
"""What `method` writes; anybody else's is free text."""


class Before(NamedTuple):
    """What an original says of earlier de-identifications: of its dates (0028,0303) and by which
    method (0012,0063)."""

    dates: str = ""
    method: str = ""


def method(profile: Profile, ran: frozenset[str] = frozenset()) -> str:
    """The text of (0012,0063): engine and version, table and edition, options."""
    return "\\".join(_method(profile.options, ran))


def _method(options: frozenset[str], ran: frozenset[str]) -> tuple[str, ...]:
    basis = f"PS3.15 {EDITION} Table E.1-1 Basic Profile"
    ours = (f"Option {code}" for code, _ in _claimed(options, ran))
    return (f"pacstream {__version__}", basis, *ours)


def _claimed(options: frozenset[str], ran: frozenset[str]) -> list[tuple[str, str]]:
    """Codes of the options that ran. What the engine has no way to retain or clean, it removes, and
    claims nothing."""
    always = [OPTION_CODES[option] for option in sorted(options) if option in OPTION_CODES]
    return always + [CONTENT_CODES[option] for option in sorted(ran)]


def mark(
    elements: list[Element],
    profile: Profile,
    pseudonym: str,
    ran: frozenset[str] = frozenset(),
    before: Before = Before(),  # noqa: B008 - a tuple
) -> list[Element]:
    """The cleaned data set with markers, character set and pseudonym; method codes of an earlier
    de-identification stay in front of ours. `ran` are the options of CONTENT_CODES that did."""
    kept = [element for element in elements if element.tag not in REPLACED]
    codes = _codes(profile.options, ran)
    earlier = [
        item
        for element in elements
        if element.tag == attributes.METHOD_CODES
        for item in element.items or []
    ]
    if earlier:
        codes = Element(attributes.METHOD_CODES, "SQ", items=earlier + (codes.items or []))
    return [*kept, *_said(profile.options, pseudonym, ran, before), codes]


@functools.lru_cache(maxsize=64)
def _said(
    options: frozenset[str], pseudonym: str, ran: frozenset[str], before: Before
) -> tuple[Element, ...]:
    """All markers but the codes: the same elements for a whole series."""
    return (
        Element(attributes.CHARACTER_SET, "CS", text.UTF_8.encode()),
        Element(attributes.PATIENT_NAME, "PN", pseudonym.encode()),
        Element(attributes.PATIENT_ID, "LO", pseudonym.encode()),
        Element(attributes.PATIENT_IDENTITY_REMOVED, "CS", b"YES"),
        Element(attributes.METHOD, "LO", _methods(options, ran, before.method).encode()),
        Element(attributes.TEMPORAL_INFORMATION, "CS", _dates(options, before.dates).encode()),
    )


@functools.lru_cache(maxsize=64)
def _codes(options: frozenset[str], ran: frozenset[str]) -> Element:
    items = [_code(*claim) for claim in (BASIC, *_claimed(options, ran))]
    return Element(attributes.METHOD_CODES, "SQ", items=items)


def _methods(options: frozenset[str], ran: frozenset[str], before: str) -> str:
    """Ours, behind what an earlier pacstream has written: nothing twice."""
    earlier = [one for one in before.split("\\") if OWN_METHOD.fullmatch(one)]
    return "\\".join(dict.fromkeys([*earlier, *_method(options, ran)]))


def _dates(options: frozenset[str], before: str) -> str:
    """PS3.3 section C.12.1.4, Longitudinal Temporal Information Modified: what was done to the
    dates so far, by us or by somebody before."""
    if FULL_DATES in options:
        ours = "UNMODIFIED"
    else:
        ours = "MODIFIED" if MODIFIED_DATES in options else "REMOVED"
    return max(ours, before, key=DEGREES.index) if before in DEGREES else ours


def _code(value: str, meaning: str) -> list[Element]:
    return [
        Element(attributes.CODE_VALUE, "SH", value.encode()),
        Element(attributes.CODING_SCHEME, "SH", b"DCM"),
        Element(attributes.CODE_MEANING, "LO", meaning.encode()),
    ]
