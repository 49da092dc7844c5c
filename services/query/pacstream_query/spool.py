"""Answers that wait: in memory while they are few, in an unlinked file when they are many.

A query that matches 100,000 studies must not need 100,000 studies of memory.
"""

from __future__ import annotations

import sqlite3
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

FEW = 64
CACHE_KIB = 1024


class Spool:
    """Texts by key, each key once, given back in the order of the keys.

    The file is made in `folder` (identifiers stay in the trusted zone) and has no name any more
    when the first text goes in: it ends with the process.
    """

    def __init__(self, folder: Path | None = None, few: int = FEW) -> None:
        self._folder = folder
        self._few = few
        self._items: dict[str, str] = {}
        self._database: sqlite3.Connection | None = None
        self._writer: sqlite3.Cursor | None = None
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self._database is not None:
            self._database.close()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """All keys and texts. Nothing may be added meanwhile."""
        if self._database is None:
            yield from sorted(self._items.items())
        else:
            # no `yield from`: it would close the cursor, after the database, of an iteration that
            # is given up
            for item in self._database.execute("SELECT key, text FROM items ORDER BY key"):
                yield str(item[0]), str(item[1])

    def add(self, key: str, text: str = "") -> bool:
        """False, and nothing done, if the key is there already."""
        is_new = self._put(key, text)
        self._count += is_new
        return is_new

    def _put(self, key: str, text: str) -> bool:
        if self._writer is not None:
            # always the same: a connection notes its last few hundred cursors
            self._writer.execute("INSERT OR IGNORE INTO items VALUES (?, ?)", (key, text))
            return self._writer.rowcount > 0
        if key in self._items:
            return False
        self._items[key] = text
        if len(self._items) > self._few:
            self._database = self._moved_to_file()
            self._writer = self._database.cursor()
        return True

    def _moved_to_file(self) -> sqlite3.Connection:
        folder = self._folder or Path(tempfile.gettempdir())
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f".{uuid.uuid4().hex}.part"
        database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            database.execute("PRAGMA journal_mode = OFF")
            database.execute("PRAGMA synchronous = OFF")
            database.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            database.execute("CREATE TABLE items (key TEXT PRIMARY KEY, text TEXT) WITHOUT ROWID")
        finally:
            path.unlink()
        database.execute("BEGIN")
        database.executemany("INSERT INTO items VALUES (?, ?)", self._items.items())
        self._items = {}
        return database
