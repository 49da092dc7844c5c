"""Whether a PACS may be asked for one more series now, and if not, why and until when.

All of it is in the database: a restarted ledger goes on with the same limits, places and breakers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Row, func, select, update

from pacstream.errors import InputError
from pacstream.messages import SeriesMoved
from pacstream_ledger.breaker import FAILING, NOT_TRIED, USUAL, Breaker, is_slow
from pacstream_ledger.schema import BATCHES, MOVES, PACS, insert_new
from pacstream_ledger.throttle import Throttle, debt_after

View = dict[str, Any]
MINUTE = 60.0
AT_WORK = "moves_under_way"
"""The hold that is none: all places at the PACS are taken."""


@dataclass(frozen=True)
class Hold:
    """Why nothing is released to a PACS; `until`: the earliest end, None if it is not a matter of
    time."""

    reason: str
    until: float | None = None


class Gate:
    """`defaults`: the limits of a PACS for which nobody has set any."""

    def __init__(
        self, defaults: Throttle, clock: Callable[[], float], disk_is_low: Callable[[], bool]
    ) -> None:
        self.defaults = defaults
        self.clock = clock
        self.disk_is_low = disk_is_low

    def add(self, db: Connection, pacs: str) -> None:
        """Know a PACS from now on."""
        row = {"pacs": pacs, "throttle": "{}", "breaker": Breaker().model_dump_json()}
        zeros = dict.fromkeys(("virtual_time", "instances_debt", "bytes_debt"), 0.0)
        insert_new(db, PACS, [{**row, **zeros, "debt_at": self.clock()}])

    def row(self, db: Connection, pacs: str) -> Row[Any]:
        found = db.execute(select(PACS).where(PACS.c.pacs == pacs)).one_or_none()
        if found is not None:
            return found
        self.add(db, pacs)
        return db.execute(select(PACS).where(PACS.c.pacs == pacs)).one()

    def throttle(self, row: Row[Any]) -> Throttle:
        return _merged(self.defaults, row.throttle)

    def set_throttle(self, db: Connection, pacs: str, changes: Mapping[str, object]) -> Throttle:
        """Change some limits of a PACS. Raises InputError that says what is wrong."""
        given = self.throttle(self.row(db, pacs)).model_dump(mode="json")
        try:
            throttle = Throttle.model_validate({**given, **changes})
        except ValidationError as error:
            problems = [f"{_where(item)}: {item['msg']}" for item in error.errors()]
            raise InputError("; ".join(problems)) from None
        text = throttle.model_dump_json()
        db.execute(update(PACS).where(PACS.c.pacs == pacs).values(throttle=text))
        return throttle

    # May one more go?

    def hold(self, db: Connection, pacs: str) -> Hold | None:
        """None: one more series may be released now."""
        row = self.row(db, pacs)
        now, throttle = self.clock(), self.throttle(row)
        if self.disk_is_low():
            return Hold("disk_low")
        moving = self.moving(db, pacs)
        held = _held_by_breaker(breaker_of(row), moving, now)
        if held is not None:
            return held
        if not throttle.windows.is_open(now):
            return Hold("outside_window", throttle.windows.opens_at(now))
        if moving >= throttle.moves:
            return Hold(AT_WORK)
        return self._series_hold(db, pacs, throttle, now) or _debt_hold(row, throttle, now)

    def moving(self, db: Connection, pacs: str) -> int:
        """C-MOVEs that the PACS has, or may still get: also those in retrieve's queue."""
        query = (
            select(func.count())
            .select_from(MOVES)
            .where(MOVES.c.pacs == pacs, MOVES.c.ended_at.is_(None))
        )
        return int(db.execute(query).scalar_one())

    def _series_hold(
        self, db: Connection, pacs: str, throttle: Throttle, now: float
    ) -> Hold | None:
        rate = throttle.series_per_minute
        if rate is None:
            return None
        allowed, period = max(1, int(rate)), max(MINUTE, MINUTE / rate)
        query = (
            select(MOVES.c.released_at)
            .where(MOVES.c.pacs == pacs, MOVES.c.released_at > now - period)
            .order_by(MOVES.c.released_at.desc())
            .offset(allowed - 1)
            .limit(1)
        )
        earlier = db.execute(query).scalar()
        return None if earlier is None else Hold("series_per_minute", earlier + period)

    # What happens at the PACS

    def begin_move(
        self, db: Connection, pacs: str, batch_id: str, series_uid: str, number: int
    ) -> None:
        """Take a place; with the breaker open and its pause over, this series is the trial."""
        key = {"pacs": pacs, "batch_id": batch_id, "series_uid": series_uid, "round": number}
        empty = {"reason": "", "instances": 0, "seconds": 0.0}
        insert_new(db, MOVES, [{**key, **empty, "released_at": self.clock()}])
        breaker = breaker_of(self.row(db, pacs))
        if breaker.state == "open":
            self._put_breaker(db, pacs, breaker.probing())

    def end_move(self, db: Connection, moved: SeriesMoved) -> None:
        """Free the place, and let the breaker know. A repetition changes nothing."""
        this = (
            (MOVES.c.batch_id == moved.batch_id)
            & (MOVES.c.series_uid == moved.series_uid)
            & (MOVES.c.round == moved.round)
        )
        now, sent = self.clock(), (moved.completed or 0) + (moved.warning or 0)
        ended = {"ended_at": now, "reason": moved.reason, "seconds": moved.seconds}
        done = db.execute(
            update(MOVES).where(this, MOVES.c.ended_at.is_(None)).values(**ended, instances=sent)
        )
        if not done.rowcount:
            return
        pacs = db.execute(select(MOVES.c.pacs).where(this)).scalar_one()
        self._judge(db, pacs, moved)

    def free_places(self, db: Connection, batch_id: str, series_uid: str) -> None:
        """The requests of a series have become dead letters: none of them will be answered."""
        db.execute(
            update(MOVES)
            .where(
                MOVES.c.batch_id == batch_id,
                MOVES.c.series_uid == series_uid,
                MOVES.c.ended_at.is_(None),
            )
            .values(ended_at=self.clock(), reason="dead_letter")
        )

    def note_received(self, db: Connection, batch_id: str, instances: int, size: int) -> None:
        """Charge what has come in to the PACS of the batch, as far as it has such limits."""
        pacs = db.execute(select(BATCHES.c.pacs).where(BATCHES.c.batch_id == batch_id)).scalar()
        if pacs is None:
            return
        row = self.row(db, pacs)
        throttle, now = self.throttle(row), self.clock()
        if throttle.instances_per_second is None and throttle.bytes_per_second is None:
            return
        left = _debts(row, throttle, now)
        db.execute(
            update(PACS)
            .where(PACS.c.pacs == pacs)
            .values(instances_debt=left[0] + instances, bytes_debt=left[1] + size, debt_at=now)
        )

    def _judge(self, db: Connection, pacs: str, moved: SeriesMoved) -> None:
        row = self.row(db, pacs)
        breaker, throttle, now = breaker_of(row), self.throttle(row), self.clock()
        reason = "nothing_sent" if is_empty_success(moved) else moved.reason
        if reason in NOT_TRIED:
            what = f"{moved.series_uid} {moved.round}"
            after = breaker.after_failure(what, reason, now, throttle)
        elif reason in FAILING:
            after = breaker.after_failure(moved.series_uid, reason, now, throttle)
        else:
            after = breaker.after_success(now)
            if self._is_slow(db, pacs, after, throttle):
                after = after.opened("slow", now, throttle)
        if after != breaker:
            self._put_breaker(db, pacs, after)

    def _is_slow(self, db: Connection, pacs: str, breaker: Breaker, throttle: Throttle) -> bool:
        if not throttle.latency_factor:
            return False
        query = (
            select(MOVES.c.seconds, MOVES.c.instances, MOVES.c.ended_at)
            .where(MOVES.c.pacs == pacs, MOVES.c.ended_at.is_not(None), MOVES.c.instances > 0)
            .order_by(MOVES.c.ended_at.desc())
            .limit(USUAL)
        )
        moves = db.execute(query).all()
        recent = sum(1 for move in moves if move.ended_at > breaker.closed_at)
        return is_slow([move.seconds / move.instances for move in moves], throttle, recent)

    def _put_breaker(self, db: Connection, pacs: str, breaker: Breaker) -> None:
        text = breaker.model_dump_json()
        db.execute(update(PACS).where(PACS.c.pacs == pacs).values(breaker=text))

    # What is told

    def view(self, db: Connection) -> list[View]:
        """Each PACS with its limits, its breaker, and what it bears now."""
        names = db.execute(select(PACS.c.pacs).order_by(PACS.c.pacs)).scalars().all()
        return [self.view_of(db, pacs) for pacs in names]

    def view_of(self, db: Connection, pacs: str) -> View:
        row = self.row(db, pacs)
        breaker, hold, now = breaker_of(row), self.hold(db, pacs), self.clock()
        recent = select(func.count(), func.coalesce(func.sum(MOVES.c.instances), 0))
        ended = db.execute(
            recent.where(MOVES.c.pacs == pacs, MOVES.c.ended_at > now - MINUTE)
        ).one()
        return {
            "pacs": pacs,
            "limits": self.throttle(row).model_dump(mode="json"),
            "breaker": {
                "state": breaker.state,
                "reason": breaker.reason,
                "failing_since": breaker.failing_since,
                "until": breaker.until if breaker.state == "open" else None,
            },
            "moving": self.moving(db, pacs),
            "last_minute": {"series": int(ended[0]), "instances": int(ended[1])},
            "hold": None if hold is None else {"reason": hold.reason, "until": hold.until},
        }


