"""The processes that receive into one trusted zone, and what dead ones left behind.

Each process holds a lock on its own file DATA/run/receiver.<token>.lock while it lives; its
temporary files are named .<token>.<number>.part, and .whole once they are. A token begins with the
boot of the machine.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from pacstream.archive import PART_SUFFIX, WHOLE_SUFFIX, Archive

PREFIX, SUFFIX = "receiver.", ".lock"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


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


def remove_stale_parts(archive: Archive, tokens: set[str], before: float) -> int:
    """Remove temporary files older than `before` (Unix time) that no living process owns."""
    removed = 0
    for part in _left_behind(archive, PART_SUFFIX, tokens):
        try:
            if part.stat().st_mtime < before:
                part.unlink()
                removed += 1
        except FileNotFoundError:
            continue  # a sibling removed it at the same time
    return removed


def take_over(archive: Archive, token: str, tokens: set[str]) -> Iterator[Path]:
    """The whole files of dead processes, as files of `token` now.

    What was not flushed when the machine went down may have lost its content; it is removed. A file
    that has its final name, too, was flushed before it got it.
    """
    this_boot = boot()
    for number, whole in enumerate(_left_behind(archive, WHOLE_SUFFIX, tokens)):
        mine = whole.with_name(f".{token}.inherited-{number}{WHOLE_SUFFIX}")
        try:
            whole.rename(mine)
            flushed = mine.stat().st_nlink > 1
        except FileNotFoundError:
            continue  # a sibling was quicker
        if flushed or whole.name.startswith(f".{this_boot}-"):
            yield mine
        else:
            mine.unlink()


def _left_behind(archive: Archive, suffix: str, tokens: set[str]) -> Iterator[Path]:
    for zone in (archive.incoming, archive.quarantine):
        for path in zone.glob(f"*/.*{suffix}"):
            if path.name.split(".")[1] not in tokens:
                yield path
