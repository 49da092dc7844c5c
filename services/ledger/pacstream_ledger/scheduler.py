"""When waiting series are released to retrieve, and when missing instances are asked for again.

Few series are released at a time, from the batch that has the fewest under way: a small batch never
waits behind a large one. PACSMAN's batch_size and batch_wait_time hold releases here, so that a
pause occupies no consumer and no association.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, func, select

from pacstream.messages import Batch, SeriesMoved
from pacstream_ledger.ledger import Ledger
from pacstream_ledger.schema import BATCHES, ORDERS


class Scheduler:
    """`in_flight`: series released at once, over all batches. `stall_s`: a released series of which
    nothing is heard for so long counts as moved without an answer."""

    def __init__(self, ledger: Ledger, *, in_flight: int = 8, stall_s: float = 2400.0) -> None:
        self.ledger = ledger
        self.in_flight = in_flight
        self.stall_s = stall_s

    def tick(self) -> None:
        """Do all that is due now. Call it after every fact and about once a second."""
        with self.ledger.engine.begin() as db:
            self._rounds(db)
            self._stalled(db)
            while (order := self._next_waiting(db)) is not None:
                self.ledger.release(db, order)

    def _rounds(self, db: Connection) -> None:
        due = select(ORDERS).where(
            ORDERS.c.retrieval == "pausing", ORDERS.c.due_at <= self.ledger.clock()
        )
        for order in db.execute(due).all():
            self.ledger.next_round(db, order)

    def _stalled(self, db: Connection) -> None:
        since = self.ledger.clock() - self.stall_s
        silent = select(ORDERS).where(ORDERS.c.retrieval == "retrieving", ORDERS.c.due_at <= since)
        for order in db.execute(silent).all():
            self.ledger.end_move(
                db,
                SeriesMoved(
                    batch_id=order.batch_id,
                    series_uid=order.series_uid,
                    round=order.round,
                    reason="no_answer",
                ),
            )

    def _next_waiting(self, db: Connection) -> Row[Any] | None:
        moving = self._moving(db)
        if sum(moving.values()) >= self.in_flight:
            return None
        waiting = select(ORDERS.c.batch_id).where(ORDERS.c.retrieval == "waiting").distinct()
        candidates = sorted(
            db.execute(waiting).scalars(), key=lambda batch_id: (moving.get(batch_id, 0), batch_id)
        )
        for batch_id in candidates:
            if self._may_release(db, batch_id, moving.get(batch_id, 0)):
                order = self._first_free(db, batch_id)
                if order is not None:
                    return order
        return None

    def _moving(self, db: Connection) -> dict[str, int]:
        query = (
            select(ORDERS.c.batch_id, func.count())
            .where(ORDERS.c.retrieval == "retrieving")
            .group_by(ORDERS.c.batch_id)
        )
        return {batch_id: int(count) for batch_id, count in db.execute(query).all()}

    def _may_release(self, db: Connection, batch_id: str, moving: int) -> bool:
        """After each `batch_size` series: wait for all of them to end, then `batch_wait_s`."""
        row = db.execute(select(BATCHES).where(BATCHES.c.batch_id == batch_id)).one()
        batch = Batch.model_validate_json(row.batch)
        if batch.batch_size <= 0 or row.released == 0 or row.released % batch.batch_size:
            return True
        return not moving and self.ledger.clock() >= row.last_ended_at + batch.batch_wait_s

    def _first_free(self, db: Connection, batch_id: str) -> Row[Any] | None:
        """The batch's oldest waiting series that no other batch has under way."""
        busy = select(ORDERS.c.series_uid).where(ORDERS.c.retrieval.in_(("retrieving", "pausing")))
        return db.execute(
            select(ORDERS)
            .where(
                ORDERS.c.batch_id == batch_id,
                ORDERS.c.retrieval == "waiting",
                ORDERS.c.series_uid.not_in(busy),
            )
            .order_by(ORDERS.c.sequence)
            .limit(1)
        ).one_or_none()
