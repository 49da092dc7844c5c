"""File Meta Information (PS3.10 section 7.1): read for what is needed, written from nothing."""

from __future__ import annotations

import functools
import struct
from dataclasses import dataclass

from pacstream import IMPLEMENTATION_UID, IMPLEMENTATION_VERSION
from pacstream_anonymizer.cleaner import value_of
from pacstream_anonymizer.encoding import EXPLICIT_LITTLE, NATIVE
from pacstream_anonymizer.parser import Content, Element, Parser
from pacstream_anonymizer.refusal import Refusal
from pacstream_anonymizer.serializer import serialize

PREAMBLE = 128
MAGIC = b"DICM"


@dataclass(frozen=True)
class FileMeta:
    """What group 2 says, and where the data set starts."""

    transfer_syntax: str
    end: int


def read_file_meta(content: Content, size: int) -> FileMeta:
    """Refusal if this is no DICOM file, or one that does not name its transfer syntax."""
    start = PREAMBLE + len(MAGIC)
    if size < start or bytes(content[PREAMBLE:start]) != MAGIC:
        raise Refusal("not_dicom")
    elements, end = Parser(content).group_two(start, size)
    transfer_syntax = uid_text(value_of(elements, 0x00020010))
    if not transfer_syntax:
        raise Refusal("unreadable")
    return FileMeta(transfer_syntax, end)


def write_file_meta(sop_class_uid: str, sop_instance_uid: str, transfer_syntax: str) -> bytes:
    """A zeroed preamble, the prefix, and group 2 with nothing of the original but three UIDs."""
    before, after = _around(sop_class_uid, transfer_syntax)
    group = before + _written(Element(0x00020003, "UI", sop_instance_uid.encode("ascii"))) + after
    length = _written(Element(0x00020000, "UL", struct.pack("<L", len(group))))
    return bytes(PREAMBLE) + MAGIC + length + group


@functools.lru_cache(maxsize=64)
def _around(sop_class_uid: str, transfer_syntax: str) -> tuple[bytes, bytes]:
    """What stands before and behind the instance's UID."""
    before = (
        Element(0x00020001, "OB", b"\0\1"),
        Element(0x00020002, "UI", sop_class_uid.encode("ascii")),
    )
    after = (
        Element(0x00020010, "UI", transfer_syntax.encode("ascii")),
        Element(0x00020012, "UI", IMPLEMENTATION_UID.encode("ascii")),
        Element(0x00020013, "SH", IMPLEMENTATION_VERSION.encode("ascii")),
    )
    return _written(*before), _written(*after)


def _written(*elements: Element) -> bytes:
    return serialize(list(elements), NATIVE[EXPLICIT_LITTLE])


def uid_text(value: bytes | None) -> str:
    """A UI value without its padding; empty if there is none."""
    return (value or b"").decode("latin-1").strip(" \0")
