"""The batch actions of a batch, one after the other, once every row and series has ended.

waiting ─► running ─► done, failed
   │          ▲ │
   │          └─┘ the next part of a long one
   └─► skipped, cancelled

A batch that opens again (a dead letter is replayed, an operator releases what was withheld) does
them all again: each is safe to repeat, and an answer to what was asked before counts no more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from pacstream.manifest import SeriesResult
from pacstream.messages import ActionFinished, Batch, Order
from pacstream_ledger.accounts import kept_counts
from pacstream_ledger.schema import ORDERS, STEPS

ENDED = ("done", "failed", "skipped", "cancelled")


def open_steps(db: Connection, batch: Batch) -> None:
    for step in range(len(batch.afterwards)):
        key = {"batch_id": batch.batch_id, "step": step}
        db.execute(insert(STEPS).values(**key, state="waiting", part=0, reason="", counts="{}"))


def steps_of(db: Connection, batch_id: str) -> list[Row[Any]]:
    query = select(STEPS).where(STEPS.c.batch_id == batch_id).order_by(STEPS.c.step)
    return list(db.execute(query).all())


def next_step(db: Connection, batch_id: str, *, cancelled: bool) -> Row[Any] | None:
    """The step that is to be asked for now, marked as running; None: nothing is to be asked for.
    What no longer makes sense is given up."""
    spoilt = False
    for row in steps_of(db, batch_id):
        if row.state == "running":
            return None
        if row.state == "waiting" and (cancelled or spoilt):
            _change(db, row, state="cancelled" if cancelled else "skipped")
        elif row.state == "waiting":
            _change(db, row, state="running")
            return row
        spoilt = spoilt or row.state in ("failed", "skipped")
    return None


def all_ended(db: Connection, batch_id: str) -> bool:
    return all(row.state in ENDED for row in steps_of(db, batch_id))


def all_done(db: Connection, batch_id: str) -> bool:
    return all(row.state == "done" for row in steps_of(db, batch_id))


def take_end(db: Connection, message: ActionFinished) -> Row[Any] | None:
    """Note what has come of a step. Gives the step if its next part is to be asked for."""
    row = _running(db, message.batch_id, message.step)
    if row is None or row.part != message.part:
        return None
    counts = json.dumps(message.counts)
    if message.state == "going_on":
        _change(db, row, part=row.part + 1, counts=counts)
        return _running(db, message.batch_id, message.step)
    _change(db, row, state=message.state, reason=message.reason, counts=counts)
    return None


def put_back(db: Connection, row: Row[Any]) -> None:
    """It could not be asked for: it waits again."""
    _change(db, row, state="waiting")


def fail_step(db: Connection, batch_id: str, step: int, reason: str) -> None:
    """The request is a dead letter."""
    row = _running(db, batch_id, step)
    if row is not None:
        _change(db, row, state="failed", reason=reason)


def begin_again(db: Connection, batch_id: str) -> None:
    """The batch has got something that its steps have not seen."""
    started = (STEPS.c.batch_id == batch_id) & (STEPS.c.state != "waiting")
    fresh = {"state": "waiting", "part": STEPS.c.part + 1, "reason": "", "counts": "{}"}
    db.execute(update(STEPS).where(started).values(fresh))


def results(db: Connection, batch: Batch) -> Iterator[SeriesResult]:
    """What the batch has delivered, for the manifest."""
    query = select(ORDERS).where(ORDERS.c.batch_id == batch.batch_id).order_by(ORDERS.c.sequence)
    for row in db.execute(query):
        counts = kept_counts(row)
        yield SeriesResult(
            order=Order.model_validate_json(row._mapping[ORDERS.c.order]),
            state=row.state,
            exported=row.exported == "done",
            info=row.info == "done",
            released=counts.done if batch.actions.anonymize else 0,
            products=tuple(json.loads(row.products)),
        )


def _running(db: Connection, batch_id: str, step: int) -> Row[Any] | None:
    query = select(STEPS).where(
        STEPS.c.batch_id == batch_id, STEPS.c.step == step, STEPS.c.state == "running"
    )
    return db.execute(query).one_or_none()


def _change(db: Connection, row: Row[Any], **values: object) -> None:
    db.execute(
        update(STEPS)
        .where(STEPS.c.batch_id == row.batch_id, STEPS.c.step == row.step)
        .values(**values)
    )
