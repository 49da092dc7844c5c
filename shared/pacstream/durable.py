"""Files that become durable in groups: all are written, then all flushed, then each gets its name.

One by one, every file waits for the disk by itself; in a group the disk works on all at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from pacstream.archive import PART_SUFFIX, flush_folder

PREFIX = ".group-"
SYNC_FILE_RANGE_WRITE = 2


@dataclass(frozen=True)
class _Part:
    """A temporary file, locked for as long as `file` is open."""

    path: Path
    file: BinaryIO
    target: Path

    def discard(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        self.file.close()


class FileGroup:
    """Writes files of which none has its name before it is whole and durable.

    `writing` for each of them, then `commit`. What is not committed when the block ends is removed,
    and what a killed process left in a folder goes when the next group writes there.
    """

    def __init__(self) -> None:
        self._parts: list[_Part] = []
        self._folders: set[Path] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while self._parts:
            self._parts.pop().discard()

    @contextlib.contextmanager
    def scratch(self, folder: Path) -> Iterator[tuple[Path, BinaryIO]]:
        """An empty file in `folder` for what is to become part of another one there; gone with the
        block, or with the process."""
        part = self._new_part(folder / "scratch")
        try:
            yield part.path, part.file
        finally:
            part.discard()

    @contextlib.contextmanager
    def writing(self, target: Path) -> Iterator[BinaryIO]:
        """A file to write the whole content of `target` to; no part of the group if that fails."""
        part = self._new_part(target)
        try:
            yield part.file
            part.file.flush()
            start_write_back([part.file.fileno()])
        except BaseException:
            part.discard()
            raise
        self._parts.append(part)

    def commit(self) -> dict[Path, OSError]:
        """Flush all files, give each its name, flush the folders once: the targets that failed.

        The failure of one stops no other. A failed target holds what it held before, or the new
        content without the promise that it survives the machine.
        """
        parts, self._parts = self._parts, []
        failed: dict[Path, OSError] = {}
        named = [part.target for part in parts if _named(part, failed)]
        for folder in dict.fromkeys(target.parent for target in named):
            try:
                flush_folder(folder)
            except OSError as error:
                failed |= {target: error for target in named if target.parent == folder}
        return failed

    def _new_part(self, target: Path) -> _Part:
        folder = target.parent
        if folder not in self._folders:
            create_folder(folder)
            remove_abandoned(folder)
            self._folders.add(folder)
        while True:
            path = folder / f"{PREFIX}{os.urandom(16).hex()}{PART_SUFFIX}"
            file = path.open("x+b")
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_nlink:
                return _Part(path, file, target)
            # Another process took it for abandoned, in the moment before it was locked.
            file.close()


def _named(part: _Part, failed: dict[Path, OSError]) -> bool:
    try:
        os.fdatasync(part.file.fileno())
        part.path.replace(part.target)
    except OSError as error:
        failed[part.target] = error
        part.discard()
        return False
    part.file.close()
    return True


def create_folder(folder: Path) -> None:
    """Make a folder and those it lies in; durable on return."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        flush_folder(made.parent)


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files of groups whose processes are dead: nobody holds their locks."""
    with os.scandir(folder) as entries:
        left = [Path(one.path) for one in entries if one.name.startswith(PREFIX)]
    for path in left:
        # Its writer may give it its name meanwhile, or another process may remove it.
        with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def start_write_back(handles: Iterable[int]) -> None:
    """Let the disk work on these open files while others are written or waited for (Linux)."""
    if _sync_file_range is None:
        return
    for handle in handles:
        _sync_file_range(handle, 0, 0, SYNC_FILE_RANGE_WRITE)


def _find_sync_file_range() -> Callable[[int, int, int, int], int] | None:
    function = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if function is None:
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    found: Callable[[int, int, int, int], int] = function
    return found


_sync_file_range = _find_sync_file_range()
