"""C-FIND identifiers (PS3.4 section C.4.1): what we ask, and what an answer says as plain text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydicom import config
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.valuerep import TEXT_VR_DELIMS

from pacstream import archive
from pacstream_query.columns import Level

UNIQUE_KEY: dict[Level, str] = {
    "STUDY": "StudyInstanceUID",
    "SERIES": "SeriesInstanceUID",
    "IMAGE": "SOPInstanceUID",
}
PADDING = " \0"
DEFAULT_REPERTOIRE = ("", "ISO_IR 6", "ISO 2022 IR 6")


@dataclass(frozen=True)
class FindRequest:
    """One C-FIND: keyword -> key; an empty key only asks for the attribute."""

    level: Level
    keys: Mapping[str, str]

    def identifier(self) -> Dataset:
        """The data set to send; as UTF-8 if a key needs more than ASCII (PS3.3 C.12.1.1.2)."""
        identifier = Dataset()
        identifier.QueryRetrieveLevel = self.level
        if not all(key.isascii() for key in self.keys.values()):
            identifier.SpecificCharacterSet = "ISO_IR 192"
        for keyword, key in self.keys.items():
            vr = dictionary_VR(keyword)
            identifier.add(
                DataElement(
                    tag_for_keyword(keyword), vr, _sent(vr, key), validation_mode=config.IGNORE
                )
            )
        return identifier


def _sent(vr: str, key: str) -> str:
    if vr == "TM":
        return time_range(key)
    return _integer_string(key) if vr == "IS" else key


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
    element: Any = identifier.get_item(tag_for_keyword(keyword))
    if element is None:
        return None
    if not element.is_raw:
        value = element.value
        parts = value if element.VM > 1 else [value]
        texts = ["" if part is None else str(part) for part in parts]
    else:
        texts = _decoded(element.value or b"", encodings).split("\\")
    stripped = tuple(text.strip(PADDING) for text in texts)
    return stripped if any(stripped) else ()


def _decoded(value: bytes, encodings: list[str] | None) -> str:
    if encodings is not None:
        return str(decode_bytes(value, encodings, TEXT_VR_DELIMS))
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
