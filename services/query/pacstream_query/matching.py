"""Does an attribute of an answer match a key? PS3.4 section C.2.2.2, applied on our side.

Some PACSs ignore keys that they do not support, so every answer is matched again here. Names match
whatever their case and accents are: what a PACS is free to match (PS3.4 section C.2.2.2.1) is not
taken away again. All other text matches as it is written.
"""

from __future__ import annotations

import datetime
import functools
import re
import unicodedata
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from pacstream_query.columns import NUMBER_VRS, UNDIVIDED_VRS

PADDING = " \0"
DELIMITERS = "^=\\ "
ACCENTS = range(0x0300, 0x0370)
"""Combining diacritical marks: Japanese voicing marks, which change a letter, are not among them"""
DATE_TIME = re.compile(r"(\d{4,14})(\.\d{1,6})?([+-]\d{4})?", re.ASCII)
DATE_TIME_RANGE = re.compile(
    r"(?P<low>\d{4,14}(?:\.\d{1,6})?(?:\+\d{4}|-(?:0\d|1[0-2])[0-5]\d(?=-))?)?"
    r"-(?P<high>\d{4,14}(?:\.\d{1,6})?(?:[+-]\d{4})?)?",
    re.ASCII,
)


def is_universal(key: str) -> bool:
    """The key matches every value: empty or only asterisks (PS3.4 section C.2.2.2.3, .4)."""
    return not key.strip(PADDING).strip("*")


def is_only_wildcards(key: str) -> bool:
    """The key names nothing: it is made of `*`, `?` and delimiters only."""
    return bool(key.strip(PADDING)) and not key.strip("*?" + DELIMITERS + PADDING)


def pacsman_name(cell: str) -> str:
    """The PatientName key that PACSMAN makes of a cell: `Jane Doe` becomes `*DOE`.

    It takes the last word for the family name and matches names that *end* with it, where DICOM
    writes the family name first: `*DOE` does not match DOE^JANE, and does match ROE^JANE DOE.
    """
    words = cell.upper().split()
    return f"*{words[-1].lstrip('*')}" if words else ""


def matches(vr: str, key: str, values: Sequence[str]) -> bool:
    """Does any of `values`, or all of them joined by backslashes, match `key`?

    A key that is not universal never matches an empty attribute.
    """
    if is_universal(key):
        return True
    if vr in UNDIVIDED_VRS:
        values = ["\\".join(values)]
    held = [value.strip(PADDING) for value in values]
    if len(held) > 1:
        held.append("\\".join(held))
    return any(value != "" and _matches_one(vr, key.strip(PADDING), value) for value in held)


def _matches_one(vr: str, key: str, value: str) -> bool:
    if vr == "UI":
        return value in {uid.strip(PADDING) for uid in key.split("\\")}
    if vr == "DA":
        return _in_range(key, value.replace(".", ""))
    if vr == "TM":
        return _matches_time(key, value)
    if vr == "DT":
        return _matches_date_time(key, value)
    if vr in NUMBER_VRS:
        return _number(key) == _number(value)
    if vr == "PN":
        return _matches_name(key, value)
    return _pattern(_composed(key)).fullmatch(_composed(value)) is not None


def _in_range(key: str, value: str) -> bool:
    """Single value or range, open at either end; an upper end covers all that begins with it."""
    low, dash, high = key.partition("-")
    if not dash:
        return value == key
    return (not low or value >= low) and (not high or value[: len(high)] <= high)


def _matches_time(key: str, value: str) -> bool:
    """HHMMSS.FFFFFF, or HH:MM:SS of ACR-NEMA; a key of lower precision matches all within it."""
    key = key.replace(":", "")
    digits, dot, fraction = value.replace(":", "").partition(".")
    value = digits.ljust(6, "0") + dot + fraction
    return _in_range(key, value) if "-" in key else value.startswith(key)


def date_time_range(key: str) -> tuple[str, str] | None:
    """Both ends of a DT range, one may be empty; None if the key is a single value.

    A hyphen before four digits up to 1200 at the end of a value is a time zone, not a range.
    """
    if DATE_TIME.fullmatch(key) and not re.search(r"-(?:1[3-9]|[2-9]\d)\d\d$", key):
        return None
    match = DATE_TIME_RANGE.fullmatch(key)
    return (match["low"] or "", match["high"] or "") if match and key != "-" else None


def _matches_date_time(key: str, value: str) -> bool:
    ends = date_time_range(key)
    low, high = ends if ends is not None else (key, key)
    moment = _moment(value, "")
    if moment is None:
        return False
    floor, ceiling = _moment(low, "00000101000000.000000"), _moment(high, "99991231235959.999999")
    return (not low or (floor is not None and floor <= moment)) and (
        not high or (ceiling is not None and moment <= ceiling)
    )


def _moment(text: str, filling: str) -> datetime.datetime | None:
    """A DT value in UTC, or without a zone as it is; what it leaves out is taken from `filling`."""
    match = DATE_TIME.fullmatch(text)
    if match is None:
        return None
    digits, fraction, zone = match.groups()
    filling = filling or "00000101000000.000000"
    whole = digits + (fraction or "") if len(digits) == 14 else digits
    whole += filling[len(whole) :]
    try:
        day = _last_possible(whole)
        moment = datetime.datetime.strptime(day, "%Y%m%d%H%M%S.%f")
    except ValueError:
        return None
    offset = int(zone[0] + zone[1:3]) * 60 + int(zone[0] + zone[3:]) if zone else 0
    return moment - datetime.timedelta(minutes=offset)


def _last_possible(digits: str) -> str:
    """The 31st as an upper end of a month that has fewer days is its last day."""
    year, month = int(digits[:4]), int(digits[4:6])
    following = datetime.date(year + month // 12, month % 12 + 1, 1) if year < 9999 else None
    last = 31 if following is None else (following - datetime.timedelta(days=1)).day
    return f"{digits[:6]}{min(int(digits[6:8]), last):02}{digits[8:]}"


def _number(text: str) -> Decimal | str:
    try:
        return Decimal(text)
    except InvalidOperation:
        return text


def _matches_name(key: str, value: str) -> bool:
    """Whatever case and accents, component group by component group (PS3.4 section C.2.2.2.1).

    A key of one group matches any group: alphabetic, ideographic or phonetic.
    """
    wanted, held = key.split("="), value.split("=")
    if len(wanted) == 1:
        return any(_matches_group(wanted[0], group) for group in held)
    held += [""] * (len(wanted) - len(held))
    return all(_matches_group(w, h) for w, h in zip(wanted, held, strict=False) if w)


def _matches_group(key: str, group: str) -> bool:
    return group != "" and _pattern(_name_text(key)).fullmatch(_name_text(group)) is not None


def _name_text(group: str) -> str:
    components = [part.strip(PADDING) for part in _unaccented(group).casefold().split("^")]
    return "^".join(components).rstrip("^")


def _unaccented(text: str) -> str:
    parts = unicodedata.normalize("NFD", text)
    return _composed("".join(char for char in parts if ord(char) not in ACCENTS))


def _composed(text: str) -> str:
    """One spelling of an accented letter, whether it came as one code point or as two."""
    return unicodedata.normalize("NFC", text)


@functools.lru_cache(maxsize=256)
def _pattern(key: str) -> re.Pattern[str]:
    parts = {"*": ".*", "?": "."}
    return re.compile("".join(parts.get(char) or re.escape(char) for char in key), re.DOTALL)
