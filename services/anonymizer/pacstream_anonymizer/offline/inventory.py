"""What lies in a folder: instances with what is needed to plan their release, and the rest."""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pacstream import durable
from pacstream.charsets import decode, encodings_of
from pacstream.skim import Content, skim
from pacstream_anonymizer import refusal
from pacstream_anonymizer.deidentifier import read_original
from pacstream_anonymizer.file_meta import MAGIC, PREAMBLE, uid_text
from pacstream_anonymizer.offline import reasons
from pacstream_anonymizer.refusal import Refusal

CHARACTER_SET, IMAGE_TYPE, SOP_INSTANCE = 0x00080005, 0x00080008, 0x00080018
STUDY_DATE, STUDY_TIME, MODALITY = 0x00080020, 0x00080030, 0x00080060
PATIENT_ID, ISSUER = 0x00100020, 0x00100021
STUDY, SERIES, NUMBER = 0x0020000D, 0x0020000E, 0x00200011
TAGS = frozenset(
    {
        CHARACTER_SET,
        IMAGE_TYPE,
        SOP_INSTANCE,
        STUDY_DATE,
        STUDY_TIME,
        MODALITY,
        PATIENT_ID,
        ISSUER,
        STUDY,
        SERIES,
        NUMBER,
    }
)
DIRECTORY = b"1.2.840.10008.1.3.10"
"""Media Storage Directory Storage: a DICOMDIR (PS3.10 section 8.6)."""
META_SCANNED = 1024
BARE_GROUPS = (b"\x02\0", b"\x08\0")
"""How a data set without preamble begins, in little endian."""


@dataclass(frozen=True)
class File:
    """A file below the folder; `path` is relative to it."""

    path: str = field(repr=False)
    size: int = 0
    mtime_ns: int = 0


@dataclass(frozen=True)
class Instance:
    """An instance as its header tells it."""

    file: File
    sop_instance_uid: str
    study_uid: str
    series_uid: str
    patient_id: str = field(repr=False)
    issuer: str = field(repr=False)
    study_date: str = field(repr=False)
    study_time: str = field(repr=False)
    modality: str
    number: str
    image_type: tuple[str, ...]


@dataclass(frozen=True)
class Unplanned:
    """A file that is not released; `reason` is of `refusal` or of `reasons`."""

    file: File
    reason: str

    def __post_init__(self) -> None:
        if self.reason not in refusal.REASONS | reasons.REASONS:
            raise ValueError("not a reason code")


@dataclass(frozen=True)
class Inventory:
    instances: list[Instance] = field(default_factory=list)
    rest: list[Unplanned] = field(default_factory=list)


def take_inventory(root: Path, without: Collection[Path], known: Collection[str]) -> Inventory:
    """Read all files below `root`, but for folders `without` and the relative paths `known`."""
    inventory = Inventory()
    for file, reason in _files(root, without):
        if file.path in known:
            continue
        found = Unplanned(file, reason) if reason else read(root, file)
        if isinstance(found, Instance):
            inventory.instances.append(found)
        else:
            inventory.rest.append(found)
    return inventory


def _files(root: Path, without: Collection[Path]) -> Iterator[tuple[File, str]]:
    """Files in the order of their paths, and a reason for those that can't be looked into."""
    unread: list[str] = []
    for folder, folders, names in os.walk(root, onerror=lambda e: unread.append(e.filename)):
        here = Path(folder)
        for name in folders:
            if (here / name).is_symlink():
                yield File(str((here / name).relative_to(root))), "linked_folder"
        folders[:] = sorted(name for name in folders if here / name not in without)
        for name in sorted(names):
            if not name.startswith(durable.PREFIX):
                yield _file(root, here / name)
    for name in unread:
        yield File(str(Path(name).relative_to(root))), "no_access"


def _file(root: Path, path: Path) -> tuple[File, str]:
    relative = str(path.relative_to(root))
    try:
        status = path.stat()
    except OSError:
        return File(relative), "no_access"
    file = File(relative, status.st_size, status.st_mtime_ns)
    if not stat.S_ISREG(status.st_mode):
        return file, "special_file"
    return file, "" if status.st_size else "empty"


def read(root: Path, file: File) -> Instance | Unplanned:
    """The header of one file. Whatever goes wrong, the file is not released."""
    try:
        with (
            (root / file.path).open("rb") as opened,
            mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as content,
        ):
            reason = _kind(content)
            return Unplanned(file, reason) if reason else _instance(file, content)
    except Refusal as refused:
        return Unplanned(file, refused.reason)
    except OSError:
        return Unplanned(file, "no_access")
    except Exception:  # noqa: BLE001 - as in Release.add: what can't be read is not released
        return Unplanned(file, "error")


def _kind(content: Content) -> str:
    """Why this is no Part 10 file with an instance; empty if it may be one."""
    if content[PREAMBLE : PREAMBLE + len(MAGIC)] != MAGIC:
        bare = content[:2] in BARE_GROUPS or content[: len(MAGIC)] == MAGIC
        return "no_preamble" if bare else "not_dicom"
    return "dicomdir" if DIRECTORY in content[:META_SCANNED] else ""


def _instance(file: File, content: Content) -> Instance:
    """Raises Refusal for what the de-identifier can't read either, or has no UIDs."""
    values = _values(content)
    codecs = encodings_of(values.get(CHARACTER_SET, b""))

    def text(tag: int) -> str:
        return decode(values.get(tag, b""), codecs)

    uids = [uid_text(values.get(tag)) for tag in (SOP_INSTANCE, STUDY, SERIES)]
    if not all(uids):
        raise Refusal("uid_mismatch")
    kinds = text(IMAGE_TYPE).upper().split("\\")
    return Instance(
        file,
        sop_instance_uid=uids[0],
        study_uid=uids[1],
        series_uid=uids[2],
        patient_id=text(PATIENT_ID),
        issuer=text(ISSUER),
        study_date=text(STUDY_DATE),
        study_time=text(STUDY_TIME),
        modality=text(MODALITY),
        number=text(NUMBER),
        image_type=tuple(kind.strip() for kind in kinds),
    )


def _values(content: Content) -> Mapping[int, bytes]:
    skimmed = skim(content, TAGS)
    if skimmed is not None:
        return {tag: value for tag, (_, value) in skimmed.elements.items()}
    elements = read_original(content).elements
    return {one.tag: one.value for one in elements if one.tag in TAGS and one.items is None}
