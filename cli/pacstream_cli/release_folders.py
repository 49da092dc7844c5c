"""Folders that are given away: nothing that identifies is written there."""

from __future__ import annotations

import contextlib
from pathlib import Path

from pacstream.errors import InputError
from pacstream_anonymizer.offline.book import Book

RELEASE = "release"
"""What a batch calls it, in its output folder."""


def refuse_release(folder: Path, data: Path, option: str, why: str) -> None:
    """Raises InputError if the resolved `folder` is, or lies in, a release: that of a batch, by its
    name, or of `pacstream anonymize`, by the book of the trusted zone `data`."""
    if RELEASE in folder.parts or any(folder.is_relative_to(one) for one in _released(data)):
        raise InputError(f"{option} lies in a release folder, and {why}: give another one")


def _released(data: Path) -> list[Path]:
    if not (data / "offline" / "book.db").exists():
        return []
    with contextlib.closing(Book(data / "offline")) as book:
        return book.outputs()
