"""Whose turn it is at each PACS, and what else is due.

A series is released when its PACS's gate lets one more in, from the batch that has had the least
so far for its priority: each release costs a batch 1 / 2^priority of virtual time, and a new batch
begins at the present. So a batch of one row waits for one series of a batch of thousands, and every
batch comes to its turn. PACSMAN's batch_size and batch_wait_time hold releases here, too: a pause
occupies no consumer and no association.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, or_, select, update

from pacstream.messages import Batch, Message, SeriesFound, SeriesMoved, WorkFailed
from pacstream_ledger.gate import AT_WORK, Hold, breaker_of
from pacstream_ledger.ledger import Ledger
from pacstream_ledger.rows import settle_rows
from pacstream_ledger.schema import BATCHES, MOVES, ORDERS, PACS
from pacstream_ledger.throttle import release_cost

AT_ONCE = 100
"""What one tick does of each kind at most: facts must not wait long."""

UNTRIED_LIMIT_S = 24 * 3600.0

ANY_WAITING = select(ORDERS.c.series_uid).where(ORDERS.c.retrieval == "waiting").limit(1)


class Scheduler:
    """`stall_s`: a C-MOVE of which nothing is heard for so long has ended without an answer.
    `untried_limit_s`: a series that its PACS does not even let try for so long has failed."""

    def __init__(
        self, ledger: Ledger, *, stall_s: float = 2400.0, untried_limit_s: float = UNTRIED_LIMIT_S
    ) -> None:
        self.ledger = ledger
        self.stall_s = stall_s
        self.untried_limit_s = untried_limit_s
        self._room = True

    def record(self, *facts: Message) -> None:
        """Write facts in one transaction, and release at once what they make room for."""
        frees = any(isinstance(fact, SeriesMoved | WorkFailed) for fact in facts)
        brings = self._room and any(isinstance(fact, SeriesFound) for fact in facts)
        self.ledger.record(*facts, then=self._release_what_waits if frees or brings else None)

    def tick(self) -> None:
        """Do all that is due now. Call it about once a second."""
        with self.ledger.writing() as db:
            for batch_id in settle_rows(db):
                self.ledger.finish_if_done(db, batch_id)
            self.ledger.try_unwritten(db)
            self._end_pauses(db)
            self._end_stalled(db)
            for pacs in self._with_work(db):
                self._fail_untried(db, pacs)
            self._release_all(db)

    # What is due

    def _end_pauses(self, db: Connection) -> None:
        due = (
            select(ORDERS)
            .where(ORDERS.c.retrieval == "pausing", ORDERS.c.due_at <= self.ledger.clock())
            .limit(AT_ONCE)
        )
        for order in db.execute(due).all():
            self.ledger.end_pause(db, order)

    def _end_stalled(self, db: Connection) -> None:
        since = self.ledger.clock() - self.stall_s
        silent = select(MOVES).where(MOVES.c.ended_at.is_(None), MOVES.c.released_at <= since)
        for move in db.execute(silent).all():
            silent_move = SeriesMoved(
                batch_id=move.batch_id,
                series_uid=move.series_uid,
                round=move.round,
                reason="no_answer",
            )
            self.ledger.end_move(db, silent_move)

    def _fail_untried(self, db: Connection, pacs: str) -> None:
        """Series that have waited for too long for a PACS that takes none. Hours outside its
        windows do not count, and none fails while the disk is the reason."""
        row = self.ledger.gate.row(db, pacs)
        breaker = breaker_of(row)
        if (breaker.state == "closed" and not breaker.failures) or self.ledger.gate.disk_is_low():
            return
        windows = self.ledger.gate.throttle(row).windows
        limit = windows.began(self.ledger.clock(), self.untried_limit_s)
        too_long: ColumnElement[bool] = ORDERS.c.untried_since <= limit
        if breaker.failing_since is not None and breaker.failing_since <= limit:
            too_long = or_(too_long, ORDERS.c.waiting_since <= limit)
        query = (
            select(ORDERS)
            .join(BATCHES, BATCHES.c.batch_id == ORDERS.c.batch_id)
            .where(BATCHES.c.pacs == pacs, BATCHES.c.control == "running")
            .where(ORDERS.c.retrieval == "waiting", too_long)
            .limit(AT_ONCE)
        )
        for order in db.execute(query).all():
            batch = self.ledger.require_batch(db, order.batch_id)
            self.ledger.give_up(db, batch, order, order.reason or breaker.reason)
            self.ledger.settle(db, batch, order.series_uid)

    # Whose turn it is

    def _with_work(self, db: Connection) -> list[str]:
        unfinished = select(BATCHES.c.pacs).where(BATCHES.c.finished_at.is_(None)).distinct()
        return list(db.execute(unfinished).scalars())

    def _release_what_waits(self, db: Connection) -> None:
        """As `_release_all`, for less if nothing waits, as in a batch that retrieves nothing."""
        self._room = True
        if db.execute(ANY_WAITING).first() is not None:
            self._release_all(db)

    def _release_all(self, db: Connection) -> None:
        rooms = [self._release(db, pacs) for pacs in self._with_work(db)]
        self._room = any(rooms)

    def _release(self, db: Connection, pacs: str) -> bool:
        """Whether the PACS has room for more than there is to release."""
        for _ in range(AT_ONCE):
            if self.ledger.gate.hold(db, pacs) is not None:
                return False
            if not self._release_next(db, pacs):
                return True
        return False

    def _release_next(self, db: Connection, pacs: str) -> bool:
        """Release one series of the batch whose turn it is; False if there is none to release."""
        now = self.ledger.gate.row(db, pacs).virtual_time
        rows = db.execute(
            select(BATCHES).where(
                BATCHES.c.pacs == pacs,
                BATCHES.c.control == "running",
                BATCHES.c.finished_at.is_(None),
            )
        ).all()
        for row in sorted(rows, key=lambda row: _turn(row, now)):
            if self._holds_back(db, row) is None:
                order = self._first_free(db, row.batch_id)
                if order is not None:
                    self._release_one(db, row, order, _virtual_time(row, now))
                    return True
        return False

    def _release_one(
        self, db: Connection, row: Row[Any], order: Row[Any], virtual_time: float
    ) -> None:
        batch = self.ledger.require_batch(db, row.batch_id)
        if not self.ledger.release(db, batch, order):
            return
        this = BATCHES.c.batch_id == row.batch_id
        after = virtual_time + release_cost(row.priority)
        db.execute(update(BATCHES).where(this).values(virtual_time=after))
        db.execute(update(PACS).where(PACS.c.pacs == row.pacs).values(virtual_time=virtual_time))

    def _holds_back(self, db: Connection, row: Row[Any]) -> Hold | None:
        """After each `batch_size` series: wait for all of them to end, then `batch_wait_s`."""
        batch = Batch.model_validate_json(row.batch)
        if batch.batch_size <= 0 or row.released == 0 or row.released % batch.batch_size:
            return None
        moving = select(MOVES.c.round).where(
            MOVES.c.batch_id == row.batch_id, MOVES.c.ended_at.is_(None)
        )
        if db.execute(moving.limit(1)).first() is not None:
            return Hold("batch_wait")
        until = row.last_ended_at + batch.batch_wait_s
        return Hold("batch_wait", until) if self.ledger.clock() < until else None

    def _first_free(self, db: Connection, batch_id: str) -> Row[Any] | None:
        """The batch's oldest waiting series that no other batch has under way."""
        under_way = ("retrieving", "checking", "pausing")
        busy = select(ORDERS.c.series_uid).where(ORDERS.c.retrieval.in_(under_way))
        moving = select(MOVES.c.series_uid).where(MOVES.c.ended_at.is_(None))
        return db.execute(
            select(ORDERS)
            .where(
                and_(ORDERS.c.batch_id == batch_id, ORDERS.c.retrieval == "waiting"),
                ORDERS.c.due_at <= self.ledger.clock(),
                ORDERS.c.series_uid.not_in(busy),
                ORDERS.c.series_uid.not_in(moving),
            )
            .order_by(ORDERS.c.sequence)
            .limit(1)
        ).one_or_none()

    # What is told

    def held(self, batch_id: str) -> dict[str, Any] | None:
        """Why nothing of the batch is released now: reason and the earliest end. None: it is as
        soon as a place is free, or nothing waits."""
        with self.ledger.engine.begin() as db:
            row = db.execute(select(BATCHES).where(BATCHES.c.batch_id == batch_id)).one_or_none()
            if row is None or row.finished_at is not None or row.control == "cancelled":
                return None
            waiting = select(ORDERS.c.series_uid).where(
                ORDERS.c.batch_id == batch_id, ORDERS.c.retrieval == "waiting"
            )
            if db.execute(waiting.limit(1)).first() is None:
                return None
            if row.control == "paused":
                hold: Hold | None = Hold("paused")
            else:
                hold = self.ledger.gate.hold(db, row.pacs) or self._holds_back(db, row)
            if hold is None or hold.reason == AT_WORK:
                return None
            return {"reason": hold.reason, "until": hold.until}


def _virtual_time(row: Row[Any], now: float) -> float:
    """An idle batch has no claims on the past."""
    return max(float(row.virtual_time or 0.0), now)


def _turn(row: Row[Any], now: float) -> tuple[float, int, int, str, str]:
    return (
        _virtual_time(row, now),
        -row.priority,
        row.released,
        row.submitted_at,
        row.batch_id,
    )
