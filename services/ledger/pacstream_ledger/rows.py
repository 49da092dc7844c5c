"""The rows of a batch: each has its last state once every series announced for it is recorded.

The number comes with query.answered, the series one by one with series.found, in any order. What is
compared with the number is the set of the row's series (ROW_SERIES), the lost ones included: a
series.found that became a dead letter fails its row, and does not keep it waiting.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, and_, bindparam, func, or_, select, update

from pacstream_ledger.schema import BATCHES, ROW_SERIES, ROWS, insert_new

ANSWERED = and_(
    ROWS.c.state != "cancelled",
    or_(ROWS.c.state != "waiting", ROWS.c.series > 0, ROWS.c.reason != ""),
)

FIND_LOST = (
    update(ROW_SERIES)
    .where(
        *(ROW_SERIES.c[key] == bindparam(f"the_{key}") for key in ("batch_id", "row", "series_uid"))
    )
    .where(ROW_SERIES.c.lost != "")
    .values(lost="")
)
"""Made once: it runs for every series."""


def add_row(db: Connection, batch_id: str, row: int, *, cancelled: bool) -> None:
    """A row that is new waits, unless its batch is cancelled already."""
    state = "cancelled" if cancelled else "waiting"
    values = {"state": state, "reason": "cancelled" if cancelled else "", "series": 0}
    insert_new(db, ROWS, [{"batch_id": batch_id, "row": row, **values}])


def note_answer(db: Connection, batch_id: str, row: int, series: int, reason: str) -> None:
    """The PACS has answered the row. The last answer counts: a dead letter may be replayed."""
    _change(db, batch_id, row, state="answered", series=series, reason=reason)


def note_failure(db: Connection, batch_id: str, row: int, reason: str) -> None:
    _change(db, batch_id, row, state="failed", reason=reason)


def note_series(db: Connection, batch_id: str, row: int, series_uid: str) -> None:
    """A series of the row is recorded, be it that it was given up for lost before."""
    key = {"batch_id": batch_id, "row": row, "series_uid": series_uid}
    insert_new(db, ROW_SERIES, [key])
    if db.execute(FIND_LOST, {f"the_{name}": value for name, value in key.items()}).rowcount:
        settle_row(db, batch_id, row)


def note_refused(db: Connection, batch_id: str, row: int, series_uid: str, reason: str) -> None:
    """The row can't have a series that it matches: it fails once all are recorded."""
    key = {"batch_id": batch_id, "row": row, "series_uid": series_uid}
    insert_new(db, ROW_SERIES, [key])
    this = and_(*(ROW_SERIES.c[name] == value for name, value in key.items()))
    db.execute(update(ROW_SERIES).where(this).values(lost=reason))
    settle_row(db, batch_id, row)


def note_lost(db: Connection, batch_id: str, row: int, series_uid: str, reason: str) -> None:
    """A series.found of the row is a dead letter. `series_uid` may be any name of its own."""
    key = {"batch_id": batch_id, "row": row, "series_uid": series_uid}
    insert_new(db, ROW_SERIES, [{**key, "lost": reason}])
    settle_row(db, batch_id, row)


def settle_row(db: Connection, batch_id: str, row: int) -> None:
    _settle(db, and_(ROWS.c.batch_id == batch_id, ROWS.c.row == row))


def settle_rows(db: Connection) -> set[str]:
    """Settle the rows that are answered and wait for their series; gives the batches of those that
    need wait no longer."""
    unfinished = select(BATCHES.c.batch_id).where(BATCHES.c.finished_at.is_(None))
    return _settle(
        db,
        and_(
            ROWS.c.batch_id.in_(unfinished),
            ROWS.c.state == "waiting",
            or_(ROWS.c.series > 0, ROWS.c.reason != ""),
        ),
    )


def _change(db: Connection, batch_id: str, row: int, **values: object) -> None:
    this = and_(ROWS.c.batch_id == batch_id, ROWS.c.row == row, ROWS.c.state != "cancelled")
    db.execute(update(ROWS).where(this).values(**values))
    settle_row(db, batch_id, row)


def _settle(db: Connection, which: ColumnElement[bool]) -> set[str]:
    link = and_(ROW_SERIES.c.batch_id == ROWS.c.batch_id, ROW_SERIES.c.row == ROWS.c.row)
    query = (
        select(
            *ROWS.columns,
            func.count(ROW_SERIES.c.series_uid).label("recorded"),
            func.max(func.coalesce(ROW_SERIES.c.lost, "")).label("lost"),
        )
        .select_from(ROWS.outerjoin(ROW_SERIES, link))
        .where(ANSWERED, which)
        .group_by(*ROWS.columns)
    )
    ended = set[str]()
    for row in db.execute(query).all():
        state = _state(row.series, row.recorded, row.reason or row.lost)
        if state != row.state:
            this = and_(ROWS.c.batch_id == row.batch_id, ROWS.c.row == row.row)
            db.execute(update(ROWS).where(this).values(state=state))
        if state != "waiting":
            ended.add(row.batch_id)
    return ended


def _state(announced: int, recorded: int, reason: str) -> str:
    if recorded < announced:
        return "waiting"
    if reason:
        return "failed"
    return "answered" if announced else "no_match"
