"""What the VR asks for. A value that is not what its VR says is emptied, never passed on."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pacstream.pseudonyms import ProjectKey, shifted_date
from pacstream_anonymizer.attributes import CLASS_UIDS, TIMEZONE_OFFSET
from pacstream_anonymizer.dictionary import BULK_VRS, NUMBER_SIZES, STRING_VRS
from pacstream_anonymizer.text import decode

REMOVED = "REMOVED"
STANDARD_ROOT = "1.2.840.10008."

DATE_TIME = re.compile(r"(\d{8})((?:\d{2}){0,3}(?:(?<=\d{14})\.\d{1,6})?(?:[+-]\d{4})?)", re.ASCII)
TIME = re.compile(r"\d{2}(?::?\d{2}(?::?\d{2}(?:\.\d{1,6})?)?)?", re.ASCII)
UID = re.compile(r"[0-9.]{0,64}", re.ASCII)
AGE = re.compile(r"(\d{3})([DWMY])", re.ASCII)
CODE_STRING = re.compile(r"(?!.*\d{6})[A-Z0-9 _]{0,16}", re.ASCII)
INTEGER = re.compile(r"[+-]?\d{1,11}", re.ASCII)
DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
TIMEZONE = re.compile(r"[+-]\d{4}", re.ASCII)
TECHNICAL = re.compile(r"[^\x00-\x1f\x7f^=]{0,64}")

MOST_OPAQUE = 1 << 16
WORD = re.compile(rb"[A-Za-z]{5}|[0-9]{6}")
"""Letters or digits in a row that may be a name or a number of somebody."""

OLDEST = {"Y": 90, "M": 90 * 12}
"""Ages from here on are given as 090Y (HIPAA safe harbour)."""

DUMMIES = {
    "AE": REMOVED,
    "AS": "000Y",
    "CS": REMOVED,
    "DA": "19000101",
    "DS": "0",
    "DT": "19000101000000",
    "IS": "0",
    "LO": REMOVED,
    "LT": REMOVED,
    "PN": REMOVED,
    "SH": REMOVED,
    "ST": REMOVED,
    "TM": "000000",
    "UC": REMOVED,
    "UT": REMOVED,
}
"""What stands where an IOD wants a value (PS3.15 section E.1.1)."""

LONGEST = {
    "AE": 16,
    "CS": 16,
    "DS": 16,
    "IS": 12,
    "LO": 64,
    "LT": 10240,
    "PN": 64,
    "SH": 16,
    "ST": 1024,
    "UI": 64,
}
"""Characters of a value (PS3.5 section 6.2)."""
FORMS = {
    "AS": AGE,
    "CS": re.compile(r"[A-Z0-9 _]+", re.ASCII),
    "DA": re.compile(r"\d{8}", re.ASCII),
    "DS": DECIMAL,
    "DT": DATE_TIME,
    "IS": INTEGER,
    "TM": re.compile(r"\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?", re.ASCII),
    "UI": re.compile(r"(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*))+", re.ASCII),
    "UR": re.compile(r"\S+"),
}
"""What a value of a VR looks like, where not any text does."""


@dataclass(frozen=True)
class Patient:
    """One patient of one project as the release knows them."""

    key: ProjectKey
    pseudonym: str
    shift_days: int
    """0: dates stay."""


def clean(tag: int, vr: str, value: bytes, patient: Patient) -> bytes | None:
    """The value to release for a VR that is neither free text nor a sequence; None: remove it."""
    if vr[:2] in NUMBER_SIZES and " or OW" not in vr:
        return value if len(value) % NUMBER_SIZES[vr[:2]] == 0 else None
    if vr[:2] in BULK_VRS or " or OW" in vr:
        return value if tag >> 16 & 1 == 0 or is_wordless(value) else None
    parts = value.decode("latin-1").strip(" \0").split("\\")
    cleaned = [_clean_one(tag, vr, part.strip(" \0"), patient) for part in parts]
    if any(part is None for part in cleaned):
        return b""
    return "\\".join(part for part in cleaned if part is not None).encode("ascii")


def _clean_one(tag: int, vr: str, text: str, patient: Patient) -> str | None:
    """One value of a string VR; None if it is not what the VR says. `text` may hold anything."""
    if vr == "UI":
        return mapped_uid(tag, text, patient.key)
    if vr == "DA":
        return shifted_date(text, patient.shift_days)
    if vr == "DT":
        return shifted_date_time(text, patient.shift_days)
    if vr == "AS":
        return capped_age(text)
    pattern = {"TM": TIME, "CS": CODE_STRING, "IS": INTEGER, "DS": DECIMAL}[vr]
    return text if not text or pattern.fullmatch(text) else None


def is_wordless(value: bytes) -> bool:
    """Whether bytes of a maker's own are few enough for the gate to search, and hold no word."""
    return len(value) <= MOST_OPAQUE and WORD.search(value.replace(b"\0", b"")) is None