def is_empty_success(moved: SeriesMoved) -> bool:
    """Success, and by its own counters nothing was sent."""
    told = moved.completed is not None
    return not moved.reason and told and not (moved.completed or moved.warning)


def breaker_of(row: Row[Any]) -> Breaker:
    return Breaker.model_validate_json(row.breaker)


def _held_by_breaker(breaker: Breaker, moving: int, now: float) -> Hold | None:
    if breaker.state == "closed":
        return None
    if breaker.state == "open" and now < breaker.until:
        return Hold(f"breaker_open:{breaker.reason}", breaker.until)
    return Hold(f"breaker_half_open:{breaker.reason}") if moving else None


def _debts(row: Row[Any], throttle: Throttle, now: float) -> tuple[float, float]:
    passed = now - row.debt_at
    return (
        _debt(row.instances_debt, passed, throttle.instances_per_second),
        _debt(row.bytes_debt, passed, throttle.bytes_per_second),
    )


def _debt(debt: float, seconds: float, rate: float | None) -> float:
    return 0.0 if rate is None else debt_after(debt, seconds, rate)


def _debt_hold(row: Row[Any], throttle: Throttle, now: float) -> Hold | None:
    instances, size = _debts(row, throttle, now)
    if instances and throttle.instances_per_second:
        return Hold("instances_per_second", now + instances / throttle.instances_per_second)
    if size and throttle.bytes_per_second:
        return Hold("bytes_per_second", now + size / throttle.bytes_per_second)
    return None


@lru_cache(maxsize=64)
def _merged(defaults: Throttle, text: str) -> Throttle:
    return Throttle.model_validate_json(text) if text != "{}" else defaults


def _where(item: Any) -> str:
    return ".".join(str(part) for part in item["loc"]) or "limits"
