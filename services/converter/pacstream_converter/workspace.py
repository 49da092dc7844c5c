"""Working folders in the trusted zone: a fresh one for each conversion, gone afterwards."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from pacstream.errors import RetryLaterError

PREFIX = "convert-"

ABANDONED_S = 3600.0
"""Who works in a folder holds a lock on it, from shortly after it was made."""


@contextlib.contextmanager
def workspace(run: Path, now: float | None = None) -> Iterator[Path]:
    """Give an empty folder below `run`; remove it, and what killed processes left, at the end.

    An OSError inside becomes RetryLaterError `disk`: a full disk is cured by time.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=PREFIX, dir=run))
        try:
            with _locked(work):
                yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)
            _remove_abandoned(run, time.time() if now is None else now)
    except OSError as error:
        number = errno.errorcode.get(error.errno or 0, "unknown")
        raise RetryLaterError(f"a working folder can't be used ({number})", code="disk") from None


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Raises BlockingIOError if somebody else has the lock. A dead one's lock is free."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _remove_abandoned(run: Path, now: float) -> None:
    for folder in run.glob(f"{PREFIX}*"):
        # Another worker may be at work there, or remove it between the listing and this line.
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            if now - folder.stat().st_mtime > ABANDONED_S:
                with _locked(folder):
                    shutil.rmtree(folder, ignore_errors=True)
