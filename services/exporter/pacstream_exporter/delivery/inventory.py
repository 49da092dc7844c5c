"""What lies in the folders that are to be delivered. Nothing is changed, links are not followed."""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info

from pacstream.archive import PART_SUFFIX
from pacstream.archive import UID as SAFE_UID
from pacstream.errors import InputError
from pacstream.skim import (
    ITEM,
    PIXELS,
    SEQUENCE_END,
    UNDEFINED,
    Walk,
    data_set_of,
    skim,
    walk_of,
)

PREFIX_END = 132
SOP_CLASS, SOP_INSTANCE = 0x00080016, 0x00080018
STUDY, SERIES = 0x0020000D, 0x0020000E
MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
ORDER = (SOP_CLASS, SOP_INSTANCE, STUDY, SERIES)
WANTED = frozenset(ORDER)
UNREADABLE, NO_UIDS, CONFLICT = "unreadable", "uids_missing", "uid_conflict"
META_DIFFERS = "file_meta_differs"
NOT_DICOM, LINK, DUPLICATE, DIRECTORY = "not_dicom", "link", "duplicate", "dicomdir"


@dataclass(frozen=True)
class Identity:
    """What a Part 10 file says of itself."""

    sop_class: str
    sop_instance: str
    study: str
    series: str
    transfer_syntax: str


@dataclass(frozen=True)
class Item:
    """A file; `name` is its path in the folder, with slashes. `identity` is None if it is no
    instance, which only stores of files take."""

    path: Path
    name: str
    size: int
    identity: Identity | None = field(default=None, repr=False)

    @property
    def key(self) -> str:
        """What a journal calls it."""
        return self.identity.sop_instance if self.identity else self.name

    @property
    def instance(self) -> Identity:
        """Raises TypeError for a file that is no instance."""
        if self.identity is None:
            raise TypeError("no instance")
        return self.identity


@dataclass
class Inventory:
    """`left_out`: files that are none of those wanted, by reason; `broken`: what should be
    delivered and can't, with the reason."""

    items: list[Item] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    broken: list[tuple[Item, str]] = field(default_factory=list)

    @property
    def files(self) -> int:
        return len(self.items) + self.left_out.total() + len(self.broken)


def take_stock(
    places: Iterable[Path], *, instances_only: bool, root: Path | None = None
) -> Inventory:
    """All files below the folders, and files that are named themselves, in the order of their
    names; what a writer has not finished (`.….part`) is none. With `instances_only` each SOP
    Instance UID once. Names are relative to `root`; without it, to the folder.

    Raises InputError if a folder can't be read, or two files have one name.
    """
    stock = Inventory()
    for item in _files(list(places), root):
        if item.path.is_symlink():
            stock.left_out[LINK] += 1
        elif instances_only:
            _take_instance(stock, item)
        else:
            stock.items.append(item)
    return _unique(stock) if instances_only else stock


