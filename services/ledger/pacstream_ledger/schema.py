"""The ledger's tables, for SQLite and PostgreSQL alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
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
    false,
    inspect,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.schema import CreateColumn

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
    Column("pacs", String(300), nullable=False, server_default=""),
    Column("control", String(12), nullable=False, server_default="running"),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("virtual_time", Float),
)
"""`control`: running, paused, cancelled. `virtual_time`: the batch's share of its PACS so far."""

STEPS = Table(
    "steps",
    METADATA,
    Column("batch_id", String(40), primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("state", String(12), nullable=False),
    Column("part", Integer, nullable=False, default=0),
    Column("reason", String(200), nullable=False, default=""),
    Column("counts", Text, nullable=False, default="{}"),
)
"""The batch actions that follow when all series have ended. `state`: waiting, running; then done,
failed, skipped (one before it has failed) or cancelled."""

ROWS = Table(
    "rows",
    METADATA,
    Column("batch_id", String(40), primary_key=True),
    Column("row", Integer, primary_key=True),
    Column("state", String(20), nullable=False),
    Column("reason", String(200), nullable=False, default=""),
    Column("series", Integer, nullable=False, default=0),
)
"""`series`: how many distinct series query.answered has announced. `reason`: why there is no answer
or none to trust."""

ROW_SERIES = Table(
    "row_series",
    METADATA,
    Column("batch_id", String(40), primary_key=True),
    Column("row", Integer, primary_key=True),
    Column("series_uid", String(64), primary_key=True),
    Column("lost", String(200), nullable=False, default="", server_default=""),
)
"""The series that a row matches. `lost`: why the row does not have it."""

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
    Column("asked", Integer, nullable=False, server_default="0"),
    Column("tried", Integer, nullable=False, server_default="0"),
    Column("since", Float, nullable=False, server_default="0"),
    Column("waiting_since", Float, nullable=False, server_default="0"),
    Column("untried_since", Float),
    Column("moved", Text, nullable=False, default=""),
    Column("due_at", Float, nullable=False, default=0.0),
    Column("info", String(200), nullable=False, default=""),
    Column("exported", String(200), nullable=False, default=""),
    Column("conversion", String(200), nullable=False, default=""),
    Column("products", Text, nullable=False, default="[]"),
    Column("deidentification", String(200), nullable=False, default=""),
    Column("remark", String(200), nullable=False, server_default=""),
    Column("counted", Boolean, nullable=False, server_default=false()),
    Column("n_expected", Integer, nullable=False, server_default="0"),
    Column("n_received", Integer, nullable=False, server_default="0"),
    Column("n_done", Integer, nullable=False, server_default="0"),
    Column("n_withheld", Integer, nullable=False, server_default="0"),
    Column("gaps", Integer, nullable=False, server_default="0"),
    Column("listing", Integer, nullable=False, server_default="0"),
    Column("verified", String(8), nullable=False, server_default=""),
)
"""One series for one batch. `retrieval`: waiting, retrieving, checking, pausing, received, partial,
failed, moved, none, cancelled. `state`: pending until the last one: complete, withheld, partial,
failed, cancelled. The columns `info`, `exported`, `conversion` and `deidentification` hold `done`,
a state, or `failed:<reason>`.

`round` is the number of the last request, `asked` how many there were, `tried` how many of them the
PACS has tried; `since` the time of the first. The `n_...` are copies of what the sets say, right
while `counted` is true. `gaps`: how many instances the last request was for, 0: the whole series.

Of a --move: `listing` is how often the destination was asked after the last request, `verified` the
evidence by which the series has ended.
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
    Column("at", Float, nullable=False, server_default="0"),
)
"""What is durable in the archive; `at`: when it came last."""

MOVES = Table(
    "moves",
    METADATA,
    Column("batch_id", String(40), primary_key=True),
    Column("series_uid", String(64), primary_key=True),
    Column("round", Integer, primary_key=True),
    Column("pacs", String(300), nullable=False),
    Column("released_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("reason", String(200), nullable=False, default=""),
    Column("instances", Integer, nullable=False, default=0),
    Column("seconds", Float, nullable=False, default=0.0),
)
"""Every C-MOVE that was asked for. One without an end occupies a place at its PACS."""

PACS = Table(
    "pacs",
    METADATA,
    Column("pacs", String(300), primary_key=True),
    Column("throttle", Text, nullable=False),
    Column("breaker", Text, nullable=False),
    Column("virtual_time", Float, nullable=False, default=0.0),
    Column("instances_debt", Float, nullable=False, default=0.0),
    Column("bytes_debt", Float, nullable=False, default=0.0),
    Column("debt_at", Float, nullable=False, default=0.0),
)
"""`throttle`: the limits that an operator has set. Debts: what was received beyond the rates."""

OUTCOMES = Table(
    "outcomes",
    METADATA,
    Column("batch_id", String(40), primary_key=True),
    Column("series_uid", String(64), primary_key=True),
    Column("sop_instance_uid", String(64), primary_key=True),
    Column("withheld", String(200), nullable=False, default=""),
)
"""What de-identification made of an instance: released (`withheld` empty) or a reason code."""

DELIVERED = Table(
    "delivered",
    METADATA,
    Column("batch_id", String(40), primary_key=True),
    Column("series_uid", String(64), primary_key=True),
    Column("sop_instance_uid", String(64), primary_key=True),
)
"""What the destination of a --move has listed."""

FOLDERS = Table(
    "folders",
    METADATA,
    Column("scope", String(64), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("owner", String(200), nullable=False),
)
"""Folder names that are given away, so that no two patients or series share one."""

SUBJECTS = Table(
    "subjects",
    METADATA,
    Column("project", String(64), primary_key=True),
    Column("patient", String(64), primary_key=True),
    Column("pseudonym", String(64), nullable=False),
)
"""Who is called what in a project's release. `patient` is a digest; `pseudonym` is empty where the
project's key makes it."""

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
    Column("cause", String(40), nullable=False, server_default=""),
)
"""Messages that follow from what is recorded: same transaction, not yet confirmed. `cause`: the id
of the message that led to it."""

