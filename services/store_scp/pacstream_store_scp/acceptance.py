"""Takes requests for storage commitment (N-ACTION, PS3.4 section J.3.2) and has them worked on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pacstream import logs
from pacstream_store_scp.commands import Command
from pacstream_store_scp.commitment import (
    PROCESSING_FAILURE,
    RESOURCE_LIMITATION,
    SUCCESS,
    RefusedRequest,
    read_request,
)
from pacstream_store_scp.reports import Line, Reporter
from pacstream_store_scp.transactions import Transaction, Transactions

log = logging.getLogger(__name__)


class Titles(NamedTuple):
    """AE titles of an association that a sender has opened."""

    calling: str
    called: str


class Acceptance:
    def __init__(
        self, transactions: Transactions, reporter: Reporter, has_room: Callable[[], bool]
    ) -> None:
        self._transactions = transactions
        self._reporter = reporter
        self._has_room = has_room

    def accept(
        self, command: Command, data_set: bytes | None, transfer_syntax: str, titles: Titles
    ) -> tuple[int, Path | None]:
        """The status of an N-ACTION-RQ, and the durable record of the transaction if it is success.

        `data_set` is None if it was too long. Raises ViolationError.
        """
        try:
            request = read_request(command, data_set, transfer_syntax)
            if self._transactions.is_full or not self._has_room():
                raise RefusedRequest(RESOURCE_LIMITATION)
            record = self._transactions.open(
                Transaction(
                    calling_aet=titles.calling, called_aet=titles.called, **request._asdict()
                )
            )
        except RefusedRequest as refused:
            status = f"{refused.status:04x}"
            logs.event(log, "commitment request refused", logging.WARNING, status=status)
            return refused.status, None
        except OSError:
            log.exception("a commitment request can't be kept")
            return PROCESSING_FAILURE, None
        return SUCCESS, record

    def begin(self, record: Path, line: Line) -> None:
        """The request has been answered: look, then report."""
        self._reporter.begin(record, line)
