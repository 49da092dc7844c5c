"""Does an attribute of an answer match a key? PS3.4 section C.2.2.2, applied on our side.

Some PACSs ignore keys that they do not support, so every answer is matched again here.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence

PADDING = " \0"


def is_universal(key: str) -> bool:
    """The key matches every value: empty or only asterisks (PS3.4 section C.2.2.2.3, .4)."""
    return not key.strip(PADDING).strip("*")


def matches(vr: str, key: str, values: Sequence[str]) -> bool:
    """Does any of `values`, or all of them joined by backslashes, match `key`?

    A key that is not universal never matches an empty attribute.
    """
    if is_universal(key):
        return True
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
    if vr == "IS":
        return _integer(key) == _integer(value)
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


def _integer(text: str) -> int | str:
    return int(text) if re.fullmatch(r"[+-]?\d+", text) else text


def _matches_name(key: str, value: str) -> bool:
    """Case-insensitive, component group by component group (PS3.4 section C.2.2.2.1).

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
    components = [part.strip(PADDING) for part in _composed(group).casefold().split("^")]
    return "^".join(components).rstrip("^")


def _composed(text: str) -> str:
    """One spelling of an accented letter, whether it came as one code point or as two."""
    return unicodedata.normalize("NFC", text)


@functools.lru_cache(maxsize=256)
def _pattern(key: str) -> re.Pattern[str]:
    parts = {"*": ".*", "?": "."}
    return re.compile("".join(parts.get(char) or re.escape(char) for char in key), re.DOTALL)