Index("orders_by_retrieval", ORDERS.c.retrieval, ORDERS.c.due_at)
Index("orders_by_turn", ORDERS.c.batch_id, ORDERS.c.retrieval, ORDERS.c.sequence)
Index("orders_by_state", ORDERS.c.batch_id, ORDERS.c.state)
Index("orders_by_sequence", ORDERS.c.sequence)
Index("rows_by_state", ROWS.c.batch_id, ROWS.c.state)
Index("moves_by_end", MOVES.c.pacs, MOVES.c.ended_at)
Index("moves_by_release", MOVES.c.pacs, MOVES.c.released_at)
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
    _add_missing_columns(engine)
    return engine


def _add_missing_columns(engine: Engine) -> None:
    """A database of an older version gets the columns that are new; each has a default."""
    inspector = inspect(engine)
    with engine.begin() as db:
        for table in METADATA.sorted_tables:
            there = {column["name"] for column in inspector.get_columns(table.name)}
            for column in table.columns:
                if column.name not in there:
                    definition = CreateColumn(column).compile(dialect=engine.dialect)
                    db.execute(text(f"ALTER TABLE {table.name} ADD COLUMN {definition}"))
    with engine.begin() as db:
        for table in METADATA.sorted_tables:
            for index in table.indexes:
                index.create(db, checkfirst=True)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.close()


def insert_new(db: Connection, table: Table, rows: Iterable[Mapping[str, object]]) -> None:
    """Insert the rows whose primary key is not there yet."""
    if values := [dict(row) for row in rows]:
        db.execute(_insert_new(table, db.dialect.name), values)


def put(db: Connection, table: Table, rows: Iterable[Mapping[str, object]]) -> None:
    """Insert the rows, all columns given, or overwrite those whose primary key is there."""
    if values := [dict(row) for row in rows]:
        db.execute(_put(table, db.dialect.name), values)


@cache
def _insert_new(table: Table, dialect: str) -> Any:
    make = postgresql.insert if dialect == "postgresql" else sqlite.insert
    return make(table).on_conflict_do_nothing()


@cache
def _put(table: Table, dialect: str) -> Any:
    make = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = make(table)
    keys = [column.name for column in table.primary_key]
    others = {
        column.name: statement.excluded[column.name]
        for column in table.columns
        if column.name not in keys
    }
    return statement.on_conflict_do_update(index_elements=keys, set_=others)
