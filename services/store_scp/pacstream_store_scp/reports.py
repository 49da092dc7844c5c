"""Tells senders what is committed: N-EVENT-REPORT (PS3.4 section J.3.3).

On the association of the request while that is open, else on one of our own, if the sender's
address is known. A report that was not taken is tried again, and a killed process's by the next.
"""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pacstream import logs
from pacstream.dimse import associate
from pacstream.errors import PacsRejectedError, PacsUnreachableError, RejectedError
from pacstream.messages import PacsNode
from pacstream_store_scp.commitment import (
    PUSH_MODEL,
    PUSH_MODEL_INSTANCE,
    SUCCESS,
    Report,
    new_report,
)
from pacstream_store_scp.holdings import Holdings
from pacstream_store_scp.transactions import Transaction, Transactions

log = logging.getLogger(__name__)

WORKERS = 4
RELEASE_PAUSE_S = 0.5
"""Most senders release the association as soon as their request is answered, and expect the report
on another one. They are not to find it in the way."""
PAUSES_S = (2.0, 10.0, 60.0, 300.0, 900.0)
RESPONSE_S = 10.0

Peers = Mapping[str, tuple[str, int]]
"""Address and port of the senders to which we may open an association, by AE title."""
Line = Callable[[Report], int | None]
"""Reports on the association of the request: the status of the response, None without one."""


@dataclass(frozen=True, order=True)
class _Job:
    due: float
    record: Path
    line: Line | None = field(compare=False)
    attempts: int = 0


class Reporter:
    """Works from `start` to `stop`. What it has not done by then stays on disk."""

    def __init__(
        self,
        transactions: Transactions,
        holdings: Holdings,
        peers: Peers,
        *,
        pauses_s: tuple[float, ...] = PAUSES_S,
        response_s: float = RESPONSE_S,
    ) -> None:
        self._transactions = transactions
        self._holdings = holdings
        self._peers = peers
        self._pauses_s = pauses_s
        self._response_s = response_s
        self._jobs: list[_Job] = []
        self._changed = threading.Condition()
        self._stopping = False
        self._workers = [
            threading.Thread(target=self._work, name=f"reporter-{n}", daemon=True)
            for n in range(WORKERS)
        ]

    def start(self) -> None:
        for worker in self._workers:
            worker.start()

    def stop(self, grace_s: float) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        end = time.monotonic() + grace_s
        for worker in self._workers:
            worker.join(max(0.0, end - time.monotonic()))

    def begin(self, record: Path, line: Line) -> None:
        """The request of `record` has been answered."""
        self._add(_Job(time.monotonic() + RELEASE_PAUSE_S, record, line))

    def resume(self, records: Iterable[Path]) -> None:
        """Take up what a dead process had accepted."""
        for record in records:
            self._add(_Job(time.monotonic(), record, None))

    def _add(self, job: _Job) -> None:
        with self._changed:
            heapq.heappush(self._jobs, job)
            self._changed.notify()

    def _work(self) -> None:
        while self._serve_next():
            pass

    def _serve_next(self) -> bool:
        """Nothing of the job, which knows an association, outlives it."""
        job = self._next()
        if job is None:
            return False
        try:
            self._serve(job)
        except Exception:
            # the record stays: the next process tries again
            log.exception("a commitment report failed")
        return True

    def _next(self) -> _Job | None:
        with self._changed:
            while not self._stopping:
                wait_s = self._jobs[0].due - time.monotonic() if self._jobs else None
                if wait_s is not None and wait_s <= 0:
                    return heapq.heappop(self._jobs)
                self._changed.wait(wait_s)
        return None

    def _serve(self, job: _Job) -> None:
        try:
            transaction = self._transactions.read(job.record)
        except (OSError, RejectedError) as error:
            reason = {"error_type": type(error).__name__}
            logs.event(log, "a commitment record can't be read", logging.WARNING, **reason)
            return
        failures = self._holdings.failures(transaction.references)
        report = new_report(transaction.request, failures)
        outcome = self._told(job, transaction, report)
        fields = {"transaction": logs.ref(transaction.transaction_uid), "outcome": outcome}
        if outcome == "reported":
            self._transactions.close(job.record)
            failed = sum(map(bool, failures))
            counts = {"committed": len(failures) - failed, "failed": failed}
            logs.event(log, "commitment reported", **fields, **counts)
        elif transaction.calling_aet in self._peers and job.attempts < len(self._pauses_s):
            due = time.monotonic() + self._pauses_s[job.attempts]
            self._add(replace(job, due=due, line=None, attempts=job.attempts + 1))
        else:
            self._transactions.close(job.record)
            logs.event(log, "commitment not reported", logging.WARNING, **fields)

    def _told(self, job: _Job, transaction: Transaction, report: Report) -> str:
        """Try both ways: "reported", or why not."""
        if job.line is not None and job.line(report) == SUCCESS:
            return "reported"
        place = self._peers.get(transaction.calling_aet)
        if place is None:
            return "no_address"
        node = PacsNode(
            address=place[0],
            port=place[1],
            called_aet=transaction.calling_aet,
            calling_aet=transaction.called_aet,
        )
        try:
            return _tell(node, report, self._response_s)
        except (PacsUnreachableError, PacsRejectedError) as error:
            return error.code


def _tell(node: PacsNode, report: Report, response_s: float) -> str:
    """Report on an association of our own: we are its requestor and the SCP (PS3.7 section
    D.3.3.4). Raises as `associate` does."""
    association = associate(node, [PUSH_MODEL], response_s, stored_here=[PUSH_MODEL])
    try:
        answer, _ = association.send_n_event_report(
            report.event, report.event_type, PUSH_MODEL, PUSH_MODEL_INSTANCE
        )
    except RuntimeError:  # pynetdicom's, for an association that has just ended
        return "association_aborted"
    finally:
        association.release()
    status = answer.get("Status")
    if status is None:
        return "no_response"
    return "reported" if status == SUCCESS else f"refused_{status:04x}"
