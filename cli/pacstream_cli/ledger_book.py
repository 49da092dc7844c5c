"""The ledger's database, read: so that it can be asked when the ledger does not run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Select, create_engine, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from pacstream.errors import InputError
from pacstream.messages import Order
from pacstream.settings import Settings
from pacstream_ledger.schema import ORDERS, OUTCOMES

Place = tuple[str, str, str]
"""Batch, Series Instance UID, SOP Instance UID."""

SERIES_AT_ONCE = 500

SAME_ORDER = (ORDERS.c.batch_id == OUTCOMES.c.batch_id) & (
    ORDERS.c.series_uid == OUTCOMES.c.series_uid
)


class LedgerBook:
    """Every method raises InputError if the database can't be read. Without one nothing is known:
    there has been no batch yet."""

    def __init__(self, settings: Settings) -> None:
        self._url = make_url(settings.database_url)

    def withheld(self, series_uids: Sequence[str]) -> dict[Place, str]:
        """The reason of each instance of these series that is withheld from a batch."""
        query = select(OUTCOMES).join(ORDERS, SAME_ORDER).where(OUTCOMES.c.withheld != "")
        return {
            (row.batch_id, row.series_uid, row.sop_instance_uid): row.withheld
            for row in self._of_series(query, series_uids)
        }

    def pending(self, series_uids: Sequence[str]) -> set[str]:
        """Those of the series on which some batch still works."""
        query = select(ORDERS.c.series_uid).where(ORDERS.c.state == "pending")
        return {row.series_uid for row in self._of_series(query, series_uids)}

    def order(self, batch_id: str, series_uid: str) -> Order | None:
        query = select(ORDERS.c.order).where(ORDERS.c.batch_id == batch_id)
        rows = list(self._of_series(query, [series_uid]))
        return Order.model_validate_json(rows[0].order) if rows else None

    def _of_series(self, query: Select[Any], series_uids: Sequence[str]) -> Iterator[Any]:
        with self._connected() as db:
            if db is None:
                return
            for first in range(0, len(series_uids), SERIES_AT_ONCE):
                some = series_uids[first : first + SERIES_AT_ONCE]
                yield from db.execute(query.where(ORDERS.c.series_uid.in_(some))).all()

    @contextmanager
    def _connected(self) -> Iterator[Connection | None]:
        path = self._url.database or ""
        if self._url.get_backend_name() == "sqlite" and not Path(path).is_file():
            yield None
            return
        engine = create_engine(self._url)
        try:
            with engine.connect() as db:
                yield db
        except SQLAlchemyError:
            raise InputError(
                "the ledger's database can't be read", code="ledger_database"
            ) from None
        finally:
            engine.dispose()
