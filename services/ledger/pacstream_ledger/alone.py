"""One ledger for each database: a second process waits until the first is gone.

A cluster may start the next ledger while the last one still drains, and two that release series
would ask a PACS for twice what it bears.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import NullPool

from pacstream import logs

LOCK = 0x70616373
"""The number of the advisory lock in PostgreSQL."""

POLL_S = 0.5
TOLD_EVERY_S = 30.0

log = logging.getLogger(__name__)


class Claim(Protocol):
    """To be the one ledger. It ends with `release`, or with the process however that dies."""

    def is_granted(self) -> bool: ...

    def release(self) -> None: ...


class FileClaim:
    """A lock on a file beside the SQLite database."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o640)

    def is_granted(self) -> bool:
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        os.close(self._handle)


class SessionClaim:
    """An advisory lock of a PostgreSQL session. Should the server restart, nobody holds it."""

    def __init__(self, url: URL) -> None:
        self._engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        self._session: Connection | None = None

    def is_granted(self) -> bool:
        if self._session is None:
            self._session = self._engine.connect()
        taken = self._session.execute(text("SELECT pg_try_advisory_lock(:n)"), {"n": LOCK})
        return bool(taken.scalar())

    def release(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None


def claim_on(url: str) -> Claim:
    """For a database in memory, which nobody else can see, raises ValueError."""
    database = make_url(url)
    if database.get_backend_name() != "sqlite":
        return SessionClaim(database)
    if not database.database:
        raise ValueError("a database in memory is always alone")
    return FileClaim(Path(f"{database.database}.lock"))


def wait_to_be_alone(url: str, poll_s: float = POLL_S) -> Claim:
    """The claim, when it is granted: keep it for as long as the ledger runs."""
    claim = claim_on(url)
    told = float("-inf")
    while not claim.is_granted():
        if time.monotonic() - told >= TOLD_EVERY_S:
            told = time.monotonic()
            logs.event(log, "another ledger has this database: waiting", logging.WARNING)
        time.sleep(poll_s)
    return claim
