"""What an original says of persons: names, IDs, addresses, birth date, UIDs, at any depth."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import DicomDictionary

from pacstream_anonymizer.gate.reader import Leaf

STANDARD_ROOT = "1.2.840.10008."
NAME_TO_USE, BIRTH_DATE = 0x00100012, 0x00100030

IDS = frozenset({0x00100020, 0x00101000, 0x00080050})
"""Patient ID, Other Patient IDs, Accession Number: looked for however short they are."""

LONG_IDS = frozenset(
    {
        0x00101050,  # Insurance Plan Identification
        0x00101090,  # Medical Record Locator
        0x00120040,  # Clinical Trial Subject ID
        0x00200010,  # Study ID
        0x00380010,  # Admission ID
        0x00380060,  # Service Episode ID
        0x00400009,  # Scheduled Procedure Step ID
        0x00400253,  # Performed Procedure Step ID
        0x00401001,  # Requested Procedure ID
        0x00402016,  # Placer and Filler Order Number / Imaging Service Request
        0x00402017,
    }
)
"""Name a person or a visit only if they are long: many sites write `1`."""

WHOLE = frozenset(
    {
        0x00080092,  # Referring Physician's Address, Telephone Numbers
        0x00080094,
        0x00101040,  # Patient's Address, Telephone Numbers, Telecom Information
        0x00102154,
        0x00102155,
        0x00401102,  # Person's Address, Telephone Numbers, Telecom Information
        0x00401103,
        0x00401104,
    }
)
INSTITUTION = frozenset({0x00080080, 0x00080081})
SHORTEST_WHOLE = 6
LONGEST_TEXT = 1024
"""Characters of a value: nothing that names somebody is longer."""

_CLASS_KEYWORD = re.compile(
    r"(SOPClassUID|SOPClassesInStudy|SOPClassesInSeries|SOPClassesSupported|TransferSyntaxUID"
    r"|GeneralSOPClassUID|SpecializedSOPClassUID|CodingSchemeUID|ContextUID|MappingResourceUID"
    r"|CreatorUID)$"
)
CLASS_TAGS = frozenset(
    int(tag)
    for tag, entry in DicomDictionary.items()
    if str(entry[0]) == "UI"
    and _CLASS_KEYWORD.search(str(entry[4]))
    and str(entry[4]) != "InstanceCreatorUID"
)
"""UI attributes that name a class, a code or an encoding."""

LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "ı": "i", "þ": "th"})
UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa"})


@dataclass(frozen=True, eq=False)
class Traces:
    """What some values tell of persons, as they spell it. `short` are IDs of up to three
    characters, `names` whole components of PN values, `born` digits of dates."""

    names: frozenset[tuple[str, ...]] = frozenset()
    ids: frozenset[str] = frozenset()
    long_ids: frozenset[str] = frozenset()
    whole: frozenset[str] = frozenset()
    institution: frozenset[str] = frozenset()
    born: frozenset[str] = frozenset()
    uids: frozenset[str] = frozenset()

    @property
    def told(self) -> tuple[frozenset[object], ...]:
        """All but UIDs."""
        return self.names, self.ids, self.long_ids, self.whole, self.institution, self.born

    @functools.cached_property
    def personal(self) -> bool:
        """Whether there is more than UIDs."""
        return any(self.told)


NOTHING = Traces()


def union(all_traces: Iterable[Traces]) -> Traces:
    """All of them in one."""
    listed = list(all_traces)
    return Traces(
        **{
            field.name: frozenset().union(*(getattr(one, field.name) for one in listed))
            for field in fields(Traces)
        }
    )


def traces_of(leaves: Iterable[Leaf]) -> Traces:
    """What the values tell; NOTHING itself if that is nothing."""
    found: dict[str, set[object]] = {}
    for leaf in leaves:
        kind = _category(leaf)
        if kind is not None and leaf.value:
            found.setdefault(kind, set()).update(_READERS[kind](leaf))
    kept: dict[str, Any] = {kind: frozenset(some) for kind, some in found.items() if some}
    return Traces(**kept) if kept else NOTHING


def may_tell(tag: int, vr: bytes) -> bool:
    """Whether there is any point in reading an element at top level."""
    return vr in _TELLING_VRS or tag in _KIND_BY_TAG


_TELLING_VRS = frozenset({b"", b"UN", b"SQ", b"PN", b"UI"})
_KIND_BY_TAG = (
    dict.fromkeys(IDS, "ids")
    | dict.fromkeys(LONG_IDS, "long_ids")
    | dict.fromkeys(WHOLE, "whole")
    | dict.fromkeys(INSTITUTION, "institution")
    | {NAME_TO_USE: "names", BIRTH_DATE: "born"}
)


def _category(leaf: Leaf) -> str | None:
    if leaf.vr == "PN":
        return "names"
    if leaf.vr == "UI":
        return None if leaf.tag in CLASS_TAGS else "uids"
    return _KIND_BY_TAG.get(leaf.tag)


def _names(leaf: Leaf) -> Iterator[tuple[str, ...]]:
    for text in spellings(leaf):
        for group in re.split(r"[\\=]", text):
            parts = tuple(part.strip() for part in group.split("^"))
            if any(parts):
                yield tuple(part for part in parts if part)


def _ids(leaf: Leaf) -> Iterator[str]:
    for text in spellings(leaf):
        yield text
        yield from (part.strip() for part in text.split("\\") if part.strip())


def _long_ids(leaf: Leaf) -> Iterator[str]:
    return (text for text in _ids(leaf) if len(text) >= SHORTEST_WHOLE)


def _born(leaf: Leaf) -> Iterator[str]:
    digits = re.sub(r"[^0-9]", "", leaf.value.decode("latin-1"))
    if len(digits) == 8:
        yield digits


def _uids(leaf: Leaf) -> Iterator[str]:
    for uid in leaf.value.decode("latin-1").split("\\"):
        uid = uid.strip(" \0")
        if uid and not uid.startswith(STANDARD_ROOT):
            yield uid


_READERS = {
    "names": _names,
    "ids": _ids,
    "long_ids": _long_ids,
    "whole": _long_ids,
    "institution": _long_ids,
    "born": _born,
    "uids": _uids,
}


def spellings(leaf: Leaf) -> set[str]:
    """A value as text, in its declared character set and in what it may be in truth."""
    raw = leaf.value[:LONGEST_TEXT]
    if raw.isascii() and b"\x1b" not in raw:
        texts = {raw.decode("ascii")}
    else:
        declared = _codecs(leaf.character_set)
        texts = {str(decode_bytes(raw, declared, {"\\", "^", "="}))} if declared else set()
        texts.add(raw.decode("utf-8", "ignore"))
        if not declared:
            texts.add(raw.decode("latin-1"))
    return {text.strip(" \0") for text in texts} - {""}


def _codecs(character_set: bytes) -> list[str]:
    names = [name.strip(" \0") for name in character_set.decode("latin-1").split("\\")]
    if not any(names):
        return []
    try:
        return list(convert_encodings(names))
    except LookupError:
        return []


def folded(text: str) -> str:
    """Without case, accents and ligatures."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c)).translate(LETTERS)


def transcribed(text: str) -> str:
    """Folded, with umlauts as they are spelt without them."""
    return folded(unicodedata.normalize("NFC", text.casefold()).translate(UMLAUTS))
