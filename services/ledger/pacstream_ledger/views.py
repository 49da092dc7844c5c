"""What the ledger tells: status of batches, and the report of one. Plain data, ready for JSON."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, select

from pacstream.messages import Batch, Order, SeriesMoved
from pacstream_ledger.schema import (
    BATCHES,
    EXPECTED,
    ORDERS,
    OUTCOMES,
    RECEIVED,
    ROW_SERIES,
    ROWS,
)

View = dict[str, Any]


def list_batches(engine: Engine) -> list[View]:
    """All batches, newest first."""
    with engine.connect() as db:
        rows = db.execute(select(BATCHES).order_by(BATCHES.c.submitted_at.desc())).all()
        return [_summary(db, row) for row in rows]


def batch_status(engine: Engine, batch_id: str) -> View | None:
    """Counts of rows, series and instances of one batch; None if it is unknown."""
    with engine.connect() as db:
        row = db.execute(select(BATCHES).where(BATCHES.c.batch_id == batch_id)).one_or_none()
        return None if row is None else _summary(db, row)


def batch_report(engine: Engine, batch_id: str) -> View | None:
    """The status, and each row with each of its series."""
    with engine.connect() as db:
        row = db.execute(select(BATCHES).where(BATCHES.c.batch_id == batch_id)).one_or_none()
        if row is None:
            return None
        orders = select(ORDERS).where(ORDERS.c.batch_id == batch_id).order_by(ORDERS.c.sequence)
        series = {order.series_uid: series_view(db, order) for order in db.execute(orders).all()}
        links = select(ROW_SERIES).where(ROW_SERIES.c.batch_id == batch_id)
        of_row: dict[int, list[View]] = {}
        for link in db.execute(links).all():
            if link.series_uid in series:
                of_row.setdefault(link.row, []).append(series[link.series_uid])
        rows = db.execute(select(ROWS).where(ROWS.c.batch_id == batch_id).order_by(ROWS.c.row))
        report = _summary(db, row)
        report["report"] = [
            {
                "row": one.row,
                "state": one.state,
                "reason": one.reason,
                "series": of_row.get(one.row, []),
            }
            for one in rows.all()
        ]
        return report


def series_view(db: Connection, row: Row[Any]) -> View:
    """One series of a batch. The instance counts always add up to `expected`."""
    order = Order.model_validate_json(row._mapping[ORDERS.c.order])
    moved = SeriesMoved.parse(row.moved) if row.moved else None
    missing = _missing(db, row)
    return {
        "series_uid": row.series_uid,
        "modality": order.series.modality,
        "state": row.state,
        "retrieval": row.retrieval,
        "reason": row.reason,
        "evidence": row.evidence,
        "rounds": row.round,
        "instances": account(db, row, order),
        "missing": sorted(missing)[:1000] if row.retrieval in ("partial", "failed") else [],
        "info": row.info,
        "exported": row.exported,
        "conversion": row.conversion,
        "products": json.loads(row.products),
        "folder": f"{order.subject}/{order.session}/{order.folder}",
        "status": None if moved is None else moved.status,
        "retry_at": row.due_at if row.retrieval == "pausing" else None,
    }


def account(db: Connection, row: Row[Any], order: Order) -> dict[str, int]:
    """Where each expected instance is: expected = done + withheld + failed + pending."""
    expected = _uids(db, EXPECTED, row)
    received = set(
        db.execute(
            select(RECEIVED.c.sop_instance_uid).where(RECEIVED.c.series_uid == row.series_uid)
        ).scalars()
    )
    outcomes = {
        one.sop_instance_uid: one.withheld
        for one in db.execute(
            select(OUTCOMES).where(
                OUTCOMES.c.batch_id == row.batch_id, OUTCOMES.c.series_uid == row.series_uid
            )
        ).all()
    }
    if order.actions.anonymize:
        done = {uid for uid, withheld in outcomes.items() if not withheld} & expected
    elif order.actions.retrieves:
        done = received & expected
    else:
        done = expected if row.state == "complete" else set()
    withheld = {uid for uid, reason in outcomes.items() if reason} & expected
    rest = expected - done - withheld
    ended = row.state != "pending" or row.retrieval == "failed"
    return {
        "expected": len(expected),
        "received": len(received & expected),
        "done": len(done),
        "withheld": len(withheld),
        "failed": len(rest) if ended else 0,
        "pending": 0 if ended else len(rest),
    }


def _missing(db: Connection, row: Row[Any]) -> set[str]:
    received = select(RECEIVED.c.sop_instance_uid).where(RECEIVED.c.series_uid == row.series_uid)
    return _uids(db, EXPECTED, row) - set(db.execute(received).scalars())


def _uids(db: Connection, table: Any, row: Row[Any]) -> set[str]:
    query = select(table.c.sop_instance_uid).where(
        table.c.batch_id == row.batch_id, table.c.series_uid == row.series_uid
    )
    return set(db.execute(query).scalars())


def _summary(db: Connection, row: Row[Any]) -> View:
    batch = Batch.model_validate_json(row.batch)
    orders = db.execute(select(ORDERS).where(ORDERS.c.batch_id == batch.batch_id)).all()
    totals = dict.fromkeys(("expected", "received", "done", "withheld", "failed", "pending"), 0)
    for one in orders:
        order = Order.model_validate_json(one._mapping[ORDERS.c.order])
        for key, value in account(db, one, order).items():
            totals[key] += value
    return {
        "batch_id": batch.batch_id,
        "name": batch.name,
        "out": batch.out,
        "actions": batch.actions.model_dump(),
        "submitted_at": batch.submitted_at,
        "finished_at": row.finished_at,
        "delivered": row.delivered,
        "rows": {"submitted": batch.rows, **_states(db, ROWS.c.state, batch.batch_id)},
        "series": _states(db, ORDERS.c.state, batch.batch_id),
        "retrieval": _states(db, ORDERS.c.retrieval, batch.batch_id),
        "instances": totals,
        "converted": sum(1 for one in orders if one.conversion),
        "exported": sum(1 for one in orders if one.exported),
    }


def _states(db: Connection, column: Any, batch_id: str) -> dict[str, int]:
    table = column.table
    query = select(column, func.count()).where(table.c.batch_id == batch_id).group_by(column)
    return {state: int(count) for state, count in db.execute(query).all()}
