"""What identifies the patient of a series, read from its originals: what is to go out is searched
for it."""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from pacstream.charsets import decode, encodings_of
from pacstream.messages import Series
from pacstream.skim import skim_file
from pacstream_converter.originals import BAD_HEADER

CHARACTER_SET = 0x00080005

NUMBERS = frozenset(
    {
        0x00080050,  # Accession Number
        0x0020000D,  # Study Instance UID
        0x0020000E,  # Series Instance UID
        0x00100020,  # Patient ID
        0x00101000,  # Other Patient IDs
        0x00102154,  # Patient's Telephone Numbers
        0x00380010,  # Admission ID
        0x00401001,  # Requested Procedure ID
    }
)
DATES = frozenset(
    {
        0x00080020,  # Study Date
        0x00080021,  # Series Date
        0x00080022,  # Acquisition Date
        0x00080023,  # Content Date
        0x00100030,  # Patient's Birth Date
    }
)
PERSONS = frozenset(
    {
        0x00080090,  # Referring Physician's Name
        0x00081048,  # Physician(s) of Record
        0x00081050,  # Performing Physician's Name
        0x00081060,  # Name of Physician(s) Reading Study
        0x00081070,  # Operators' Name
        0x00100010,  # Patient's Name
        0x00101001,  # Other Patient Names
        0x00101005,  # Patient's Birth Name
        0x00101060,  # Patient's Mother's Birth Name
        0x00321032,  # Requesting Physician
    }
)
PLACES = frozenset(
    {
        0x00080080,  # Institution Name
        0x00080081,  # Institution Address
        0x00081010,  # Station Name
        0x00081040,  # Institutional Department Name
        0x00100021,  # Issuer of Patient ID
        0x00101040,  # Patient's Address
        0x00181000,  # Device Serial Number
        0x00200010,  # Study ID
    }
)
TEXTS = frozenset(
    {
        0x00081030,  # Study Description
        0x0008103E,  # Series Description
        0x00104000,  # Patient Comments
        0x00181030,  # Protocol Name
        0x00204000,  # Image Comments
        0x00321060,  # Requested Procedure Description
        0x00400254,  # Performed Procedure Step Description
    }
)
TAGS = NUMBERS | DATES | PERSONS | PLACES | TEXTS | {CHARACTER_SET}

UID = re.compile(r"\d+(?:\.\d+){3,}", re.ASCII)
LONG_NUMBER = re.compile(r"0*([1-9]\d{4,})", re.ASCII)
"""Of `MRN-0042117` people write the number alone."""
SHORTEST = 4
"""Characters; what is shorter occurs by chance. Names in other scripts count from the first."""


@dataclass(frozen=True)
class Identifiers:
    """`ids` identify by themselves: numbers, UIDs, dates. `names` are the words of persons' names,
    places and devices. `texts` are descriptions, which may be plain terms (AXIAL)."""

    ids: frozenset[str] = field(default=frozenset(), repr=False)
    names: frozenset[str] = field(default=frozenset(), repr=False)
    texts: frozenset[str] = field(default=frozenset(), repr=False)

    def __or__(self, other: Identifiers) -> Identifiers:
        return Identifiers(self.ids | other.ids, self.names | other.names, self.texts | other.texts)


def identifiers_of(series: Series, originals: Iterable[Path]) -> Identifiers:
    """Those that the PACS told, those at top level of any original, and the persons anywhere in the
    first. Raises OSError."""
    found = Identifiers(
        ids=frozenset(
            form
            for text in (series.patient_id, series.study_uid, series.series_uid)
            for form in _number_forms(text)
        )
        | frozenset(_date_forms(series.study_date)),
        texts=frozenset(_long_enough(series.description.strip())),
    )
    seen: set[object] = set()
    for number, path in enumerate(originals):
        if number == 0:
            found |= _nested(path)
        skimmed = skim_file(path, TAGS)
        if skimmed is None:
            found |= _by_pydicom(path)
        elif skimmed.identity not in seen:
            seen.add(skimmed.identity)
            found |= _of({tag: value for tag, (_, value) in skimmed.elements.items()})
    return found


def _by_pydicom(path: Path) -> Identifiers:
    """For a file whose encoding is not plain; one that can't be read at all names nobody."""
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=[*TAGS])
        return _of({int(one.tag): _raw(one.value) for one in header}, ("utf-8",))
    except BAD_HEADER:
        return Identifiers()


def _raw(value: object) -> bytes:
    values = value if isinstance(value, MultiValue) else [value]
    return "\\".join(map(str, values)).encode("utf-8", "replace")


def _nested(path: Path) -> Identifiers:
    """Names and patient IDs at any depth."""
    found: set[tuple[int, str]] = set()

    def note(_: Dataset, element: pydicom.DataElement) -> None:
        if element.VR == "PN":
            found.add((0x00100010, str(element.value)))
        elif int(element.tag) in NUMBERS:
            found.add((int(element.tag), str(element.value)))

    try:
        pydicom.dcmread(path, stop_before_pixels=True).walk(note)
    except BAD_HEADER:
        return Identifiers()
    parts = (_of({tag: text.encode("utf-8", "replace")}, ("utf-8",)) for tag, text in found)
    return functools.reduce(operator.or_, parts, Identifiers())


def _of(values: Mapping[int, bytes], codecs: tuple[str, ...] | None = None) -> Identifiers:
    if codecs is None:
        codecs = encodings_of(values.get(CHARACTER_SET, b""))
    texts = {tag: decode(value, codecs).split("\\") for tag, value in values.items()}

    def parts(tags: frozenset[int]) -> Iterator[str]:
        return (part.strip(" \0") for tag in tags & texts.keys() for part in texts[tag])

    ids = [form for text in parts(NUMBERS) for form in _number_forms(text)]
    ids += [form for text in parts(DATES) for form in _date_forms(text)]
    names = [word for text in parts(PERSONS) for word in _words(text)]
    names += [name for text in parts(PLACES) for name in _long_enough(text)]
    return Identifiers(
        frozenset(ids),
        frozenset(names),
        frozenset(name for text in parts(TEXTS) for name in _long_enough(text)),
    )


def _number_forms(text: str) -> Iterator[str]:
    """As it stands, without leading zeros, and of what is no UID the long numbers in it."""
    plain = text.strip(" \0")
    yield from _long_enough(plain)
    yield from _long_enough(plain.lstrip("0"))
    if not UID.fullmatch(plain):
        yield from LONG_NUMBER.findall(plain)


def _date_forms(text: str) -> Iterator[str]:
    match = re.fullmatch(r"(\d{4})\.?(\d{2})\.?(\d{2})", text.strip(" \0"), re.ASCII)
    if match:
        year, month, day = match.groups()
        for mark in ("", "-", ".", "/", "_"):
            yield mark.join((year, month, day))
            yield mark.join((day, month, year))
            yield mark.join((month, day, year))


def _words(name: str) -> Iterator[str]:
    """All words of all parts of a person's name (PS3.5 section 6.2)."""
    for word in re.split(r"[\W_\d]+", name):
        if len(word) >= SHORTEST or (word and not word.isascii()):
            yield word


def _long_enough(text: str) -> Iterator[str]:
    if len(text) >= SHORTEST:
        yield text
