"""Where each expected instance is, as counts over the sets, by the database.

    expected = done + withheld + failed + cancelled + pending

While nothing happens to a series, its counts are kept in its row (`counted`); only the few series
that have changed since are counted when someone looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    and_,
    bindparam,
    case,
    func,
    literal,
    or_,
    select,
    update,
)

from pacstream.messages import Batch
from pacstream_ledger.schema import DELIVERED, EXPECTED, ORDERS, OUTCOMES, RECEIVED

KEYS = ("expected", "received", "done", "withheld", "failed", "cancelled", "pending")


@dataclass(frozen=True)
class Counts:
    """Of one series, or of some with the same state and retrieval."""

    expected: int
    received: int
    done: int
    withheld: int


def _fresh() -> ColumnElement[bool]:
    """On RECEIVED joined with ORDERS: it has come since the order's first request."""
    return RECEIVED.c.at >= ORDERS.c.since


def here_for(batch: Batch, order: Row[Any]) -> ColumnElement[bool]:
    """The condition on RECEIVED for one order. Without a list of UIDs, and for a refresh, only what
    has come since the request counts."""
    same: ColumnElement[bool] = RECEIVED.c.series_uid == order.series_uid
    if order.evidence == "uids" and not batch.refresh:
        return same
    return and_(same, RECEIVED.c.at >= order.since)


def recount(db: Connection, batch: Batch, series_uid: str) -> None:
    """Keep the counts of a series in its row."""
    key = {"batch_id": batch.batch_id, "series_uid": series_uid}
    row = db.execute(
        _live_query(refresh=batch.refresh, move=batch.actions.move, of_one=True), key
    ).one_or_none()
    counts = None if row is None else _counts(batch, row)
    if counts is None:
        return
    db.execute(
        update(ORDERS)
        .where(ORDERS.c.batch_id == batch.batch_id, ORDERS.c.series_uid == series_uid)
        .values(
            counted=True,
            n_expected=counts.expected,
            n_received=counts.received,
            n_done=counts.done,
            n_withheld=counts.withheld,
        )
    )


def live_counts(db: Connection, batch: Batch) -> dict[str, Counts]:
    """The series whose kept counts are out of date, counted now."""
    query = _live_query(refresh=batch.refresh, move=batch.actions.move, of_one=False)
    rows = db.execute(query, {"batch_id": batch.batch_id}).all()
    return {row.series_uid: _counts(batch, row) for row in rows}


def kept_counts(row: Row[Any]) -> Counts:
    return Counts(row.n_expected, row.n_received, row.n_done, row.n_withheld)


def account(counts: Counts, state: str, retrieval: str) -> dict[str, int]:
    """The counts by `KEYS`; what is neither done nor withheld goes where the series has gone."""
    rest = max(0, counts.expected - counts.done - counts.withheld)
    ended = state != "pending" or retrieval == "failed"
    cancelled = "cancelled" in (state, retrieval)
    return {
        "expected": counts.done + counts.withheld + rest,
        "received": counts.received,
        "done": counts.done,
        "withheld": counts.withheld,
        "failed": rest if ended and not cancelled else 0,
        "cancelled": rest if cancelled else 0,
        "pending": 0 if ended or cancelled else rest,
    }


def totals(db: Connection, batch: Batch) -> dict[str, int]:
    """The account of a whole batch."""
    sums = dict.fromkeys(KEYS, 0)
    for state, retrieval, counts in _kept(db, batch):
        _add(sums, account(counts, state, retrieval))
    live = live_counts(db, batch)
    if live:
        query = select(ORDERS.c.series_uid, ORDERS.c.state, ORDERS.c.retrieval).where(
            ORDERS.c.batch_id == batch.batch_id, ORDERS.c.counted.is_(False)
        )
        for row in db.execute(query).all():
            _add(sums, account(live[row.series_uid], row.state, row.retrieval))
    return sums


def _kept(db: Connection, batch: Batch) -> list[tuple[str, str, Counts]]:
    query = (
        select(
            ORDERS.c.state,
            ORDERS.c.retrieval,
            func.sum(ORDERS.c.n_expected),
            func.sum(ORDERS.c.n_received),
            func.sum(ORDERS.c.n_done),
            func.sum(ORDERS.c.n_withheld),
        )
        .where(ORDERS.c.batch_id == batch.batch_id, ORDERS.c.counted.is_(True))
        .group_by(ORDERS.c.state, ORDERS.c.retrieval)
    )
    return [
        (row[0], row[1], Counts(*(int(number) for number in row[2:])))
        for row in db.execute(query).all()
    ]


def _add(sums: dict[str, int], counts: dict[str, int]) -> None:
    for key, value in counts.items():
        sums[key] += value


@cache
def _live_query(*, refresh: bool, move: bool, of_one: bool) -> Select[Any]:
    """Made once: it is asked for every series that ends."""
    released = case((OUTCOMES.c.withheld == "", 1), else_=0)
    withheld = case((OUTCOMES.c.withheld != "", 1), else_=0)
    delivered = func.count(DELIVERED.c.sop_instance_uid) if move else literal(0)
    one = ORDERS.c.series_uid == bindparam("series_uid")
    return (
        select(
            ORDERS.c.series_uid,
            func.max(ORDERS.c.state).label("state"),
            func.max(func.coalesce(ORDERS.c.expected_count, 0)).label("promised"),
            func.max(ORDERS.c.evidence).label("evidence"),
            func.count(EXPECTED.c.sop_instance_uid).label("listed"),
            func.count(RECEIVED.c.sop_instance_uid).label("received"),
            func.sum(released).label("released"),
            func.sum(withheld).label("withheld"),
            delivered.label("delivered"),
        )
        .select_from(_joined(refresh=refresh, move=move))
        .where(ORDERS.c.batch_id == bindparam("batch_id"))
        .where(one if of_one else ORDERS.c.counted.is_(False))
        .group_by(ORDERS.c.series_uid)
    )


def _joined(*, refresh: bool, move: bool) -> Any:
    same_instance = and_(
        RECEIVED.c.series_uid == EXPECTED.c.series_uid,
        RECEIVED.c.sop_instance_uid == EXPECTED.c.sop_instance_uid,
    )
    if refresh:
        same_instance = and_(same_instance, _fresh())
    else:
        same_instance = and_(same_instance, or_(ORDERS.c.evidence == "uids", _fresh()))
    joined = (
        ORDERS.outerjoin(
            EXPECTED,
            and_(
                EXPECTED.c.batch_id == ORDERS.c.batch_id,
                EXPECTED.c.series_uid == ORDERS.c.series_uid,
            ),
        )
        .outerjoin(RECEIVED, same_instance)
        .outerjoin(OUTCOMES, _of_expected(OUTCOMES))
    )
    return joined.outerjoin(DELIVERED, _of_expected(DELIVERED)) if move else joined


def _of_expected(table: Table) -> ColumnElement[bool]:
    return and_(
        table.c.batch_id == EXPECTED.c.batch_id,
        table.c.series_uid == EXPECTED.c.series_uid,
        table.c.sop_instance_uid == EXPECTED.c.sop_instance_uid,
    )


def _counts(batch: Batch, row: Row[Any]) -> Counts:
    """Without a list, the count that the PACS has given is what was promised."""
    promised = 0 if row.evidence == "uids" else int(row.promised)
    expected = max(int(row.listed), promised)
    if batch.actions.anonymize:
        done = int(row.released or 0)
    elif batch.actions.retrieves:
        done = int(row.received)
    else:
        done = expected if row.state == "complete" else int(row.delivered)
    return Counts(expected, int(row.received), done, int(row.withheld or 0))
