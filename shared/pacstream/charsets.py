"""Character sets (PS3.5 section 6.1): bytes to text."""

from __future__ import annotations

import functools

from pydicom.charset import convert_encodings, decode_bytes

DELIMITERS = {"\\", "\r", "\n", "\t", "\f"}


@functools.lru_cache(maxsize=256)
def encodings_of(character_set: bytes) -> tuple[str, ...]:
    """Python codecs for a (0008,0005) value; none if there is no value or one that is unknown."""
    names = [name.strip(" \0") for name in character_set.decode("latin-1").split("\\")]
    if not any(names):
        return ()
    try:
        return tuple(convert_encodings(names))
    except LookupError:
        return ()


def decode(value: bytes, encodings: tuple[str, ...]) -> str:
    """`value` as text without its padding; what can't be decoded becomes question marks."""
    if value.isascii() and b"\x1b" not in value:
        text = value.decode("ascii")
    elif encodings:
        try:
            text = str(decode_bytes(value, list(encodings), DELIMITERS))
        except UnicodeError:
            text = value.decode("ascii", "replace")
    else:
        text = value.decode("ascii", "replace")
    return text.replace("\ufffd", "?").strip(" \0")
