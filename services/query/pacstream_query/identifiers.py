"""C-FIND identifiers (PS3.4 section C.4.1): what we ask, and what an answer says as plain text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydicom import config
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS

from pacstream import archive
from pacstream_query.columns import NUMBER_VRS, UNDIVIDED_VRS, Level, tag_of

UNIQUE_KEY: dict[Level, str] = {
    "STUDY": "StudyInstanceUID",
    "SERIES": "SeriesInstanceUID",
    "IMAGE": "SOPInstanceUID",
}
PADDING = " \0"
DEFAULT_REPERTOIRE = ("", "ISO_IR 6", "ISO 2022 IR 6")
UTF_8 = ("ISO_IR 192",)
OLDER_SETS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("ISO_IR 100",), "latin_1"),
    (("", "ISO 2022 IR 87"), "iso2022_jp"),
    (("", "ISO 2022 IR 149"), "euc_kr"),
    (("GB18030",), "gb18030"),
)
"""Specific Character Sets (PS3.3 section C.12.1.1.2) for a PACS that finds nothing by UTF-8."""
NAME_DELIMITERS = PN_DELIMS | TEXT_VR_DELIMS | {ord("\\"), ord("=")}
ESCAPE_OF_GB2312 = re.compile(r"\x1b\$\)A")
"""pydicom decodes ISO 2022 IR 58 and leaves its escape sequences in the text."""
BINARY_NUMBERS = NUMBER_VRS - {"DS", "IS"}
TEXT_DELIMITERS = TEXT_VR_DELIMS | {ord("\\")}


@dataclass(frozen=True)
class FindRequest:
    """One C-FIND: keyword -> key; an empty key only asks for the attribute."""

    level: Level
    keys: Mapping[str, str]

    def character_sets(self) -> tuple[tuple[str, ...], ...]:
        """The character sets to try, in this order, until one finds something; () is ASCII."""
        text = "".join(self.keys.values())
        if text.isascii():
            return ((),)
        older = [terms for terms, codec in OLDER_SETS if _encodes(codec, text)]
        if OLDER_SETS[0][0] in older:
            older = older[:1]
        return (UTF_8, *older)

    def identifier(self, character_set: tuple[str, ...] = ()) -> Dataset:
        """The data set to send, with its text in `character_set`."""
        identifier = Dataset()
        identifier.QueryRetrieveLevel = self.level
        if character_set:
            identifier.SpecificCharacterSet = list(character_set)
        for keyword, key in self.keys.items():
            vr = vr_of(keyword)
            value = sent(vr, key)
            identifier.add(DataElement(tag_of(keyword), vr, value, validation_mode=config.IGNORE))
        return identifier

    def without(self, keywords: frozenset[str]) -> FindRequest:
        return FindRequest(self.level, {k: v for k, v in self.keys.items() if k not in keywords})


def _encodes(codec: str, text: str) -> bool:
    try:
        text.encode(codec)
    except UnicodeEncodeError:
        return False
    return True


def vr_of(keyword: str) -> str:
    return str(dictionary_VR(tag_of(keyword)))


def sent(vr: str, key: str) -> str:
    """What is sent of a key; empty where the PACS can't match it and we do."""
    if vr == "TM":
        return time_range(key)
    if vr == "IS":
        return _integer_string(key)
    return "" if vr in NUMBER_VRS - {"DS"} else key


def time_range(key: str) -> str:
    """A TM key as a range of full precision.

    Orthanc and dcmqrscp compare times as text, so a key of 101112 would miss the value
    101112.187000 that scanners write, and 1011 would miss both.
    """
    low, dash, high = key.partition("-")
    if not key or "." in key:
        return key
    high = high if dash else low
    start = low.ljust(6, "0") if low else ""
    end = high + "235959"[len(high) :] + ".999999" if high else ""
    return f"{start}-{end}"


def _integer_string(key: str) -> str:
    return key if re.fullmatch(r"[+-]?\d{1,11}", key) else ""


@dataclass(frozen=True)
class Answer:
    """What one C-FIND answer told: keyword -> values; a keyword that is absent was not returned."""

    values: Mapping[str, tuple[str, ...]]

    @classmethod
    def from_json(cls, text: str) -> Answer:
        return cls({keyword: tuple(values) for keyword, values in json.loads(text).items()})

    def to_json(self) -> str:
        return json.dumps(self.values, sort_keys=True)

    def holds(self, keyword: str) -> bool:
        return keyword in self.values

    def text(self, keyword: str) -> str:
        """The whole value with backslashes between values, or empty."""
        return "\\".join(self.values.get(keyword, ()))


def read_answer(identifier: Dataset | None, request: FindRequest) -> Answer | None:
    """What an answer says of the keywords asked, and of PatientID.

    None if it can't be decoded, is of another level, or lacks its unique key. Bytes that are wrong
    in their character set become replacement characters; nothing is raised.
    """
    if identifier is None:
        return None
    encodings = _encodings(identifier)
    unique_key = UNIQUE_KEY[request.level]
    found = {
        keyword: values
        for keyword in {*request.keys, unique_key, "PatientID", "QueryRetrieveLevel"}
        if (values := _values(identifier, keyword, encodings)) is not None
    }
    answer = Answer(found)
    if answer.text("QueryRetrieveLevel") not in ("", request.level):
        return None
    return answer if archive.UID.fullmatch(answer.text(unique_key)) else None


def _values(
    identifier: Dataset, keyword: str, encodings: list[str] | None
) -> tuple[str, ...] | None:
    """None: not in the answer. The raw bytes are read, since pydicom raises on a wrong IS or DA."""
    tag = tag_of(keyword)
    element: Any = identifier.get_item(tag)
    if element is None:
        return None
    vr = dictionary_VR(tag)
    if not element.is_raw or vr in BINARY_NUMBERS:
        texts = _converted(identifier[tag] if element.is_raw else element)
    else:
        text = _decoded(element.value or b"", vr, encodings)
        texts = [text] if vr in UNDIVIDED_VRS else text.split("\\")
    stripped = tuple(text.strip(PADDING) for text in texts)
    return stripped if any(stripped) else ()


def _converted(element: DataElement) -> list[str]:
    parts = element.value if element.VM > 1 else [element.value]
    return ["" if part is None else str(part) for part in parts]


def _decoded(value: bytes, vr: str, encodings: list[str] | None) -> str:
    if encodings is not None:
        delimiters = NAME_DELIMITERS if vr == "PN" else TEXT_DELIMITERS
        return ESCAPE_OF_GB2312.sub("", decode_bytes(value, encodings, delimiters))
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _encodings(identifier: Dataset) -> list[str] | None:
    """None if the answer names no character set: then it is ASCII, or a PACS forgot to say."""
    names = _values(identifier, "SpecificCharacterSet", None) or ("",)
    if len(names) == 1 and names[0] in DEFAULT_REPERTOIRE:
        return None
    return list(convert_encodings(list(names)))
