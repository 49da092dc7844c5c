"""The batch's output folder: where the originals go, and what the operating system's refusals mean.

OUT/sub-<id>/ses-<date><time>/<number>-<description>/             originals, PACSMAN's layout
OUT/release/sub-<pseudonym>/ses-<shifted>/<number>-<modality>/    see pacstream.pseudonyms
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from pacstream.archive import inside
from pacstream.errors import RejectedError, RetryLaterError, ZoneError
from pacstream.messages import Order

LASTING = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EEXIST,
        errno.ENAMETOOLONG,
        errno.ELOOP,
    }
)
"""Errors that a retry meets again: someone has to change the folder or its rights."""


def originals_folder(order: Order) -> Path:
    """`OUT/sub-…/ses-…/<number>-<description>`.

    Raises ZoneError if a part of it is not one plain file name.
    """
    parts = (order.subject, order.session, order.folder)
    if any(part in ("", ".", "..") or "/" in part or "\0" in part for part in parts):
        raise ZoneError("a folder of the order is no file name", code="path_outside_zone")
    return inside(Path(order.out), Path(*parts))


@contextlib.contextmanager
def output_errors() -> Iterator[None]:
    """Turn an OSError into RejectedError `output_not_writable` or RetryLaterError `disk`.

    The operating system's text names paths, so it is left out.
    """
    try:
        yield
    except OSError as error:
        number = errno.errorcode.get(error.errno or 0, "unknown")
        if error.errno in LASTING:
            raise RejectedError(
                f"the output folder can't be written ({number})", code="output_not_writable"
            ) from None
        raise RetryLaterError(f"the disk refuses ({number})", code="disk") from None