def dummy(tag: int, vr: str, value: bytes, patient: Patient) -> bytes | None:
    """What stands for a value and says nothing of it; None for a VR that has no such thing."""
    if vr == "UI":
        return clean(tag, vr, value, patient)
    if vr[:2] in NUMBER_SIZES and " or OW" not in vr:
        return bytes(NUMBER_SIZES[vr[:2]])
    return DUMMIES[vr].encode("ascii") if vr in DUMMIES else None


def kept(vr: str, value: bytes, codecs: tuple[str, ...], key: ProjectKey) -> bytes | None:
    """The value as it is, text in UTF-8; None for numbers that are not of their VR's size."""
    if vr[:2] in NUMBER_SIZES and " or OW" not in vr:
        return value if len(value) % NUMBER_SIZES[vr[:2]] == 0 else None
    if vr[:2] in BULK_VRS or " or OW" in vr:
        return value
    if vr == "UI":
        parts = (part.strip(" \0") for part in value.decode("latin-1").split("\\"))
        return "\\".join(kept_uid(part, key) for part in parts).encode("ascii")
    return decode(value, codecs).encode("utf-8")


def kept_uid(uid: str, key: ProjectKey) -> str:
    """A UID as it is; what only stands where one should, and may be any text, is mapped."""
    return uid if UID.fullmatch(uid) else key.uid(uid)


def misfit(vr: str, text: str) -> str:
    """Why one value of a project can't stand in an attribute of this VR (PS3.5 section 6.2); empty
    if it can."""
    if vr not in STRING_VRS:
        return f"no text can stand in an attribute of VR {vr}"
    longest = LONGEST.get(vr, len(text))
    if len(text) > longest:
        return f"is longer than the {longest} characters of VR {vr}"
    day = shifted_date(text[:8], 0) if vr in ("DA", "DT") else text
    form = FORMS.get(vr)
    if not day or (form is not None and not form.fullmatch(text)):
        return f"is no value of VR {vr}"
    return ""


def replacement(vr: str, text: str) -> bytes | None:
    """A project's own text in place of a value; None if the VR is none of text."""
    if vr not in STRING_VRS:
        return None
    return text[: LONGEST.get(vr)].encode("utf-8")


def mapped_uid(tag: int, uid: str, key: ProjectKey) -> str | None:
    """A UID of an instance is mapped, one of a class or of the standard stays; None: no UID."""
    if not uid:
        return uid
    if (tag in CLASS_UIDS or uid.startswith(STANDARD_ROOT)) and len(uid) <= 64:
        return uid if re.fullmatch(r"[0-9.]+", uid, re.ASCII) else None
    return key.uid(uid)


def shifted_date_time(text: str, days: int) -> str:
    """A DT value with its date moved; time, fraction and zone stay. Empty if the day is unknown."""
    match = DATE_TIME.fullmatch(text)
    date = shifted_date(match[1], days) if match else ""
    return date + match[2] if match and date else ""


def capped_age(text: str) -> str | None:
    match = AGE.fullmatch(text)
    if match is None:
        return "" if not text else None
    unit = match[2]
    return "090Y" if unit in OLDEST and int(match[1]) >= OLDEST[unit] else text


def technical(tag: int, text: str) -> str | None:
    """Text of the reviewed list, or None if it looks like a name or is no plain line."""
    pattern = TIMEZONE if tag == TIMEZONE_OFFSET else TECHNICAL
    parts = [part.strip() for part in text.split("\\")]
    return "\\".join(parts) if all(pattern.fullmatch(part) for part in parts) else None
