"""One C-MOVE of a series, or of the instances of it that are missing (PS3.4 section C.4.2)."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from pydicom.dataset import Dataset
from pynetdicom.association import Association

from pacstream import logs
from pacstream.archive import Archive
from pacstream.errors import RetryLaterError
from pacstream.messages import SeriesMoved, SeriesRequested
from pacstream_retrieve.associations import Associations

log = logging.getLogger(__name__)

STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
UIDS_AT_ONCE = 100

SUCCESS = 0x0000
PENDING = frozenset({0xFF00, 0xFF01})
SOME_FAILED = 0xB000
CANCELLED = 0xFE00
NO_RESOURCES_FOR_STORING = 0xA702
DESTINATION_UNKNOWN = 0xA801
IDENTIFIER_MISMATCH = 0xA900


@dataclass(frozen=True)
class Outcome:
    """How one C-MOVE request ended. A counter is None where the PACS sent none: not zero."""

    status: int | None = None
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None
    remaining: int | None = None
    broken: str = ""
    """Why there is no last response: timed_out, aborted, deadline."""

    @property
    def refuses_lists(self) -> bool:
        """PS3.4 section C.2.2.2.2 has lists of UIDs; some PACS do not."""
        return self.status is not None and _refuses_identifier(self.status)

    @property
    def unheard(self) -> bool:
        """The association ended before any response."""
        return self.broken == "aborted" and self.completed is None and self.remaining is None

    @property
    def ends_all(self) -> bool:
        """Another request would end the same way."""
        return bool(self.broken) or self.status == DESTINATION_UNKNOWN


@dataclass(frozen=True)
class Limits:
    """The longest silence, and the moment (of `clock`) when the whole move has to be over."""

    timeout_s: float
    deadline: float
    clock: Callable[[], float] = field(default=time.monotonic)


def move_series(
    request: SeriesRequested,
    archive: Archive,
    associations: Associations,
    *,
    timeout_s: float,
    deadline_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> SeriesMoved:
    """Have the PACS send what is asked for, and report what it says of it.

    The order file is written before, so that the store SCP lets the instances in; for another
    destination there is none. Raises PacsUnreachableError and PacsRejectedError without an
    association, RetryLaterError if the order file can't be written.
    """
    if request.order.actions.retrieves:
        _write_order(request, archive)
    started = clock()
    limits = Limits(timeout_s, started + deadline_s, clock)
    outcomes = _ask(request, associations, limits)
    if outcomes[0].unheard:
        # The PACS may have closed a kept association just now.
        outcomes = _ask(request, associations, limits)
    moved = _report(request, outcomes, clock() - started)
    _tell(moved)
    return moved


def reason_of(outcome: Outcome) -> str:
    """The reason code of an outcome; empty for a success without failures."""
    if outcome.broken or outcome.status is None:
        return outcome.broken or "aborted"
    if outcome.status == SUCCESS:
        return "sub_operations_failed" if outcome.failed else ""
    if outcome.status == SOME_FAILED:
        only_warnings = outcome.failed == 0 and bool(outcome.warning)
        return "sub_operations_warned" if only_warnings else "sub_operations_failed"
    return _failure(outcome.status)


def _failure(status: int) -> str:
    exact = {
        CANCELLED: "cancelled",
        DESTINATION_UNKNOWN: "move_destination_unknown",
        NO_RESOURCES_FOR_STORING: "sub_operations_refused",
        IDENTIFIER_MISMATCH: "identifier_mismatch",
    }
    if status in exact:
        return exact[status]
    if status >> 8 == 0xA7:
        return "pacs_out_of_resources"
    return "unable_to_process" if status >> 12 == 0xC else "move_refused"


def _refuses_identifier(status: int) -> bool:
    return status == IDENTIFIER_MISMATCH or status >> 12 == 0xC


def _write_order(request: SeriesRequested, archive: Archive) -> None:
    try:
        archive.write_order(request.order)
    except OSError as error:
        reason = errno.errorcode.get(error.errno or 0, "io_error")
        raise RetryLaterError(f"no order file: {reason}", code="disk") from None


def _ask(request: SeriesRequested, associations: Associations, limits: Limits) -> list[Outcome]:
    with associations.association(request.pacs) as association:
        return list(_outcomes(request, association, limits))


def _outcomes(
    request: SeriesRequested, association: Association, limits: Limits
) -> Iterator[Outcome]:
    """One outcome for each C-MOVE request that the series takes."""
    size = UIDS_AT_ONCE
    uids = list(request.instances)
    if not uids:
        yield _move(request, [], association, limits)
        return
    first = True
    while uids:
        outcome = _move(request, uids[:size], association, limits)
        if first and len(uids[:size]) > 1 and outcome.refuses_lists and association.is_established:
            first, size = False, 1
            continue
        first = False
        yield outcome
        if outcome.ends_all:
            return
        uids = uids[size:]


def _move(
    request: SeriesRequested, uids: list[str], association: Association, limits: Limits
) -> Outcome:
    """One C-MOVE request and all of its responses."""
    if limits.clock() >= limits.deadline:
        return Outcome(broken="deadline")
    waiting = _set_patience(association, limits)
    asked = limits.clock()
    identifier = _identifier(request, uids)
    try:
        responses = association.send_c_move(identifier, request.destination, STUDY_ROOT_MOVE)
    except RuntimeError:  # pynetdicom's word for an association that has ended
        return Outcome(broken="aborted")
    last = Outcome()
    for response, _ in responses:
        if "Status" not in response:
            silent = limits.clock() - asked >= waiting
            return _broken(association, last, limits, silent=silent)
        last = _outcome(response)
        if last.status in PENDING and limits.clock() >= limits.deadline:
            return _broken(association, last, limits, silent=True)
        waiting = _set_patience(association, limits)
        asked = limits.clock()
    return last


def _set_patience(association: Association, limits: Limits) -> float:
    """pynetdicom waits this long for the next response, then aborts; the seconds."""
    seconds = max(0.001, min(limits.timeout_s, limits.deadline - limits.clock()))
    association.dimse_timeout = seconds
    return seconds


def _broken(association: Association, last: Outcome, limits: Limits, *, silent: bool) -> Outcome:
    """No final response: the counters are those of the last pending one, the status is none."""
    # pynetdicom notices an abort by the peer a moment after the request does: nobody may use
    # the association in between.
    association.abort()
    if limits.clock() >= limits.deadline:
        broken = "deadline"
    else:
        broken = "timed_out" if silent else "aborted"
    return replace(last, status=None, broken=broken)


def _outcome(response: Dataset) -> Outcome:
    return Outcome(
        status=int(response.Status),
        completed=response.get("NumberOfCompletedSuboperations"),
        failed=response.get("NumberOfFailedSuboperations"),
        warning=response.get("NumberOfWarningSuboperations"),
        remaining=response.get("NumberOfRemainingSuboperations"),
    )


def _identifier(request: SeriesRequested, uids: list[str]) -> Dataset:
    """All unique keys from the study down: some PACS need them (PS3.4 section C.4.2.1.4.1)."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "IMAGE" if uids else "SERIES"
    identifier.StudyInstanceUID = request.order.series.study_uid
    identifier.SeriesInstanceUID = request.order.series.series_uid
    if uids:
        identifier.SOPInstanceUID = uids
    return identifier


def _report(request: SeriesRequested, outcomes: list[Outcome], seconds: float) -> SeriesMoved:
    """One fact for all requests; its status is that of the first one that went wrong."""
    worst = next((outcome for outcome in outcomes if reason_of(outcome)), outcomes[-1])
    return SeriesMoved(
        batch_id=request.batch_id,
        series_uid=request.order.series.series_uid,
        round=request.round,
        status=worst.status,
        completed=_sum([outcome.completed for outcome in outcomes]),
        failed=_sum([outcome.failed for outcome in outcomes]),
        warning=_sum([outcome.warning for outcome in outcomes]),
        remaining=outcomes[-1].remaining,
        reason=reason_of(worst),
        seconds=round(seconds, 3),
    )


def _sum(counts: list[int | None]) -> int | None:
    """The sum, or None if a part of it is unknown."""
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _tell(moved: SeriesMoved) -> None:
    fields = {"reason": moved.reason, "completed": moved.completed, "failed": moved.failed}
    series = logs.ref(moved.series_uid)
    logs.event(log, "moved", series=series, seconds=moved.seconds, round=moved.round, **fields)
