"""What became of a file, and how that is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from pacstream_exporter.delivery.inventory import Item

NOT_LISTED, NOT_COMMITTED = "not_listed", "not_committed"

REASONS = frozenset(
    {
        "unreadable", "uids_missing", "uid_conflict", "file_meta_differs", "no_decoder",
        "sop_class_refused", "syntax_refused", "not_authorized", "class_mismatch",
        "cannot_understand", "store_refused", "out_of_resources",
        "elements_coerced", "elements_discarded", "class_mismatch_warned", "store_warning",
        NOT_LISTED, NOT_COMMITTED, "find_not_supported", "find_refused",
        "commitment_not_supported", "commitment_refused", "commitment_timed_out", "stopped",
        "timed_out", "tls_failed", "destination_unreachable", "request_refused", "access_denied",
        "not_found", "not_acceptable", "too_large", "content_differs", "other_content_there",
    }
)  # fmt: skip
"""Those of deliveries; others are of `pacstream.dimse`."""


class State(StrEnum):
    SENT = "sent"
    """Taken, as the receiver says; not verified yet."""
    DELIVERED = "delivered"
    """Taken, and verified as asked."""
    FAILED = "failed"
    UNVERIFIED = "unverified"
    """Taken, as the receiver says, and that could not be confirmed."""
    WAITING = "waiting"
    """Not sent: stopped in between. The next run goes on."""


class Evidence(StrEnum):
    """How it is known that a file is there; the strongest first."""

    COMMITMENT = "commitment"
    """The node has committed itself to its safekeeping (PS3.4 annex J)."""
    CHECKSUM = "checksum"
    """The SHA-256 of what lies there is that of the file."""
    LISTED = "listed"
    """C-FIND at IMAGE level, or QIDO-RS, lists the instance."""
    SIZE = "size"
    """As long as the file, and marked with its SHA-256; the store tells no checksum of its own."""
    STATUS = "status"
    """The status of the C-STORE or STOW-RS response, and nothing else."""
    NONE = "none"


@dataclass(frozen=True)
class Delivery:
    """`reason`: why not, or a warning. `status`: of the response, if it had one. `again`: another
    try may do better."""

    item: Item
    state: State
    reason: str = ""
    status: int | None = None
    evidence: Evidence = Evidence.NONE
    again: bool = False
    was_there: bool = False
    """Before this run."""

    def known_by(self, evidence: Evidence) -> Delivery:
        return replace(self, state=State.DELIVERED, evidence=evidence)

    def unverified(self, reason: str) -> Delivery:
        return replace(self, state=State.UNVERIFIED, reason=reason)


Deliveries = Generator[Delivery, None, None]


def failed(item: Item, reason: str, status: int | None = None, *, again: bool = False) -> Delivery:
    return Delivery(item, State.FAILED, reason, status, again=again)


def all_failed(items: Iterable[Item], reason: str, *, again: bool = False) -> list[Delivery]:
    return [failed(item, reason, again=again) for item in items]


@dataclass(frozen=True)
class Result:
    """`files` = delivered + failed + unverified + waiting + left out."""

    destination: str
    files: int
    states: dict[str, int]
    was_there: int
    left_out: dict[str, int]
    reasons: dict[str, int]
    warnings: dict[str, int]
    evidence: dict[str, int]
    sent_bytes: int
    seconds: float
    report: Path = field(default=Path())
    """A line for each file, in the trusted zone."""

    @property
    def is_whole(self) -> bool:
        """All was delivered, and verified as asked."""
        return self.states.get(State.DELIVERED, 0) == self.files - sum(self.left_out.values())


def summed(
    destination: str,
    deliveries: Iterable[Delivery],
    left_out: Counter[str],
    sent: tuple[int, float],
) -> Result:
    """`sent`: bytes and seconds."""
    found = list(deliveries)
    taken = [one for one in found if one.state is State.DELIVERED]
    return Result(
        destination=destination,
        files=len(found) + left_out.total(),
        states=dict(Counter(one.state.value for one in found)),
        was_there=sum(one.was_there for one in taken),
        left_out=dict(left_out),
        reasons=dict(Counter(one.reason for one in found if one.state is not State.DELIVERED)),
        warnings=dict(Counter(one.reason for one in taken if one.reason)),
        evidence=dict(Counter(one.evidence.value for one in taken)),
        sent_bytes=sent[0],
        seconds=sent[1],
    )
