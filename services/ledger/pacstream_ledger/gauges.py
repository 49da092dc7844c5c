"""What the ledger shows to Prometheus: what waits, what holds it, and room on the disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Select, func, select

from pacstream.metrics import Gauge
from pacstream_ledger.gate import AT_WORK
from pacstream_ledger.ledger import Ledger
from pacstream_ledger.schema import BATCHES, ORDERS, ROWS

BREAKERS = ("closed", "half_open", "open")


def gauges(ledger: Ledger, data: Path) -> Iterator[Gauge]:
    """All values of now. Only what has not ended is counted: it stays small as the ledger grows."""
    with ledger.engine.begin() as db:
        yield from _backlog(db)
        for view in ledger.gate.view(db):
            yield from _of_pacs(view)
    usage = shutil.disk_usage(data)
    yield Gauge("pacstream_disk_free_bytes", "Free bytes below PACSTREAM_DATA.", usage.free)
    yield Gauge("pacstream_disk_bytes", "Size of the disk of PACSTREAM_DATA.", usage.total)


def _backlog(db: Connection) -> Iterator[Gauge]:
    running = select(BATCHES.c.batch_id).where(BATCHES.c.finished_at.is_(None))
    batches = select(func.count()).select_from(running.subquery())
    yield Gauge("pacstream_batches_running", "Unfinished batches.", _number(db, batches))
    rows = select(func.count()).where(ROWS.c.batch_id.in_(running), ROWS.c.state == "waiting")
    yield Gauge("pacstream_rows_waiting", "Rows without an answer.", _number(db, rows))
    series = (
        select(ORDERS.c.retrieval, func.count())
        .where(ORDERS.c.batch_id.in_(running), ORDERS.c.state == "pending")
        .group_by(ORDERS.c.retrieval)
    )
    meaning = "Series that have not ended, by the state of their retrieval."
    for retrieval, number in db.execute(series).all():
        yield Gauge("pacstream_series_pending", meaning, number, {"retrieval": retrieval})


def _number(db: Connection, query: Select[int]) -> int:
    return int(db.execute(query).scalar_one())


def _of_pacs(view: dict[str, Any]) -> Iterator[Gauge]:
    pacs, limits, hold = {"pacs": view["pacs"]}, view["limits"], view["hold"]
    yield Gauge("pacstream_pacs_moves", "C-MOVEs under way.", view["moving"], pacs)
    yield Gauge("pacstream_pacs_moves_allowed", "C-MOVEs at once.", limits["moves"], pacs)
    for state in BREAKERS:
        is_now = view["breaker"]["state"] == state
        yield Gauge("pacstream_pacs_breaker", "1: its state.", is_now, {**pacs, "state": state})
    # all places taken is work, not a hold
    if hold is not None and hold["reason"] != AT_WORK:
        held = {**pacs, "reason": hold["reason"]}
        yield Gauge("pacstream_pacs_held", "1: why nothing is released.", 1, held)
