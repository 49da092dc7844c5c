"""A folder that the user has: its files, which of them are DICOM instances, and why others are not.

The codes are those of `pacstream anonymize`, so that a file is called the same by each command.
"""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from struct import error as StructError  # noqa: N812

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from pacstream import durable
from pacstream.archive import PART_SUFFIX
from pacstream.skim import ITEM, PIXELS, SEQUENCE_END, UNDEFINED, Content, data_set_of, walk_of

PREFIX_AT, PREFIX = 128, b"DICM"
META_SCANNED = 1024
DIRECTORY = b"1.2.840.10008.1.3.10"
BARE_GROUPS = (b"\x02\0", b"\x08\0")
"""How a data set without preamble begins, in little endian."""

NO_INSTANCE = frozenset({"not_dicom", "empty", "dicomdir", "special_file"})
"""What is no instance: it is listed, and nobody waits for it."""


@dataclass(frozen=True)
class LeftOut:
    """A file of which nothing was made; `reason` is a code, and `detail` a DICOM keyword or tag if
    one is at fault."""

    path: str = field(repr=False)
    reason: str
    detail: str = ""

    @property
    def is_loss(self) -> bool:
        """Whether it is, or may be, an instance."""
        return self.reason not in NO_INSTANCE


class NotUsableError(Exception):
    """Why a file is left out."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


def files_below(root: Path) -> Iterator[tuple[Path, str]]:
    """All files in the order of their paths, with a reason for those that can't be looked into.

    Links to folders are not followed. Our own temporary files are not there.
    """
    unread: list[str] = []
    for folder, folders, names in os.walk(root, onerror=lambda e: unread.append(e.filename)):
        here = Path(folder)
        folders.sort()
        for name in folders:
            if (here / name).is_symlink():
                yield here / name, "linked_folder"
        for name in sorted(names):
            if not _is_temporary(name):
                yield here / name, _problem(here / name)
    for name in unread:
        yield Path(name), "no_access"


def _is_temporary(name: str) -> bool:
    return name.endswith(PART_SUFFIX) and name.startswith((".", durable.PREFIX))


def _problem(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return "no_access"
    if not stat.S_ISREG(status.st_mode):
        return "special_file"
    return "" if status.st_size else "empty"


def read_header(path: Path, tags: Collection[str] | None = None) -> Dataset:
    """The header of a whole Part 10 file with an instance: all of it, or the attributes `tags`.

    Raises NotUsableError.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as content:
            check_instance(content)
        return dcmread(path, stop_before_pixels=True, specific_tags=list(tags) if tags else None)
    except OSError:
        raise NotUsableError("no_access") from None
    except InvalidDicomError:
        raise NotUsableError("not_dicom") from None
    except NotUsableError:
        raise
    except Exception:  # noqa: BLE001 - pydicom raises anything on damaged files, and quotes values
        raise NotUsableError("unreadable") from None


def check_instance(content: Content) -> None:
    """Raises NotUsableError for what is no Part 10 file with an instance, or ends too early."""
    if content[PREFIX_AT : PREFIX_AT + len(PREFIX)] != PREFIX:
        bare = content[:2] in BARE_GROUPS or content[: len(PREFIX)] == PREFIX
        raise NotUsableError("no_preamble" if bare else "not_dicom")
    if DIRECTORY in content[:META_SCANNED]:
        raise NotUsableError("dicomdir")
    if is_cut(content):
        raise NotUsableError("truncated")


def is_cut(content: Content) -> bool:
    """Whether the file ends before its last element does. What can't be walked over is left to
    pydicom."""
    found = data_set_of(content)
    return found is not None and ends_early(content, found[1], found[0])


def ends_early(content: Content, start: int, syntax: str) -> bool:
    """The same of a data set that stands from `start` on in a transfer syntax that is known."""
    walk = walk_of(syntax)
    end = len(content)
    try:
        at = start
        while at < end:
            tag, _, value, length = walk.element(content, at)
            if tag in PIXELS and length == UNDEFINED:
                return _fragments_end(content, value, syntax) > end
            at = walk.after(content, value, length)
    except StructError:
        return True
    except (ValueError, KeyError):
        return False
    return at > end


def _fragments_end(content: Content, at: int, syntax: str) -> int:
    """Where encapsulated pixel data ends (PS3.5 section A.4). Raises struct.error if never."""
    walk = walk_of(syntax)
    while True:
        tag, _, value, length = walk.element(content, at)
        if tag == SEQUENCE_END:
            return value
        if tag != ITEM:
            raise ValueError("no fragment")
        at = value + length
