"""The ledger's book: what is written down, and how it is looked up. No decisions here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Row,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)

from pacstream.manifest import SeriesResult
from pacstream.messages import MESSAGES, Batch, Message, Order
from pacstream_ledger.accounts import here_for, recount
from pacstream_ledger.gate import Gate
from pacstream_ledger.rows import add_row
from pacstream_ledger.schema import (
    BATCHES,
    DELIVERED,
    EXPECTED,
    ORDERS,
    OUTBOX,
    OUTCOMES,
    RECEIVED,
    ROWS,
)
from pacstream_ledger.steps import begin_again
from pacstream_ledger.throttle import Throttle

CLASS_OF = {message.topic: message for message in MESSAGES}

OUTBOX_SIZE = 200
"""Messages that are looked up, and sent, at once."""

BATCH = select(BATCHES.c.batch).where(BATCHES.c.batch_id == bindparam("batch_id"))
CONTROL = select(BATCHES.c.control).where(BATCHES.c.batch_id == bindparam("batch_id"))
ORDER = select(ORDERS).where(
    ORDERS.c.batch_id == bindparam("batch_id"), ORDERS.c.series_uid == bindparam("series_uid")
)
ANY_RECEIVED = (
    select(RECEIVED.c.series_uid).where(RECEIVED.c.series_uid == bindparam("series_uid")).limit(1)
)
WITHHELD = select(OUTCOMES.c.sop_instance_uid, OUTCOMES.c.withheld).where(
    OUTCOMES.c.batch_id == bindparam("batch_id"),
    OUTCOMES.c.series_uid == bindparam("series_uid"),
    OUTCOMES.c.withheld != "",
)
OUTBOX_HEAD = (
    select(OUTBOX).where(OUTBOX.c.id > bindparam("after")).order_by(OUTBOX.c.id).limit(OUTBOX_SIZE)
)
OUTBOX_SENT = delete(OUTBOX).where(OUTBOX.c.id <= bindparam("last"))
REOPEN = (
    update(BATCHES)
    .where(BATCHES.c.batch_id == bindparam("the_batch"), BATCHES.c.finished_at.is_not(None))
    .values(finished_at=None, delivered=None)
)
CHANGE_ORDER = update(ORDERS).where(
    ORDERS.c.batch_id == bindparam("of_batch"), ORDERS.c.series_uid == bindparam("of_series")
)
ANY_IN = {
    table: select(table.c.batch_id)
    .where(table.c.batch_id == bindparam("batch_id"), table.c.state == bindparam("state"))
    .limit(1)
    for table in (ORDERS, ROWS)
}
"""Made once: what is asked or changed for every fact."""


@lru_cache(maxsize=64)
def _parsed(text: str) -> Batch:
    return Batch.model_validate_json(text)


@dataclass(frozen=True)
class Unsent:
    """A message in the outbox, and the id of the one that led to it, if any."""

    outbox_id: int
    message: Message
    cause: str


def _nothing(batch_id: str) -> None:
    """Nobody has to be told that a batch is cancelled."""


def _no_manifest(batch: Batch, series: Iterable[SeriesResult]) -> str:
    """There is no trusted zone to write it to."""
    return ""


def _no_view(view: dict[str, Any]) -> None:
    """There is no trusted zone to write it to."""


class Book:
    """The one writer of the database behind `engine`.

    `present(series_uid)` tells which instances lie in the archive, `cancel(batch_id)` tells the
    other services that a batch is cancelled, `keep_manifest` writes down what a batch has delivered
    and gives the path. `rounds`: how often missing instances are asked for again, `round_pause_s`:
    the first pause before that (it doubles). `throttle`: the limits of a PACS for which nobody has
    set any.
    """

    def __init__(
        self,
        engine: Engine,
        present: Callable[[str], set[str]],
        *,
        cancel: Callable[[str], None] = _nothing,
        keep_manifest: Callable[[Batch, Iterable[SeriesResult]], str] = _no_manifest,
        keep_view: Callable[[dict[str, Any]], None] = _no_view,
        disk_is_low: Callable[[], bool] = lambda: False,
        throttle: Throttle | None = None,
        rounds: int = 3,
        round_pause_s: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.engine = engine
        self.present = present
        self.cancel = cancel
        self.keep_view = keep_view
        self.keep_manifest = keep_manifest
        self.rounds = rounds
        self.round_pause_s = round_pause_s
        self.clock = clock
        self.gate = Gate(throttle or Throttle(), clock, disk_is_low)
        self._sent_until = 0
        self._cause = ""

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction. It also forgets the messages that were sent since the last one, which
        saves a commit for each: after a crash they are sent once more."""
        with self.engine.begin() as db:
            if self._sent_until:
                db.execute(OUTBOX_SENT, {"last": self._sent_until})
            yield db
        self._sent_until = 0

    @contextmanager
    def caused_by(self, message_id: str) -> Iterator[None]:
        """What is sent in this block follows from that message."""
        self._cause = message_id
        try:
            yield
        finally:
            self._cause = ""

    def outbox(self) -> list[Unsent]:
        """The first messages that follow from the recorded facts and are not yet marked as sent, in
        order; if there are fewer than `OUTBOX_SIZE`, that is all."""
        with self.engine.connect() as db:
            rows = db.execute(OUTBOX_HEAD, {"after": self._sent_until}).all()
        return [Unsent(row.id, CLASS_OF[row.topic].parse(row.body), row.cause) for row in rows]

    def sent(self, last: Unsent) -> None:
        """This message of the outbox and all before it are confirmed by the broker."""
        self._sent_until = last.outbox_id

    # Looking things up

    def batch(self, db: Connection, batch_id: str) -> Batch | None:
        text = db.execute(BATCH, {"batch_id": batch_id}).scalar_one_or_none()
        return _parsed(text) if text else None

    def knows(self, db: Connection, batch_id: str) -> bool:
        return db.execute(CONTROL, {"batch_id": batch_id}).first() is not None

    def has_any(self, db: Connection, series_uid: str) -> bool:
        """Whether any instance of the series has ever come in."""
        return db.execute(ANY_RECEIVED, {"series_uid": series_uid}).first() is not None

    def require_batch(self, db: Connection, batch_id: str) -> Batch:
        batch = self.batch(db, batch_id)
        assert batch is not None
        return batch

    def pacs(self, db: Connection, batch_id: str) -> str:
        """The key of the PACS that a batch is fetched from."""
        query = select(BATCHES.c.pacs).where(BATCHES.c.batch_id == batch_id)
        return str(db.execute(query).scalar_one())

    def any_in(self, db: Connection, table: Any, batch_id: str, state: str) -> bool:
        key = {"batch_id": batch_id, "state": state}
        return db.execute(ANY_IN[table], key).first() is not None

    def control(self, db: Connection, batch_id: str) -> str:
        """running, paused or cancelled."""
        return str(db.execute(CONTROL, {"batch_id": batch_id}).scalar_one())

    def order_row(self, db: Connection, batch_id: str, series_uid: str) -> Row[Any] | None:
        key = {"batch_id": batch_id, "series_uid": series_uid}
        return db.execute(ORDER, key).one_or_none()

    def order(self, row: Row[Any]) -> Order:
        return Order.model_validate_json(row._mapping[ORDERS.c.order])

    def expected(self, db: Connection, order: Row[Any]) -> set[str]:
        query = select(EXPECTED.c.sop_instance_uid).where(
            EXPECTED.c.batch_id == order.batch_id, EXPECTED.c.series_uid == order.series_uid
        )
        return set(db.execute(query).scalars())

    def delivered(self, db: Connection, order: Row[Any]) -> set[str]:
        """What the destination of a --move has listed."""
        query = select(DELIVERED.c.sop_instance_uid).where(
            DELIVERED.c.batch_id == order.batch_id, DELIVERED.c.series_uid == order.series_uid
        )
        return set(db.execute(query).scalars())

    def received(self, db: Connection, batch: Batch, order: Row[Any]) -> set[str]:
        """What is here for this order."""
        query = select(RECEIVED.c.sop_instance_uid).where(here_for(batch, order))
        return set(db.execute(query).scalars())

    def count_received(self, db: Connection, batch: Batch, order: Row[Any]) -> int:
        query = select(func.count()).select_from(RECEIVED).where(here_for(batch, order))
        return int(db.execute(query).scalar_one())

    def lacks_any(self, db: Connection, batch: Batch, order: Row[Any]) -> bool:
        """Whether an expected instance is not here, or none is expected."""
        here = exists().where(
            RECEIVED.c.sop_instance_uid == EXPECTED.c.sop_instance_uid, here_for(batch, order)
        )
        mine = (EXPECTED.c.batch_id == order.batch_id) & (EXPECTED.c.series_uid == order.series_uid)
        query = select(EXPECTED.c.sop_instance_uid).where(mine)
        if db.execute(query.limit(1)).first() is None:
            return True
        return db.execute(query.where(~here).limit(1)).first() is not None

    def without_outcome(self, db: Connection, batch: Batch, order: Row[Any]) -> set[str]:
        """Expected instances that are here, and neither released nor withheld for this order."""
        query = (
            select(EXPECTED.c.sop_instance_uid)
            .select_from(
                EXPECTED.join(
                    RECEIVED,
                    and_(
                        RECEIVED.c.sop_instance_uid == EXPECTED.c.sop_instance_uid,
                        here_for(batch, order),
                    ),
                ).outerjoin(
                    OUTCOMES,
                    and_(
                        OUTCOMES.c.batch_id == EXPECTED.c.batch_id,
                        OUTCOMES.c.series_uid == EXPECTED.c.series_uid,
                        OUTCOMES.c.sop_instance_uid == EXPECTED.c.sop_instance_uid,
                    ),
                )
            )
            .where(
                EXPECTED.c.batch_id == order.batch_id,
                EXPECTED.c.series_uid == order.series_uid,
                OUTCOMES.c.sop_instance_uid.is_(None),
            )
        )
        return set(db.execute(query).scalars())

    def withheld_instances(self, db: Connection, batch_id: str, series_uid: str) -> dict[str, str]:
        """The reason code of each instance of a series that is withheld from a batch."""
        rows = db.execute(WITHHELD, {"batch_id": batch_id, "series_uid": series_uid})
        return {row.sop_instance_uid: row.withheld for row in rows.all()}

    # Writing

    def send(self, db: Connection, message: Message) -> None:
        body = {"topic": message.topic, "body": message.model_dump_json(), "cause": self._cause}
        db.execute(insert(OUTBOX), body)

    def note_end_of_move(self, db: Connection, batch_id: str) -> None:
        changed = update(BATCHES).where(BATCHES.c.batch_id == batch_id)
        db.execute(changed.values(last_ended_at=self.clock()))

    def mark_changed(self, db: Connection, series_uid: str) -> None:
        """The kept counts of a series are out of date, for every batch that has it."""
        db.execute(
            update(ORDERS)
            .where(ORDERS.c.series_uid == series_uid, ORDERS.c.counted.is_(True))
            .values(counted=False)
        )

    def keep_counts(self, db: Connection, batch: Batch, series_uid: str) -> None:
        recount(db, batch, series_uid)

    def change(self, db: Connection, order: Row[Any], **values: object) -> None:
        key = {"of_batch": order.batch_id, "of_series": order.series_uid}
        db.execute(CHANGE_ORDER, {**key, **values})

    def again(self, db: Connection, order: Row[Any]) -> Row[Any]:
        """The order as it is now."""
        row = self.order_row(db, order.batch_id, order.series_uid)
        assert row is not None
        return row

    def pause(self, db: Connection, order: Row[Any]) -> None:
        """Instances may still be on their way; each round gives them twice as long."""
        pause = self.round_pause_s * 2 ** (order.tried - 1)
        self.change(db, order, retrieval="pausing", due_at=self.clock() + pause)

    def wait_for_turn(self, db: Connection, order: Row[Any]) -> None:
        """What is missing is asked for once the batch's turn has come."""
        waits = {"retrieval": "waiting", "due_at": 0.0, "waiting_since": self.clock()}
        self.change(db, order, **waits)

    def add_row(self, db: Connection, batch_id: str, row: int) -> None:
        """Safe to repeat."""
        add_row(db, batch_id, row, cancelled=self.control(db, batch_id) == "cancelled")

    def reopen(self, db: Connection, batch_id: str) -> None:
        """The batch has something new to deliver: a series, or what a dead letter was about."""
        db.execute(REOPEN, {"the_batch": batch_id})
        if self.require_batch(db, batch_id).afterwards:
            begin_again(db, batch_id)

    def unfinished(self, db: Connection) -> set[str]:
        """Batches that have not ended."""
        query = select(BATCHES.c.batch_id).where(BATCHES.c.finished_at.is_(None))
        return set(db.execute(query).scalars())

    def states(self, db: Connection, table: Any, batch_id: str) -> dict[str, int]:
        query = (
            select(table.c.state, func.count())
            .where(table.c.batch_id == batch_id)
            .group_by(table.c.state)
        )
        return {state: int(count) for state, count in db.execute(query).all()}
