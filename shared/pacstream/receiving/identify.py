"""Whose instance is it: the three UIDs from the received bytes, without decoding the data set."""

from __future__ import annotations

import zlib
from io import BytesIO
from typing import BinaryIO, NamedTuple

from pydicom.filereader import read_dataset

from pacstream.archive import UID
from pacstream.errors import RejectedError
from pacstream.skim import DEFLATED, EXPLICIT_BIG, IMPLICIT_LITTLE

SOP_INSTANCE, STUDY, SERIES = 0x00080018, 0x0020000D, 0x0020000E

INFLATED_HEADS = (1 << 16, 1 << 20, 1 << 24)
"""How much of a deflated data set is inflated, until the UIDs are there."""


class Identity(NamedTuple):
    """The UIDs inside a data set, in the order in which they stand there."""

    sop_instance_uid: str
    study_uid: str
    series_uid: str


def identify(data_set: BinaryIO, transfer_syntax: str) -> Identity:
    """Read an encoded data set from the stream's position up to (0020,000E).

    Raises RejectedError, code "unreadable", if it can't be parsed that far, or a UID is missing,
    cut, or has characters that PS3.5 section 9.1 does not allow.
    """
    implicit = transfer_syntax == IMPLICIT_LITTLE
    little = transfer_syntax != EXPLICIT_BIG
    if transfer_syntax not in DEFLATED:
        return _found(_Head(data_set, implicit, little))
    start = data_set.tell()
    for size in INFLATED_HEADS:
        data_set.seek(start)
        inflated = _inflate(data_set, size)
        head = _Head(BytesIO(inflated), implicit, little)
        if head.complete or len(inflated) < size:
            break
    return _found(head)


class _Head:
    """The parsed first elements; `complete` if an element beyond them was seen."""

    def __init__(self, stream: BinaryIO, implicit: bool, little: bool) -> None:
        self.complete = False
        try:
            self.elements = read_dataset(
                stream,
                implicit,
                little,
                stop_when=self._is_beyond,
                specific_tags=[SOP_INSTANCE, STUDY, SERIES],
            )
        except Exception as error:  # pydicom raises many kinds for bytes that are not DICOM
            raise _unreadable() from error

    def _is_beyond(self, tag: int, vr: str | None, length: int) -> bool:
        self.complete = tag > SERIES
        return self.complete


def _inflate(data_set: BinaryIO, size: int) -> bytes:
    # data that can't be compressed grow a little
    deflated = data_set.read(size + size // 16 + 64)
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(deflated, size)
    except zlib.error:
        raise _unreadable() from None


def _found(head: _Head) -> Identity:
    return Identity(*(_uid(head, tag) for tag in (SOP_INSTANCE, STUDY, SERIES)))


def _uid(head: _Head, tag: int) -> str:
    if tag not in head.elements:
        raise _unreadable()
    raw = head.elements.get_item(tag, keep_deferred=True)
    if not isinstance(raw.value, bytes) or len(raw.value) != raw.length:
        raise _unreadable()
    uid = raw.value.strip(b" \0").decode("ascii", "replace")
    if not UID.fullmatch(uid):
        raise _unreadable()
    return uid


def _unreadable() -> RejectedError:
    return RejectedError("a data set can't be read as far as its UIDs", code="unreadable")
