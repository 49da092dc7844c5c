"""What this zone holds for good: the answer to a request for storage commitment.

Committed is an instance that has its final name in `incoming`, under the SOP class of the request.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from pacstream.archive import PART_SUFFIX, Archive, flush_folder
from pacstream.errors import RejectedError
from pacstream.receiving.part10 import read_meta
from pacstream_store_scp.commitment import (
    CLASS_INSTANCE_CONFLICT,
    CLASS_NOT_SUPPORTED,
    NO_SUCH_INSTANCE,
    PROCESSING_FAILURE,
    SUCCESS,
    Reference,
)
from pacstream_store_scp.negotiation import is_storage

REMEMBERED = 20_000
"""Instances whose series is known without a search: about 4 MB."""
PATIENCE_S = 5.0
"""Longest wait for group commits under way. They take 50 ms, and more on a slow disk."""
POLL_S = 0.05


class Holdings:
    """Finds instances by their SOP Instance UID, whichever process has received them."""

    def __init__(self, archive: Archive, patience_s: float = PATIENCE_S) -> None:
        self._archive = archive
        self._patience_s = patience_s
        self._series: dict[str, str] = {}
        self._lock = threading.Lock()

    def note(self, series_uid: str, sop_instance_uid: str) -> None:
        """This process has received an instance; its commit follows."""
        with self._lock:
            self._series[sop_instance_uid] = sys.intern(series_uid)
            if len(self._series) > REMEMBERED:
                del self._series[next(iter(self._series))]

    def failures(self, references: Sequence[Reference]) -> list[int]:
        """The failure reason (PS3.3 section C.14.1.1) of each reference, 0 for a committed one.

        Waits for instances that are not committed yet. Those that this process does not remember
        cost one listing of each series folder.
        """
        wanted = {r.sop_instance for r in references if is_storage(r.sop_class)}
        found = self._find(wanted)
        set_aside = self._set_aside()
        unsafe = {folder for folder in {p.parent for p in found.values()} if not _flushed(folder)}
        return [
            _failure(reference, found.get(reference.sop_instance), set_aside, unsafe)
            for reference in references
        ]

    def _find(self, wanted: set[str]) -> dict[str, Path]:
        """The final names that there are, or are within `patience_s`."""
        end = time.monotonic() + self._patience_s
        expected = self._remembered(wanted)
        found = {uid: path for uid, path in expected.items() if path.exists()}
        while len(found) < len(expected) and time.monotonic() < end:
            time.sleep(POLL_S)
            found = {uid: path for uid, path in expected.items() if path.exists()}
        missing = {f"{uid}.dcm" for uid in wanted - found.keys()}
        folders = _folders(self._archive.incoming) if missing else []
        while True:
            folders = _search(folders, missing, found)
            if not folders or not missing or time.monotonic() >= end:
                return found
            time.sleep(POLL_S)

    def _remembered(self, wanted: set[str]) -> dict[str, Path]:
        with self._lock:
            series = {uid: self._series[uid] for uid in wanted & self._series.keys()}
        return {uid: self._archive.instance_path(of, uid) for uid, of in series.items()}

    def _set_aside(self) -> set[str]:
        """SOP Instance UIDs of which other content than the committed one is in quarantine.

        Whose content has the name is not known here, so nobody is told that it is his.
        """
        try:
            names = os.listdir(self._archive.quarantine / "conflicting")
        except FileNotFoundError:
            return set()
        return {name.rpartition("-")[0] for name in names}


def _folders(incoming: Path) -> list[Path]:
    try:
        with os.scandir(incoming) as entries:
            return [Path(entry.path) for entry in entries if entry.is_dir()]
    except FileNotFoundError:
        return []


def _search(folders: Iterable[Path], missing: set[str], found: dict[str, Path]) -> list[Path]:
    """Move what is in `folders` from `missing` (file names) to `found`; the folders in which
    something waits for its commit."""
    unsettled: list[Path] = []
    for folder in folders:
        if not missing:
            break
        try:
            names = os.listdir(folder)
        except OSError:
            continue  # removed meanwhile
        for name in missing.intersection(names):
            found[name.removesuffix(".dcm")] = folder / name
            missing.discard(name)
        if any(name.endswith(PART_SUFFIX) for name in names):
            unsettled.append(folder)
    return unsettled


def _flushed(folder: Path) -> bool:
    """A name can be seen a moment before it is durable."""
    try:
        flush_folder(folder)
    except OSError:
        return False
    return True


def _failure(
    reference: Reference, path: Path | None, set_aside: set[str], unsafe: set[Path]
) -> int:
    if not is_storage(reference.sop_class):
        return CLASS_NOT_SUPPORTED
    if path is None:
        return NO_SUCH_INSTANCE
    if reference.sop_instance in set_aside or path.parent in unsafe:
        return PROCESSING_FAILURE
    try:
        with path.open("rb") as file:
            held = read_meta(file).sop_class_uid
    except FileNotFoundError:
        return NO_SUCH_INSTANCE
    except (OSError, RejectedError):
        return PROCESSING_FAILURE
    return SUCCESS if held == reference.sop_class else CLASS_INSTANCE_CONFLICT
