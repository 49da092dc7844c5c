"""The release gate: looks for the patient's own identifiers in what is about to be released.

It reads original and result with pydicom and shares nothing with the parser and the rules, so that
a mistake there shows here. What pydicom has read in one instance holds for the next one if the same
bytes stand there.
"""

from __future__ import annotations

import io
import re
import unicodedata
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom import dcmread
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from pacstream.skim import Content, skim

NAME_TAGS = (0x00100010, 0x00101001, 0x00101005, 0x00101060)
ID_TAGS = (0x00100020, 0x00101000, 0x00080050)
SOP_INSTANCE = 0x00080018
UID_TAGS = (0x0020000D, 0x0020000E, 0x00200052)
BIRTH_DATE, OTHER_IDS, CHARACTER_SET = 0x00100030, 0x00101002, 0x00080005
SHARED = frozenset({*NAME_TAGS, *ID_TAGS, *UID_TAGS, BIRTH_DATE, OTHER_IDS, CHARACTER_SET})
"""What the instances of a series have in common: all but their own UID."""

SHORTEST_WORD = 4
SHORTEST_UID = 8
LONGEST_NUMBER = 6
"""An ID of up to so many digits is no echo where a number or a time is expected to stand."""

NUMBERS = frozenset({"DS", "IS", "TM"})
CODE_STRINGS = frozenset({"CS"})
STACK_ID = 0x00209056

BODY_PARTS = frozenset(
    (
        "ABDOMEN",
        "ANKLE",
        "ARM",
        "BRAIN",
        "BREAST",
        "CALF",
        "CHEST",
        "EAR",
        "ELBOW",
        "EYE",
        "FACE",
        "FINGER",
        "FOOT",
        "HAND",
        "HEAD",
        "HEART",
        "HIP",
        "JAW",
        "KIDNEY",
        "KNEE",
        "LEG",
        "LIVER",
        "LUNG",
        "NECK",
        "NOSE",
        "PELVIS",
        "SHOULDER",
        "SKULL",
        "SPINE",
        "THIGH",
        "THUMB",
        "TOE",
        "WRIST",
        "WHOLEBODY",
    )
)
MAKERS = frozenset(
    {
        "AGFA",
        "CANON",
        "ELSCINT",
        "FUJIFILM",
        "GE MEDICAL SYSTEMS",
        "HITACHI",
        "PHILIPS",
        "PHILIPS MEDICAL SYSTEMS",
        "PICKER",
        "SIEMENS",
        "SIEMENS HEALTHINEERS",
        "TOSHIBA",
    }
)
IMAGE_TYPES = frozenset(
    {
        "ANGIO",
        "AXIAL",
        "DERIVED",
        "DIFFUSION",
        "FLUENCE",
        "FLUOROSCOPY",
        "LOCALIZER",
        "MULTIPLANAR",
        "ORIGINAL",
        "PERFUSION",
        "PRIMARY",
        "RADIOGRAPH",
        "SECONDARY",
        "VELOCITY",
        "VOLUME",
    }
)
VOCABULARY = {
    0x00080008: IMAGE_TYPES,
    0x00080070: MAKERS,
    0x00089007: IMAGE_TYPES,
    0x00180015: BODY_PARTS,
}
"""Values that people are also called: whole values of these are no echo."""


@dataclass(frozen=True)
class Identifiers:
    """What must not be found: whole words, tokens and UIDs; short IDs as whole values. `needles`
    are the first three as bytes: where there is none of them there is no echo."""

    words: frozenset[str]
    tokens: frozenset[str]
    uids: frozenset[str]
    short: frozenset[str]
    needles: frozenset[bytes]

    def and_of(self, instance: bytes) -> Identifiers:
        """These, and an instance's own UID."""
        own = _uids([instance])
        return replace(self, uids=self.uids | own, needles=self.needles | _needles(own))


class Gate:
    """Reads identifiers, and remembers those of the last `remembered` series and patients.

    Two originals have the same identifiers if the same bytes stand in all attributes that are read.
    That is told by the walk of `pacstream.skim`; if it has any doubt, pydicom reads again.
    """

    def __init__(self, remembered: int = 64) -> None:
        self._remembered = remembered
        self._known: OrderedDict[object, Identifiers] = OrderedDict()

    def identifiers_of(self, original: Path, content: Content) -> Identifiers:
        """The patient's identifiers in a file; `content` is all that is in it."""
        skimmed = skim(content, SHARED | {SOP_INSTANCE}) if self._remembered else None
        if skimmed is None:
            return identifiers_of(original)
        _, instance = skimmed.elements.pop(SOP_INSTANCE, (b"", b""))
        key = skimmed.identity
        known = self._known.get(key)
        if known is None:
            known = _shared_identifiers(_read(original))
            self._known[key] = known
            if len(self._known) > self._remembered:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return known.and_of(instance)


def identifiers_of(original: Path) -> Identifiers:
    """The patient's identifiers in the original file, by pydicom alone."""
    data_set = _read(original)
    return _shared_identifiers(data_set).and_of(_raw(data_set, SOP_INSTANCE))


def _read(original: Path) -> Dataset:
    return dcmread(original, stop_before_pixels=True, specific_tags=[*SHARED, SOP_INSTANCE])


