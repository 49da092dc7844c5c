"""What operators have decided about instances in quarantine: one JSON line each, appended for good.

A release waives one reason for one instance of one batch, and holds for the very bytes that the
operator has seen. The anonymizer looks here, not into messages: nothing passes a rule that nobody
has decided about in writing, whatever comes over the bus.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pacstream.archive import flush_folder
from pacstream.durable import create_folder


class Decision(BaseModel):
    """One line. `batch_id` is empty where no batch is concerned; `content` is the SHA-256 of the
    file; `profile` is the digest of the profile that was in force."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    at: str
    by: str
    why: str
    decision: Literal["release", "drop"]
    reason: str
    batch_id: str = ""
    series_uid: str = ""
    sop_instance_uid: str = ""
    content: str
    profile: str = ""
    version: str


class Decisions:
    """The decisions in the file `path`; it need not be there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def waived(self, batch_id: str, sop_instance_uid: str, source: Path) -> frozenset[str]:
        """The reasons that `source`, an instance of a batch, may pass. Raises OSError."""
        waivers = _waivers(self.path, self._size())
        decided = waivers.get((batch_id, sop_instance_uid), [])
        if not decided:
            return frozenset()
        content = digest_of(source)
        return frozenset(one.reason for one in decided if one.content == content)

    def all(self) -> Iterator[Decision]:
        """In the order in which they were made. A line that a killed process has not ended decides
        nothing. Raises OSError."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        for line in lines:
            try:
                yield Decision.model_validate_json(line)
            except ValidationError:
                continue

    def append(self, decisions: Sequence[Decision]) -> None:
        """Write decisions down; durable on return. Raises OSError."""
        create_folder(self.path.parent)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(handle, "r+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            text = "".join(f"{one.model_dump_json()}\n" for one in decisions)
            size = os.fstat(file.fileno()).st_size
            torn = size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"
            content = (b"\n" if torn else b"") + text.encode()
            while content:
                content = content[os.write(file.fileno(), content) :]
            os.fsync(file.fileno())
        flush_folder(self.path.parent)

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0


@functools.lru_cache(maxsize=2)
def _waivers(path: Path, size: int) -> dict[tuple[str, str], list[Decision]]:
    """What may pass, by batch and instance. `size` stands for the content: it only grows."""
    found: dict[tuple[str, str], list[Decision]] = {}
    for one in Decisions(path).all() if size else ():
        if one.decision == "release":
            found.setdefault((one.batch_id, one.sop_instance_uid), []).append(one)
    return found


def digest_of(path: Path) -> str:
    """SHA-256 of a file's bytes. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
