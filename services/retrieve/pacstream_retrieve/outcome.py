"""How a request to a PACS ended, and the reason code for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from pacstream.messages import SeriesMoved, SeriesRequested

SUCCESS = 0x0000
SOME_FAILED = 0xB000
CANCELLED = 0xFE00
NO_RESOURCES_FOR_STORING = 0xA702
DESTINATION_UNKNOWN = 0xA801
IDENTIFIER_MISMATCH = 0xA900

REASONS = {
    CANCELLED: "cancelled",
    DESTINATION_UNKNOWN: "move_destination_unknown",
    NO_RESOURCES_FOR_STORING: "sub_operations_refused",
    IDENTIFIER_MISMATCH: "identifier_mismatch",
}


@dataclass(frozen=True)
class Outcome:
    """How one request ended. A counter is None where the PACS sent none: not zero."""

    status: int | None = None
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None
    remaining: int | None = None
    broken: str = ""
    """Why there is no last response: timed_out, stalled, aborted, deadline, cancelled ..."""
    sent: bool = True
    """The PACS was asked; without, `broken` says why not."""

    @property
    def refuses_lists(self) -> bool:
        """PS3.4 section C.2.2.2.2 has lists of UIDs; some PACS do not."""
        refused = self.status is not None and self.status >> 12 == 0xC
        return refused or self.status == IDENTIFIER_MISMATCH

    @property
    def unheard(self) -> bool:
        """The association ended before any response."""
        return self.broken == "aborted" and self.completed is None and self.remaining is None

    @property
    def ends_all(self) -> bool:
        """Another request would end the same way."""
        return bool(self.broken) or self.status in (DESTINATION_UNKNOWN, CANCELLED)


def not_sent(reason: str) -> Outcome:
    """The PACS was not asked."""
    return Outcome(broken=reason, sent=False)


def outcome_of(response: Dataset) -> Outcome:
    """The outcome that a C-MOVE or C-GET response tells (PS3.7 sections 9.1.3 and 9.1.4)."""
    return Outcome(
        status=int(response.Status),
        completed=response.get("NumberOfCompletedSuboperations"),
        failed=response.get("NumberOfFailedSuboperations"),
        warning=response.get("NumberOfWarningSuboperations"),
        remaining=response.get("NumberOfRemainingSuboperations"),
    )


def reason_of(outcome: Outcome) -> str:
    """The reason code of an outcome; empty for a success without failures."""
    status = outcome.status
    if outcome.broken or status is None:
        return outcome.broken or "aborted"
    if status == SUCCESS:
        return "sub_operations_failed" if outcome.failed else ""
    if status == SOME_FAILED:
        only_warnings = outcome.failed == 0 and bool(outcome.warning)
        return "sub_operations_warned" if only_warnings else "sub_operations_failed"
    if status in REASONS:
        return REASONS[status]
    if status >> 8 == 0xA7:
        return "pacs_out_of_resources"
    return "unable_to_process" if status >> 12 == 0xC else "move_refused"


def report(request: SeriesRequested, outcomes: Sequence[Outcome], seconds: float) -> SeriesMoved:
    """One fact for all requests; its status is that of the first one that went wrong."""
    worst = next((outcome for outcome in outcomes if reason_of(outcome)), outcomes[-1])
    sent = [outcome for outcome in outcomes if outcome.sent]
    return SeriesMoved(
        batch_id=request.batch_id,
        series_uid=request.order.series.series_uid,
        round=request.round,
        status=worst.status,
        completed=_sum([outcome.completed for outcome in sent]),
        failed=_sum([outcome.failed for outcome in sent]),
        warning=_sum([outcome.warning for outcome in sent]),
        remaining=sent[-1].remaining if sent else None,
        reason=reason_of(worst),
        seconds=round(seconds, 3),
    )


def _sum(counts: list[int | None]) -> int | None:
    """The sum, or None if a part of it is unknown."""
    known = [count for count in counts if count is not None]
    return sum(known) if counts and len(known) == len(counts) else None
