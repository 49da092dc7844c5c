"""The processes that receive into one trusted zone, and what dead ones left behind.

Each process holds a lock on its own file DATA/run/receiver.<token>.lock while it lives; its
temporary files are named .<token>.<random>.part.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from pathlib import Path

from pacstream.archive import PART_SUFFIX

PREFIX, SUFFIX = "receiver.", ".lock"


class Presence:
    """This process's token and lock."""

    def __init__(self, run: Path) -> None:
        run.mkdir(parents=True, exist_ok=True)
        self.token = uuid.uuid4().hex
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


def remove_stale_parts(incoming: Path, tokens: set[str], before: float) -> int:
    """Remove temporary files older than `before` (Unix time) that no living process owns."""
    removed = 0
    for part in incoming.glob(f"*/.*{PART_SUFFIX}"):
        owner = part.name.split(".")[1]
        try:
            if owner not in tokens and part.stat().st_mtime < before:
                part.unlink()
                removed += 1
        except FileNotFoundError:
            continue  # a sibling removed it at the same time
    return removed
