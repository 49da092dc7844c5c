"""What has been delivered to a destination, so that a run that ends early is gone on with.

    DATA/exports/<host>-<digest>/journal.jsonl      a line for each step of a file
    DATA/exports/<host>-<digest>/report-….csv

A line that a killed process left half is none. Of several lines of a file the last one counts.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pacstream.durable import create_folder
from pacstream.errors import RetryLaterError
from pacstream_exporter.delivery.outcome import Delivery, Evidence, State

KEPT = frozenset({State.SENT, State.DELIVERED, State.UNVERIFIED})


def folder_of(data: Path, destination: str) -> Path:
    """In the trusted zone: SOP Instance UIDs and paths stand there."""
    digest = hashlib.sha256(destination.encode()).hexdigest()[:8]
    readable = re.sub(r"[^0-9A-Za-z.]+", "-", destination.partition("?")[0]).strip("-")[:48]
    return data / "exports" / f"{readable}-{digest}"


class Journal:
    """Of one destination, and of one run at a time: `opened` locks it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._last = _read(file)

    @classmethod
    @contextlib.contextmanager
    def opened(cls, folder: Path) -> Iterator[Journal]:
        """Raises RetryLaterError `under_way` if another process delivers to the destination."""
        create_folder(folder)
        with (folder / "journal.jsonl").open("a+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise RetryLaterError(
                    "another process is delivering to this destination", code="under_way"
                ) from None
            yield cls(file)

    def known(self, key: str, digest: str) -> tuple[State, Evidence] | None:
        """How far a file with this content came; None if nothing is known of it."""
        entry = self._last.get(key)
        if entry is None or entry[0] != digest:
            return None
        return entry[1], entry[2]

    def has(self, key: str) -> bool:
        return key in self._last

    def note(self, delivery: Delivery, digest: str) -> None:
        """Written; durable after `flush`."""
        if delivery.state not in KEPT:
            return
        entry = [delivery.item.key, digest, delivery.state.value, delivery.evidence.value]
        with self._lock:
            self._file.write(json.dumps(entry).encode() + b"\n")

    def flush(self) -> None:
        with self._lock:
            self._file.flush()
            os.fdatasync(self._file.fileno())


def _read(file: BinaryIO) -> dict[str, tuple[str, State, Evidence]]:
    file.seek(0)
    content = file.read()
    found: dict[str, tuple[str, State, Evidence]] = {}
    for line in content.splitlines():
        with contextlib.suppress(ValueError, TypeError):
            key, digest, state, evidence = json.loads(line)
            found[key] = digest, State(state), Evidence(evidence)
    if content and not content.endswith(b"\n"):
        file.write(b"\n")
    return found
