"""Info tables away from the images they describe, and back.

    DATA/sub-*/ses-*/*.csv    to the same place below another folder
    DATA/mapper.json

A table is at its new place, whole and durable, before it is removed where it was. Nothing is ever
overwritten.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pacstream.archive import PART_SUFFIX, flush_folder
from pacstream.durable import create_folder
from pacstream.errors import InputError, RetryLaterError
from pacstream_exporter.disk import copy_file, same_content

TABLES = "sub-*/ses-*/*.csv"
MAPPER = "mapper.json"
NO_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
"""Between two file systems, or on one without links."""

Progress = Callable[[int, int], None]
"""Told how many files of how many are through."""


@dataclass(frozen=True)
class Summary:
    """`moved` in this run; `there`: the same content was at its new place already, as after an
    interruption, so only the old file went."""

    moved: int
    there: int


class OccupiedError(InputError):
    """`paths` are the relative ones of files that stand in the way, with another content."""

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__(
            f"{len(paths)} of the files are in the target with another content; nothing was moved"
        )
        self.paths = list(paths)
        self.problems = ["move those of the target away, or remove them"]


def move_dumps(
    source: Path, target: Path, progress: Progress = lambda done, total: None
) -> Summary:
    """Move the tables below `source`, and mapper.json, to the same relative paths below `target`.

    Folders that are empty then go, too. Raises InputError if a folder is none or lies inside a
    patient's, OccupiedError before anything is moved, and RetryLaterError `disk`.
    """
    check_folders(source, target)
    found = sorted(path for path in source.glob(TABLES) if _is_table(path))
    found += [path for path in (source / MAPPER,) if _is_table(path)]
    names = [path.relative_to(source) for path in found]
    occupied = [
        name
        for name in names
        if os.path.lexists(target / name) and not _is_there(source / name, target / name)
    ]
    if occupied:
        raise OccupiedError(occupied)
    there = sum(os.path.lexists(target / name) for name in names)
    try:
        for done, name in enumerate(names, start=1):
            _move(source / name, target / name)
            _remove_empty(source, name)
            progress(done, len(names))
    except OSError as error:
        name_of = errno.errorcode.get(error.errno or 0, type(error).__name__)
        raise RetryLaterError(f"a file can't be moved ({name_of})", code="disk") from None
    return Summary(moved=len(names) - there, there=there)


def check_folders(source: Path, target: Path) -> None:
    """Raises InputError unless tables can go from one resolved path to the other."""
    if not source.is_dir():
        raise InputError("--data_folder is no folder")
    if target.exists() and not target.is_dir():
        raise InputError("--info_folder is no folder")
    if target == source:
        raise InputError("--info_folder is --data_folder: give another one")
    inner, outer = (target, source) if target.is_relative_to(source) else (source, target)
    if inner.is_relative_to(outer) and inner.relative_to(outer).parts[0].startswith("sub-"):
        raise InputError("one of the folders lies inside a patient's folder of the other")


def _is_there(source: Path, target: Path) -> bool:
    """One file with two names is what an interruption leaves; a link would lose its file."""
    is_one = not target.is_symlink() and target.is_file() and target.samefile(source)
    return is_one or same_content(source, target)


def _is_table(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _move(source: Path, target: Path) -> None:
    """A link never replaces what somebody else has put there meanwhile, as a rename would."""
    if not os.path.lexists(target):
        create_folder(target.parent)
        try:
            target.hardlink_to(source)
        except OSError as error:
            if error.errno not in NO_LINK:
                raise
            _copy(source, target)
        flush_folder(target.parent)
    source.unlink()


def _copy(source: Path, target: Path) -> None:
    part = target.with_name(f".{target.name}{PART_SUFFIX}")
    part.unlink(missing_ok=True)  # what a killed process left
    try:
        copy_file(source, part)
        shutil.copystat(source, part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.rename(target)
    finally:
        part.unlink(missing_ok=True)


def _remove_empty(root: Path, name: Path) -> None:
    for folder in list(name.parents)[:-1]:
        with contextlib.suppress(OSError):
            (root / folder).rmdir()
