"""A circuit breaker for one PACS, as a value: each C-MOVE that ends gives the next state.

closed ── failures in a row, or slow ──► open ── pause over ──► half-open: one series
   ▲                                      ▲                        │
   └───────────── it works ───────────────┼────────────────────────┤
                                          └── fails: longer pause ─┘
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Literal

from pydantic import BaseModel, ConfigDict

from pacstream_ledger.throttle import Throttle

LONGEST_PAUSE_S = 600.0
SLOW = "slow"

NOT_TRIED = frozenset(
    {
        "pacs_unreachable",
        "pacs_busy",
        "connection_timed_out",
        "association_rejected",
        "association_aborted",
        "called_aet_unknown",
        "calling_aet_unknown",
        "no_presentation_context",
        "tls_failed",
    }
)
"""The PACS never saw the C-MOVE: it costs the series no round, and says nothing about it."""

FAILING = frozenset(
    {
        "timed_out",
        "stalled",
        "deadline",
        "aborted",
        "no_answer",
        "nothing_sent",
        "pacs_out_of_resources",
        "sub_operations_refused",
    }
)
"""The PACS may be ill; or only this series is: one series counts once."""

RECENT, USUAL, ENOUGH = 5, 200, 20
"""Moves whose median tells the present pace, the usual pace, and how many that takes at least."""

NEVER_SLOW_S = 0.2
"""Seconds an instance below which no PACS counts as slow, whatever it was before."""


class Breaker(BaseModel):
    """`failures` names what has failed in a row since `failing_since`; `until` ends a pause."""

    model_config = ConfigDict(frozen=True)

    state: Literal["closed", "open", "half_open"] = "closed"
    failures: tuple[str, ...] = ()
    failing_since: float | None = None
    reason: str = ""
    pause_s: float = 0.0
    until: float = 0.0
    closed_at: float = 0.0

    def after_failure(self, what: str, reason: str, now: float, throttle: Throttle) -> Breaker:
        """`what` tells failures apart: the same one twice counts once."""
        failures = self.failures if what in self.failures else (*self.failures, what)
        since = now if self.failing_since is None else self.failing_since
        seen = {"failures": failures[-throttle.breaker_failures :], "failing_since": since}
        counted = self.model_copy(update={**seen, "reason": reason})
        if self.state == "half_open" or (
            self.state == "closed" and len(failures) >= throttle.breaker_failures
        ):
            return counted.opened(reason, now, throttle)
        return counted

    def opened(self, reason: str, now: float, throttle: Throttle) -> Breaker:
        pause = min(LONGEST_PAUSE_S, 2 * self.pause_s or throttle.breaker_pause_s)
        since = now if self.failing_since is None else self.failing_since
        change = {"state": "open", "reason": reason, "failing_since": since}
        return self.model_copy(update={**change, "pause_s": pause, "until": now + pause})

    def probing(self) -> Breaker:
        return self.model_copy(update={"state": "half_open"})

    def after_success(self, now: float) -> Breaker:
        if self.state == "closed":
            return Breaker(closed_at=self.closed_at)
        return Breaker(closed_at=now)


def is_slow(seconds: Sequence[float], throttle: Throttle, recent: int) -> bool:
    """`seconds` an instance of the last C-MOVEs, newest first; the first `recent` are of now."""
    if not throttle.latency_factor or recent < RECENT or len(seconds) < RECENT + ENOUGH:
        return False
    now, usual = median(seconds[:RECENT]), median(seconds[RECENT:])
    return now > NEVER_SLOW_S and now > throttle.latency_factor * usual
