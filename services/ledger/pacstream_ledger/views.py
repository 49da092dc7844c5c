"""What the ledger tells: status of batches, and the report of one. Plain data, ready for JSON."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, select

from pacstream.messages import Batch, Order, SeriesMoved
from pacstream_ledger.accounts import (
    Counts,
    account,
    here_for,
    kept_counts,
    live_counts,
    totals,
)
from pacstream_ledger.schema import BATCHES, DELIVERED, EXPECTED, ORDERS, RECEIVED, ROW_SERIES, ROWS
from pacstream_ledger.steps import steps_of

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
        return report_in(db, batch_id)


def report_in(db: Connection, batch_id: str) -> View | None:
    """The same in a transaction that is open."""
    row = db.execute(select(BATCHES).where(BATCHES.c.batch_id == batch_id)).one_or_none()
    if row is None:
        return None
    batch = Batch.model_validate_json(row.batch)
    series = _all_series(db, batch)
    links = select(ROW_SERIES).where(ROW_SERIES.c.batch_id == batch_id)
    of_row: dict[int, list[View]] = {}
    lost: dict[int, str] = {}
    for link in db.execute(links).all():
        if link.series_uid in series:
            of_row.setdefault(link.row, []).append(series[link.series_uid])
        if link.lost:
            lost[link.row] = link.lost
    rows = db.execute(select(ROWS).where(ROWS.c.batch_id == batch_id).order_by(ROWS.c.row))
    report = _summary(db, row)
    report["report"] = [
        {
            "row": one.row,
            "state": one.state,
            "reason": one.reason or lost.get(one.row, ""),
            "series": of_row.get(one.row, []),
        }
        for one in rows.all()
    ]
    return report


def _all_series(db: Connection, batch: Batch) -> dict[str, View]:
    live = live_counts(db, batch)
    orders = select(ORDERS).where(ORDERS.c.batch_id == batch.batch_id).order_by(ORDERS.c.sequence)
    return {
        row.series_uid: series_view(db, batch, row, live.get(row.series_uid, kept_counts(row)))
        for row in db.execute(orders).all()
    }


def series_view(db: Connection, batch: Batch, row: Row[Any], counts: Counts) -> View:
    """One series of a batch. The instance counts always add up to `expected`."""
    order = Order.model_validate_json(row._mapping[ORDERS.c.order])
    moved = SeriesMoved.parse(row.moved) if row.moved else None
    incomplete = row.retrieval in ("partial", "failed")
    return {
        "series_uid": row.series_uid,
        "modality": order.series.modality,
        "state": row.state,
        "retrieval": row.retrieval,
        "reason": row.reason,
        "remark": row.remark,
        "evidence": (row.verified or "none") if batch.actions.move else row.evidence,
        "rounds": max(0, row.tried - 1),
        "instances": account(counts, row.state, row.retrieval),
        "missing": _missing(db, batch, row) if incomplete else [],
        "info": row.info,
        "exported": row.exported,
        "conversion": row.conversion,
        "products": json.loads(row.products),
        "folder": f"{order.subject}/{order.session}/{order.folder}",
        "status": None if moved is None else moved.status,
        "retry_at": row.due_at if row.retrieval == "pausing" else None,
        "untried_since": row.untried_since,
    }


def _missing(db: Connection, batch: Batch, row: Row[Any]) -> list[str]:
    """The first thousand SOP Instance UIDs of those that are expected and not here, or with --move
    not listed there."""
    here = select(RECEIVED.c.sop_instance_uid).where(here_for(batch, row))
    if batch.actions.move:
        here = select(DELIVERED.c.sop_instance_uid).where(
            DELIVERED.c.batch_id == row.batch_id, DELIVERED.c.series_uid == row.series_uid
        )
    query = (
        select(EXPECTED.c.sop_instance_uid)
        .where(EXPECTED.c.batch_id == row.batch_id, EXPECTED.c.series_uid == row.series_uid)
        .where(EXPECTED.c.sop_instance_uid.not_in(here))
        .order_by(EXPECTED.c.sop_instance_uid)
        .limit(1000)
    )
    return list(db.execute(query).scalars())


def _summary(db: Connection, row: Row[Any]) -> View:
    batch = Batch.model_validate_json(row.batch)
    return {
        "batch_id": batch.batch_id,
        "name": batch.name,
        "project": batch.project,
        "profile": batch.profile,
        "key_id": batch.key_id,
        "out": batch.out,
        "actions": batch.actions.model_dump(),
        "submitted_at": batch.submitted_at,
        "finished_at": row.finished_at,
        "delivered": row.delivered,
        "control": row.control,
        "priority": row.priority,
        "pacs": row.pacs,
        "rows": {"submitted": batch.rows, **_states(db, ROWS.c.state, batch.batch_id)},
        "series": _states(db, ORDERS.c.state, batch.batch_id),
        "retrieval": _states(db, ORDERS.c.retrieval, batch.batch_id),
        "instances": totals(db, batch),
        "converted": _with_any(db, ORDERS.c.conversion, batch.batch_id),
        "exported": _with_any(db, ORDERS.c.exported, batch.batch_id),
        "afterwards": _afterwards(db, batch),
    }


def _afterwards(db: Connection, batch: Batch) -> list[View]:
    rows = steps_of(db, batch.batch_id) if batch.afterwards else []
    return [
        {
            "action": batch.afterwards[row.step].name,
            "state": row.state,
            "reason": row.reason,
            "counts": json.loads(row.counts),
        }
        for row in rows
    ]


def _with_any(db: Connection, column: Any, batch_id: str) -> int:
    query = select(func.count()).where(ORDERS.c.batch_id == batch_id, column != "")
    return int(db.execute(query).scalar_one())


def _states(db: Connection, column: Any, batch_id: str) -> dict[str, int]:
    table = column.table
    query = select(column, func.count()).where(table.c.batch_id == batch_id).group_by(column)
    return {state: int(count) for state, count in db.execute(query).all()}
