"""One C-MOVE or C-GET request and all of its responses: waiting, time limits, C-CANCEL."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom.association import Association

from pacstream.dimse import responses_only
from pacstream.messages import SeriesRequested
from pacstream_retrieve.outcome import Outcome, not_sent, outcome_of

UIDS_AT_ONCE = 100
MESSAGE_ID = 1
POLL_S = 0.25
CANCEL_GRACE_S = 10.0
"""How long a PACS may take to answer a C-CANCEL."""

Responses = Iterable[tuple[Dataset, Dataset | None]]


@dataclass(frozen=True)
class Limits:
    """Longest silences in seconds, and the moment (of `clock`) when all has to be over."""

    response_s: float
    idle_s: float
    deadline: float
    is_cancelled: Callable[[], bool] = field(default=lambda: False)
    cancels: bool = True
    """The PACS heeds C-CANCEL; one that does not is let run out, to the deadline at most."""
    clock: Callable[[], float] = field(default=time.monotonic)

    @property
    def refusal(self) -> str:
        """Why nothing more may be asked; empty: it may."""
        if self.is_cancelled():
            return "cancelled"
        return "deadline" if self.clock() >= self.deadline else ""


class Exchange:
    """One request on `association`, of the information model `model` (a SOP class UID)."""

    def __init__(self, association: Association, model: str, limits: Limits) -> None:
        self._association = association
        self._model = model
        self._limits = limits
        self._heard = False
        self._gave_up = ""
        self._cancel_ends = float("inf")
        self._cancelled = False
        self._looked = limits.clock()

    def run(self, send: Callable[[], Responses]) -> Outcome:
        """Send the request and wait for its last response."""
        responses_only(self._association, self._wait)
        last = Outcome()
        try:
            for response, _ in send():
                if "Status" not in response:
                    return self._broken(last)
                last = outcome_of(response)
        except RuntimeError:  # pynetdicom's word for an association that has ended
            return self._broken(last)
        return last

    def _broken(self, last: Outcome) -> Outcome:
        """No final response: the counters are those of the last pending one, the status is none."""
        # pynetdicom notices an abort by the peer a moment after the request does: nobody may use
        # the association in between.
        self._association.abort()
        return replace(last, status=None, broken=self._gave_up or "aborted")

    def _wait(self) -> tuple[int | None, Any]:
        """The next message; (None, None) after an abort, or when `_gave_up` says why."""
        limits = self._limits
        silence_ends = limits.clock() + (limits.idle_s if self._heard else limits.response_s)
        while True:
            self._heed_cancellation()
            ends = [
                (silence_ends, "stalled" if self._heard else "timed_out"),
                (self._cancel_ends, "cancelled"),
                (limits.deadline, "deadline"),
            ]
            end, reason = min(ends)
            left = end - limits.clock()
            if left <= 0:
                self._gave_up = reason
                return None, None
            try:
                message = self._association.dimse.msg_queue.get(timeout=min(left, POLL_S))
            except queue.Empty:
                continue
            self._heard = True
            return message

    def _heed_cancellation(self) -> None:
        """Send C-CANCEL once the batch is cancelled (PS3.7 section 9.3.4.3)."""
        now = self._limits.clock()
        if self._cancelled or not self._limits.cancels or now < self._looked + POLL_S:
            return
        self._looked = now
        if self._limits.is_cancelled():
            self._cancelled = True
            self._cancel_ends = now + CANCEL_GRACE_S
            self._association.send_c_cancel(MESSAGE_ID, query_model=self._model)


def ask_for_all(
    request: SeriesRequested,
    ask: Callable[[Dataset], Outcome],
    is_open: Callable[[], bool],
    limits: Limits,
    *,
    uid_lists: bool,
) -> Iterator[Outcome]:
    """One outcome for each request that the series, or its missing instances, take.

    Lists of UIDs first, where the PACS takes them; one that refuses the first list is asked for
    one instance at a time.
    """
    size = UIDS_AT_ONCE if uid_lists else 1
    uids = list(request.instances)
    first = True
    while True:
        refusal = limits.refusal
        if refusal:
            yield not_sent(refusal)
            return
        piece = uids[:size]
        outcome = ask(identifier_of(request, piece))
        if first and len(piece) > 1 and outcome.refuses_lists and is_open():
            first, size = False, 1
            continue
        first = False
        yield outcome
        uids = uids[size:]
        if outcome.ends_all or not uids:
            return


def identifier_of(request: SeriesRequested, uids: list[str]) -> Dataset:
    """All unique keys from the study down: some PACS need them (PS3.4 section C.4.2.1.4.1)."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "IMAGE" if uids else "SERIES"
    identifier.StudyInstanceUID = request.order.series.study_uid
    identifier.SeriesInstanceUID = request.order.series.series_uid
    if uids:
        identifier.SOPInstanceUID = uids
    return identifier