def _shared_identifiers(data_set: Dataset) -> Identifiers:
    encodings = _encodings(_raw(data_set, CHARACTER_SET))
    names = [text for tag in NAME_TAGS for text in _texts(data_set, tag, encodings)]
    ids = {text for tag in ID_TAGS for text in _texts(data_set, tag, encodings)}
    if OTHER_IDS in data_set:
        ids |= {
            text
            for item in data_set[OTHER_IDS].value
            for text in _texts(item, 0x00100020, encodings)
        }
    ids |= {part for text in ids for part in text.split("\\")} - {""}
    born = re.sub(r"[^0-9]", "", _raw(data_set, BIRTH_DATE).decode("latin-1"))
    long_ids = {text for text in ids if len(text) >= SHORTEST_WORD}
    words = frozenset(word for name in names for word in _words(name))
    tokens = frozenset(long_ids | ({born} if len(born) == 8 else set()))
    uids = _uids(_raw(data_set, tag) for tag in UID_TAGS)
    needles = _needles(words | tokens | uids)
    return Identifiers(words, tokens, uids, frozenset(ids - long_ids), needles)


def _uids(values: Iterable[bytes]) -> frozenset[str]:
    """Those of `values` that name something of this patient's."""
    uids = {value.decode("latin-1").strip(" \0") for value in values}
    return frozenset(
        uid for uid in uids if len(uid) >= SHORTEST_UID and not uid.startswith("1.2.840.10008.")
    )


def _needles(texts: Iterable[str]) -> frozenset[bytes]:
    return frozenset(variant for text in texts for variant in _variants(text))


def has_echo(
    identifiers: Identifiers, head: bytes, data_set: bytes, *, implicit: bool, little: bool
) -> bool:
    """Whether an identifier is in the file meta `head` or in a value of the elements `data_set`."""
    lowered = (head + data_set).lower()
    if not identifiers.short and not any(needle in lowered for needle in identifiers.needles):
        return False
    if _search(identifiers, head):
        return True
    read = read_dataset(io.BytesIO(data_set), implicit, little)
    return any(_is_echo(identifiers, *element) for element in _values(read))


def _is_echo(identifiers: Identifiers, tag: int, vr: str, value: bytes) -> bool:
    text = value.decode("latin-1").strip(" \0")
    known = VOCABULARY.get(tag)
    if known is not None:
        parts = [part for part in text.split("\\") if part.strip().upper() not in known]
        return _search(identifiers, "\\".join(parts).encode("latin-1"))
    if tag != STACK_ID and vr not in NUMBERS | CODE_STRINGS and text in identifiers.short:
        return True
    if vr in NUMBERS:
        tokens = frozenset(t for t in identifiers.tokens if not _is_short_number(t))
        identifiers = replace(identifiers, tokens=tokens, short=frozenset())
    return _search(identifiers, value)


def _is_short_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= LONGEST_NUMBER


def _search(identifiers: Identifiers, value: bytes) -> bool:
    """Whole words, tokens and UIDs in a value, in each of the encodings of `_variants`."""
    lowered = value.lower()
    kinds = (
        (identifiers.words, rb"[a-z]"),
        (identifiers.tokens, rb"[0-9a-z]"),
        (identifiers.uids, rb"[0-9.]"),
    )
    for texts, inside in kinds:
        for text in texts:
            for variant in _variants(text):
                wide = b"\0" in variant
                edge = inside + rb"\0" if wide else inside
                pattern = rb"(?<!" + edge + rb")" + re.escape(variant) + rb"(?!" + edge + rb")"
                if variant in lowered and (not text.isascii() or re.search(pattern, lowered)):
                    return True
    return False


def _variants(text: str) -> set[bytes]:
    """The text as bytes, lowered as `bytes.lower` lowers: latin-1, UTF-8, UTF-16."""
    found: set[bytes] = set()
    for cased in {text, text.lower(), text.upper(), text.title()}:
        for codec in ("latin-1", "utf-8", "utf-16-le"):
            try:
                found.add(cased.encode(codec).lower())
            except UnicodeEncodeError:
                continue
    return found


def _words(name: str) -> Iterator[str]:
    """Parts of a name that mean somebody: 4 letters and more, of other scripts any."""
    for word in re.findall(r"[^\W\d_]+", unicodedata.normalize("NFC", name)):
        if len(word) >= SHORTEST_WORD or any(ord(letter) > 0x24F for letter in word):
            yield word


def _texts(data_set: Dataset, tag: int, encodings: list[str]) -> list[str]:
    raw = _raw(data_set, tag)
    if not raw:
        return []
    latin = raw.decode("latin-1").strip(" \0")
    if raw.isascii() and b"\x1b" not in raw:
        return [latin]
    return [latin, str(decode_bytes(raw, encodings, {"\\", "^", "="})).strip(" \0")]


def _encodings(character_set: bytes) -> list[str]:
    names = [name.strip(" \0") for name in character_set.decode("latin-1").split("\\")]
    try:
        return list(convert_encodings(names))
    except LookupError:
        return ["latin-1"]


def _raw(data_set: Dataset, tag: int) -> bytes:
    """The value bytes as they are in the file."""
    if tag not in data_set:
        return b""
    value = data_set.get_item(tag).value
    return value if isinstance(value, bytes) else str(value or "").encode("utf-8")


def _values(data_set: Dataset) -> Iterator[tuple[int, str, bytes]]:
    """Tag, VR and value bytes of every element that is not a sequence, at any depth."""
    for tag in list(data_set.keys()):
        raw = data_set.get_item(tag)
        vr = raw.VR or ""
        if vr == "SQ" or (not vr and data_set[tag].VR == "SQ"):
            for item in data_set[tag].value:
                yield from _values(item)
        elif isinstance(raw.value, bytes):
            yield int(tag), vr or str(data_set[tag].VR), raw.value
