"""The file format of PS3.10 section 7.1 around a data set that is never decoded."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

from pydicom.filereader import read_dataset

from pacstream import IMPLEMENTATION_UID, IMPLEMENTATION_VERSION
from pacstream.archive import UID
from pacstream.errors import RejectedError

PREAMBLE = b"\0" * 128 + b"DICM"
GROUP_LENGTH = struct.Struct("<HH2sHI")
COMPARED_AT_ONCE = 1 << 20
AFTER_META = 0x00030000


class FileMeta(NamedTuple):
    """What a file's own meta group says of it."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax: str


def file_meta(sop_class_uid: str, sop_instance_uid: str, transfer_syntax: str) -> bytes:
    """Preamble and file meta group, to be followed by the data set as it was received."""
    elements = (
        struct.pack("<HH2sHI", 0x0002, 0x0001, b"OB", 0, 2)
        + b"\0\1"
        + _short(0x0002, b"UI", sop_class_uid, b"\0")
        + _short(0x0003, b"UI", sop_instance_uid, b"\0")
        + _short(0x0010, b"UI", transfer_syntax, b"\0")
        + _short(0x0012, b"UI", IMPLEMENTATION_UID, b"\0")
        + _short(0x0013, b"SH", IMPLEMENTATION_VERSION, b" ")
    )
    return PREAMBLE + GROUP_LENGTH.pack(0x0002, 0x0000, b"UL", 4, len(elements)) + elements


def read_meta(file: BinaryIO) -> FileMeta:
    """Read the meta group of somebody else's file; the stream stands at the data set then.

    Raises RejectedError, code "unreadable", if it is no file of PS3.10 or a UID is missing.
    """
    if file.read(len(PREAMBLE))[128:] != b"DICM":
        raise _unreadable()
    try:
        meta = read_dataset(file, False, True, stop_when=lambda tag, vr, size: tag >= AFTER_META)
        uids = [str(meta[tag].value) for tag in (0x00020002, 0x00020003, 0x00020010)]
    except Exception as error:  # pydicom raises many kinds for bytes that are not DICOM
        raise _unreadable() from error
    if not all(UID.fullmatch(uid) for uid in uids):
        raise _unreadable()
    return FileMeta(*uids)


def same_data_set(one: Path, other: Path) -> bool:
    """Whether two files hold the same bytes after the file meta group."""
    with one.open("rb") as first, other.open("rb") as second:
        _skip_meta(first)
        _skip_meta(second)
        while True:
            left = first.read(COMPARED_AT_ONCE)
            if left != second.read(COMPARED_AT_ONCE):
                return False
            if not left:
                return True


def _short(element: int, vr: bytes, text: str, padding: bytes) -> bytes:
    value = text.encode("ascii")
    if len(value) % 2:
        value += padding
    return struct.pack("<HH2sH", 0x0002, element, vr, len(value)) + value


def _skip_meta(file: BinaryIO) -> None:
    """Every file of the incoming zone begins as `file_meta` writes it."""
    file.seek(len(PREAMBLE))
    *_, length = GROUP_LENGTH.unpack(file.read(GROUP_LENGTH.size))
    file.seek(length, 1)


def _unreadable() -> RejectedError:
    return RejectedError("a file's meta group can't be read", code="unreadable")