def digest_of(path: Path) -> str:
    """SHA-256 of the whole file, in hexadecimal digits. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(places: list[Path], root: Path | None) -> Iterator[Item]:
    seen: set[str] = set()
    for place in places:
        is_file = place.is_file()
        if not is_file and not place.is_dir():
            raise InputError("a folder that is to be delivered is none, or can't be read")
        for path in [place] if is_file else _walk(place):
            name = path.relative_to(root or (place.parent if is_file else place)).as_posix()
            if name in seen:
                raise InputError("two folders hold a file of one name: deliver them one by one")
            seen.add(name)
            yield Item(path, name, path.lstat().st_size)


def _walk(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise InputError(f"a folder can't be read ({type(error).__name__})") from None

    for place, below, names in os.walk(folder, onerror=refuse):
        below[:] = sorted(one for one in below if not one.startswith("."))
        links = [one for one in below if Path(place, one).is_symlink()]
        for name in sorted([*names, *links]):
            if not (name.startswith(".") and name.endswith(PART_SUFFIX)):
                yield Path(place, name)


def _take_instance(stock: Inventory, item: Item) -> None:
    try:
        found = identify(item.path)
    except (OSError, ValueError) as error:
        reason = error.args[0] if isinstance(error, _BadFileError) else UNREADABLE
        stock.broken.append((item, reason))
        return
    if found is None:
        stock.left_out[NOT_DICOM] += 1
    elif found.sop_class == MEDIA_STORAGE_DIRECTORY:
        stock.left_out[DIRECTORY] += 1
    else:
        stock.items.append(Item(item.path, item.name, item.size, found))


class _BadFileError(ValueError):
    """Its argument is the reason code."""


def identify(path: Path) -> Identity | None:
    """None if it is no Part 10 file (PS3.10 section 7.1). Raises OSError, ValueError."""
    with path.open("rb") as file:
        if not file.read(PREFIX_END).endswith(b"DICM"):
            return None
    try:
        meta = read_file_meta_info(path)
        sop_class, sop_instance, study, series = _uids(path)
    except _UNREADABLE:
        raise _BadFileError(UNREADABLE) from None
    syntax = str(meta.get("TransferSyntaxUID", ""))
    announced = [
        str(meta.get(keyword, ""))
        for keyword in ("MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID")
    ]
    if announced[0] == MEDIA_STORAGE_DIRECTORY:
        return Identity(MEDIA_STORAGE_DIRECTORY, "", "", "", syntax)
    uids = (sop_class, sop_instance, study, series, syntax)
    if not all(SAFE_UID.fullmatch(uid) for uid in uids):
        raise _BadFileError(NO_UIDS)
    # What a C-STORE request announces has to be what is sent (PS3.7 section 9.1.1.1).
    if announced != [sop_class, sop_instance]:
        raise _BadFileError(META_DIFFERS)
    return Identity(*uids)


_UNREADABLE = (
    InvalidDicomError, EOFError, ValueError, KeyError, AttributeError, TypeError,
    NotImplementedError, RecursionError, OverflowError, struct.error,
)  # fmt: skip
"""What pydicom raises for bytes that it does not understand."""


def _uids(path: Path) -> tuple[str, ...]:
    """SOP class, SOP instance, study and series of the data set, which has to be whole."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as content:
        skimmed = skim(content, WANTED)
        if skimmed is not None:
            _check_whole(content)
            values = (skimmed.elements.get(tag, (b"", b""))[1] for tag in ORDER)
            return tuple(value.decode("ascii").strip(" \0") for value in values)
    # The walk over the headers leaves to pydicom what it is not sure of.
    read = dcmread(path, defer_size=1 << 16)
    return tuple(str(read[tag].value) if tag in read else "" for tag in ORDER)


def _check_whole(content: mmap.mmap) -> None:
    """Raises ValueError or struct.error if the pixel data end behind the file's end."""
    found = data_set_of(content)
    if found is None:
        return
    walk = walk_of(found[0])
    for tag, _, at, _, _ in walk.elements(content, found[1], len(content)):
        if tag in PIXELS:
            _, _, value, length = walk.element(content, at)
            stop = value + length if length != UNDEFINED else _after_fragments(walk, content, value)
            if stop > len(content):
                raise ValueError("cut")


def _after_fragments(walk: Walk, content: mmap.mmap, at: int) -> int:
    """Behind the delimiter of encapsulated pixel data (PS3.5 section A.4)."""
    while True:
        tag, _, value, length = walk.element(content, at)
        if tag == SEQUENCE_END:
            return value
        if tag != ITEM or length == UNDEFINED:
            raise ValueError("no fragment")
        at = value + length


def _unique(stock: Inventory) -> Inventory:
    """The same bytes twice are delivered once; other bytes under a known UID are a conflict."""
    first: dict[str, Item] = {}
    kept: list[Item] = []
    for item in stock.items:
        other = first.setdefault(item.key, item)
        if other is item:
            kept.append(item)
        elif other.size == item.size and digest_of(other.path) == digest_of(item.path):
            stock.left_out[DUPLICATE] += 1
        else:
            stock.broken.append((item, CONFLICT))
    stock.items = kept
    return stock
