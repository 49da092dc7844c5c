"""A DICOMDIR as bytes (PS3.10 section 8.6, PS3.3 Annex F).

Records link to one another by their place in the file. In the encoding of a DICOMDIR (explicit VR
little endian) the links stand at the same place of each record, so records are kept as bytes, far
smaller than data sets, and linked when all are known.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import ExplicitVRLittleEndian, MediaStorageDirectoryStorage

NEXT_AT, LOWER_AT = 8, 30
"""Where the values of (0004,1400) and (0004,1420) stand in a record: they are its first and third
element, and between them is (0004,1410) of 10 bytes."""
ITEM_HEAD = 8
SEQUENCE_HEAD = 12
IN_USE = 0xFFFF


@dataclass
class Node:
    """A directory record and those below it."""

    record: bytes
    below: list[Node] = field(default_factory=list)


def encoded(record: Dataset) -> bytes:
    """A record with its links open."""
    record.OffsetOfTheNextDirectoryRecord = 0
    record.RecordInUseFlag = IN_USE
    record.OffsetOfReferencedLowerLevelDirectoryEntity = 0
    return _bytes_of(record)


def dicomdir(nodes: Sequence[Node], file_set_id: str, uid: str) -> bytes:
    """The whole file, with its preamble.

    Raises ValueError if its records are longer than a sequence can be (4 GB).
    """
    head = _head(file_set_id, uid, 0, 0)
    places: dict[int, int] = {}
    at = len(head) + SEQUENCE_HEAD
    for node in _walk(nodes):
        places[id(node)] = at
        at += ITEM_HEAD + len(node.record)
    length = at - len(head) - SEQUENCE_HEAD
    if length >= 0xFFFFFFFF:
        raise ValueError("too many records for one DICOMDIR")
    parts = [
        _head(file_set_id, uid, *(places[id(one)] for one in (nodes[0], nodes[-1]))),
        struct.pack("<HH2sHI", 0x0004, 0x1220, b"SQ", 0, length),
    ]
    for node, following in _linked(nodes):
        parts.append(struct.pack("<HHI", 0xFFFE, 0xE000, len(node.record)))
        parts.append(_with_links(node, following, places))
    return b"".join(parts)


def _with_links(node: Node, following: Node | None, places: dict[int, int]) -> bytes:
    record = bytearray(node.record)
    if following is not None:
        struct.pack_into("<I", record, NEXT_AT, places[id(following)])
    if node.below:
        struct.pack_into("<I", record, LOWER_AT, places[id(node.below[0])])
    return bytes(record)


def _walk(nodes: Sequence[Node]) -> Iterator[Node]:
    for node in nodes:
        yield node
        yield from _walk(node.below)


def _linked(nodes: Sequence[Node]) -> Iterator[tuple[Node, Node | None]]:
    """Each node, in the order of `_walk`, with the next one of the same level."""
    for node, following in itertools.zip_longest(nodes, nodes[1:]):
        yield node, following
        yield from _linked(node.below)


def _head(file_set_id: str, uid: str, first: int, last: int) -> bytes:
    """All that stands before the sequence of records; as long whatever the links are."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    meta.MediaStorageSOPInstanceUID = uid
    root = Dataset()
    root.FileSetID = file_set_id
    root.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = first
    root.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = last
    root.FileSetConsistencyFlag = 0
    buffer = DicomBytesIO()
    write_file_meta_info(buffer, meta, enforce_standard=True)
    written: bytes = buffer.getvalue()
    return bytes(128) + b"DICM" + written + _bytes_of(root)


def _bytes_of(data_set: Dataset) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, data_set)
    written: bytes = buffer.getvalue()
    return written
