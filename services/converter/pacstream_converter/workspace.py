"""Working folders in the trusted zone: a fresh one for each conversion, gone afterwards."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from pacstream.errors import RetryLaterError

PREFIX = "convert-"

ABANDONED_S = 3600.0
"""Three times the longest deadline: nobody works in a folder that old."""


@contextlib.contextmanager
def workspace(run: Path, now: float | None = None) -> Iterator[Path]:
    """Give an empty folder below `run`; remove it, and what killed processes left, at the end.

    An OSError inside becomes RetryLaterError `disk`: a full disk is cured by time.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=PREFIX, dir=run))
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)
            _remove_abandoned(run, time.time() if now is None else now)
    except OSError:
        raise RetryLaterError("a working folder can't be used", code="disk") from None


def _remove_abandoned(run: Path, now: float) -> None:
    for folder in run.glob(f"{PREFIX}*"):
        # Another worker may remove its own between the listing and this line.
        with contextlib.suppress(FileNotFoundError):
            if now - folder.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(folder, ignore_errors=True)
