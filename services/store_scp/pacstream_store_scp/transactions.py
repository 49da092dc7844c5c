"""Requests for storage commitment that were accepted and are not reported yet, on disk.

    DATA/state/commitments/<token>.<number>.json

The token is that of the process that is to report. What a dead one has left, the next takes over.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from pacstream.archive import PART_SUFFIX, Archive, write_atomically
from pacstream.errors import RejectedError
from pacstream_store_scp.commitment import Reference, Request

MOST_OPEN = 200
ABANDONED_S = 60.0
"""Age at which a file that has no final name is nobody's any more."""


class Transaction(BaseModel):
    """Who asked for what. `called_aet` is the title by which the sender knows us."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    calling_aet: str
    called_aet: str
    transaction_uid: str
    references: tuple[Reference, ...]

    @property
    def request(self) -> Request:
        return Request(self.transaction_uid, self.references)


class Transactions:
    """The open transactions of one process."""

    def __init__(self, archive: Archive, token: str) -> None:
        self._folder = archive.state / "commitments"
        self._token = token
        self._numbers = itertools.count()

    @property
    def is_full(self) -> bool:
        return len(list(self._folder.glob(f"{self._token}.*.json"))) >= MOST_OPEN

    def open(self, transaction: Transaction) -> Path:
        """The record, durable on return. Raises OSError."""
        record = self._new_record()
        write_atomically(record, transaction.model_dump_json().encode())
        return record

    def read(self, record: Path) -> Transaction:
        """Raises RejectedError if the record can't be understood, OSError if it can't be read."""
        try:
            return Transaction.model_validate_json(record.read_bytes())
        except ValidationError:
            raise RejectedError("a record can't be understood", code="bad_record") from None

    def close(self, record: Path) -> None:
        record.unlink(missing_ok=True)

    def take_over(self, tokens: Iterable[str], before: float) -> list[Path]:
        """Records of processes that are not among `tokens`, the living; ours from now on.

        Those younger than `before` (Unix time) stay: their process may have started just now.
        """
        living = {self._token, *tokens}
        taken: list[Path] = []
        for record in self._folder.glob("*.json"):
            if record.name.split(".")[0] in living:
                continue
            mine = self._new_record()
            try:
                if record.stat().st_mtime >= before:
                    continue
                record.rename(mine)
            except FileNotFoundError:
                continue  # a sibling was quicker
            taken.append(mine)
        self._remove_parts()
        return taken

    def _new_record(self) -> Path:
        return self._folder / f"{self._token}.{next(self._numbers)}.json"

    def _remove_parts(self) -> None:
        for part in self._folder.glob(f".*{PART_SUFFIX}"):
            try:
                if part.stat().st_mtime < time.time() - ABANDONED_S:
                    part.unlink()
            except FileNotFoundError:
                continue  # a sibling was quicker
