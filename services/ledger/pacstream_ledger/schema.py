"""The ledger's tables, for SQLite and PostgreSQL alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url

METADATA = MetaData()

BATCHES = Table(
    "batches",
    METADATA,
    Column("batch_id", String(40), primary_key=True),
    Column("batch", Text, nullable=False),
    Column("submitted_at", String(40), nullable=False),
    Column("released", Integer, nullable=False, default=0),
    Column("last_ended_at", Float, nullable=False, default=0.0),
    Column("finished_at", Float),
    Column("delivered", Boolean),
)

ROWS = Table(
    "rows",
    METADATA,
    Column("batch_id", String(40), primary_key=True),
    Column("row", Integer, primary_key=True),
    Column("state", String(20), nullable=False),
    Column("reason", String(200), nullable=False, default=""),
    Column("series", Integer, nullable=False, default=0),
)

ROW_SERIES = Table(
    "row_series",
    METADATA,
    Column("batch_id", String(40), primary_key=True),
    Column("row", Integer, primary_key=True),
    Column("series_uid", String(64), primary_key=True),
)

ORDERS = Table(
    "orders",
    METADATA,
    Column("batch_id", String(40), primary_key=True),
    Column("series_uid", String(64), primary_key=True),
    Column("sequence", Integer, nullable=False),
    Column("order", Text, nullable=False),
    Column("retrieval", String(12), nullable=False),
    Column("state", String(12), nullable=False),
    Column("reason", String(200), nullable=False, default=""),
    Column("evidence", String(8), nullable=False),
    Column("expected_count", Integer),
    Column("round", Integer, nullable=False, default=0),
    Column("moved", Text, nullable=False, default=""),
    Column("due_at", Float, nullable=False, default=0.0),
    Column("info", String(200), nullable=False, default=""),
    Column("exported", String(200), nullable=False, default=""),
    Column("conversion", String(200), nullable=False, default=""),
    Column("products", Text, nullable=False, default="[]"),
    Column("deidentification", String(200), nullable=False, default=""),
)
"""One series for one batch. `retrieval`: waiting, retrieving, pausing, received, partial, failed,
moved, none. `state`: pending until the last one: complete, withheld, partial, failed. The columns
`info`, `exported`, `conversion` and `deidentification` hold `done`, a state, or `failed:<reason>`.
"""

EXPECTED = Table(
    "expected",
    METADATA,
    Column("batch_id", String(40), primary_key=True),
    Column("series_uid", String(64), primary_key=True),
    Column("sop_instance_uid", String(64), primary_key=True),
)

RECEIVED = Table(
    "received",
    METADATA,
    Column("series_uid", String(64), primary_key=True),
    Column("sop_instance_uid", String(64), primary_key=True),
    Column("size", Integer, nullable=False),
)

OUTCOMES = Table(
    "outcomes",
    METADATA,
    Column("batch_id", String(40), primary_key=True),
    Column("series_uid", String(64), primary_key=True),
    Column("sop_instance_uid", String(64), primary_key=True),
    Column("withheld", String(200), nullable=False, default=""),
)
"""What de-identification made of an instance: released (`withheld` empty) or a reason code."""

FOLDERS = Table(
    "folders",
    METADATA,
    Column("scope", String(64), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("owner", String(200), nullable=False),
)
"""Folder names that are given away, so that no two patients or series share one."""

PARKED = Table(
    "parked",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("batch_id", String(40), nullable=False, index=True),
    Column("topic", String(60), nullable=False),
    Column("body", Text, nullable=False),
)
"""Facts that came before their batch was known."""

OUTBOX = Table(
    "outbox",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("topic", String(60), nullable=False),
    Column("body", Text, nullable=False),
)
"""Messages that follow from what is recorded: same transaction, not yet confirmed."""

Index("orders_by_retrieval", ORDERS.c.retrieval, ORDERS.c.due_at)
Index("orders_by_series", ORDERS.c.series_uid)


def open_database(url: str) -> Engine:
    """Connect and create what is missing. SQLite gets WAL (durable at checkpoint and commit order
    kept, readers never wait)."""
    database = make_url(url)
    if database.get_backend_name() == "sqlite" and database.database:
        Path(database.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, pool_pre_ping=True)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    METADATA.create_all(engine)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.close()


def insert_new(db: Connection, table: Table, rows: Iterable[Mapping[str, object]]) -> None:
    """Insert the rows whose primary key is not there yet."""
    values = [dict(row) for row in rows]
    if not values:
        return
    make = postgresql.insert if db.dialect.name == "postgresql" else sqlite.insert
    db.execute(make(table).on_conflict_do_nothing(), values)
