"""The processes that receive into one trusted zone, and what dead ones left behind.

Each process holds a lock on its own file DATA/run/receiver.<token>.lock while it lives; its
temporary files are named .<token>.<number>.part, and are read-only once they are whole. A token
begins with the boot of the machine.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pacstream.archive import PART_SUFFIX, Archive

PREFIX, SUFFIX = "receiver.", ".lock"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Leftovers(NamedTuple):
    """Of dead processes: files to be kept, and how many were removed."""

    whole: list[Path]
    removed: int


def boot() -> str:
    """Eight characters that change when the machine is started."""
    try:
        return BOOT_ID.read_text("ascii")[:8]
    except OSError:
        # no Linux: nothing that was not flushed is trusted after a restart
        return uuid.uuid4().hex[:8]


class Presence:
    """This process's token and lock."""

    def __init__(self, run: Path) -> None:
        run.mkdir(parents=True, exist_ok=True)
        self.token = f"{boot()}-{uuid.uuid4().hex}"
        self._path = run / f"{PREFIX}{self.token}{SUFFIX}"
        # Locked before it has its name, so no sibling ever sees it unlocked.
        part = run / f".{self.token}{PART_SUFFIX}"
        self._handle = os.open(part, os.O_CREAT | os.O_RDWR, 0o640)
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        os.write(self._handle, str(os.getpid()).encode())
        part.rename(self._path)

    def end(self) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._handle)


def living(run: Path) -> dict[str, int]:
    """Token and process id of each process that lives; the files of dead ones are removed."""
    found: dict[str, int] = {}
    for path in run.glob(f"{PREFIX}*{SUFFIX}"):
        try:
            with path.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    token = path.name.removeprefix(PREFIX).removesuffix(SUFFIX)
                    found[token] = int(file.read() or b"0")
                else:
                    path.unlink()
        except FileNotFoundError:
            continue  # a sibling ended or cleaned up at the same time
    return found


def take_over(archive: Archive, token: str, tokens: set[str], before: float) -> Leftovers:
    """Whole files of dead processes, as files of `token` now; what is not whole is removed.

    `tokens` are those of the living, this process among them. Files younger than `before` (Unix
    time) stay: their process may have started just now. What was not flushed when the machine went
    down may have lost its content, and is removed too; a file that has its final name was flushed
    before it got it.
    """
    whole: list[Path] = []
    removed = 0
    for part in _left_behind(archive, tokens):
        mine = part.with_name(f".{token}.inherited-{len(whole)}{PART_SUFFIX}")
        try:
            status = part.stat()
            if status.st_mtime >= before:
                continue
            if _is_whole(part, status):
                part.rename(mine)
                whole.append(mine)
            else:
                part.unlink()
                removed += 1
        except FileNotFoundError:
            continue  # a sibling was quicker
    return Leftovers(whole, removed)


def _is_whole(part: Path, status: os.stat_result) -> bool:
    same_boot = part.name.startswith(f".{boot()}-")
    return not status.st_mode & 0o222 and (same_boot or status.st_nlink > 1)


def _left_behind(archive: Archive, tokens: set[str]) -> Iterator[Path]:
    for zone in (archive.incoming, archive.quarantine):
        for path in zone.glob(f"*/.*{PART_SUFFIX}"):
            if path.name.split(".")[1] not in tokens:
                yield path
