"""Copies that share nothing with their source."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import BinaryIO

from pacstream.errors import RejectedError, RetryLaterError

NO_FAST_COPY = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM})
"""copy_file_range(2) can't serve this pair of file systems."""


def open_original(source: Path) -> BinaryIO:
    """Raises RejectedError `original_missing`, or RetryLaterError `disk` if it can't be read."""
    try:
        return source.open("rb")
    except FileNotFoundError:
        raise RejectedError("an original is not in the archive", code="original_missing") from None
    except OSError as error:
        number = errno.errorcode.get(error.errno or 0, "unknown")
        raise RetryLaterError(f"an original can't be read ({number})", code="disk") from None


def copy_file(source: Path, target: Path) -> None:
    """Copy the bytes into the new file `target`; the file systems may share blocks, never a link.

    Raises RejectedError `original_missing` if there is no source, RetryLaterError `disk` if it
    can't be read.
    """
    with open_original(source) as origin, target.open("xb") as copy:
        copy_content(origin, copy)


def copy_content(origin: BinaryIO, copy: BinaryIO) -> None:
    """Copy all bytes of a file that nobody has read from yet to one that is empty."""
    if not _copy_in_kernel(origin.fileno(), copy.fileno()):
        shutil.copyfileobj(origin, copy, 1 << 20)


def same_content(source: Path, target: Path) -> bool:
    """Whether `target` is a file of its own with the bytes of `source`."""
    if target.is_symlink() or not target.is_file() or target.samefile(source):
        return False
    with open_original(source) as origin, target.open("rb") as copy:
        if os.fstat(origin.fileno()).st_size != os.fstat(copy.fileno()).st_size:
            return False
        while block := origin.read(1 << 20):
            if block != copy.read(1 << 20):
                return False
    return True


def _copy_in_kernel(origin: int, copy: int) -> bool:
    """Copy everything with copy_file_range(2); False if the file systems can't, nothing copied."""
    copied = 0
    while True:
        try:
            count = os.copy_file_range(origin, copy, 1 << 30)
        except OSError as error:
            if copied == 0 and error.errno in NO_FAST_COPY:
                return False
            raise
        if count == 0:
            # Some file systems answer 0 for files that are not empty.
            return copied == os.fstat(origin).st_size
        copied += count
