"""What an operator does with a batch: pause, resume, cancel, change its priority.

A pause holds what is not yet released; what is under way ends as it would. A cancelled batch gives
up all that is not complete: what is complete stays, and is converted and saved as it was ordered.
"""

from __future__ import annotations

import json
import re

from sqlalchemy import Connection, select, update

from pacstream.errors import InputError
from pacstream_ledger import views
from pacstream_ledger.ledger import Ledger
from pacstream_ledger.schema import BATCHES, ORDERS, PACS, ROWS
from pacstream_ledger.throttle import release_cost
from pacstream_ledger.views import View

KEY = re.compile(r"[^@]{1,16}@[^@\s]+:\d{1,5}")

LOWEST, HIGHEST = -9, 9


class UnknownBatchError(InputError):
    code = "unknown_batch"


def do(ledger: Ledger, batch_id: str, verb: str, body: str) -> View | None:
    """pause, resume, cancel, or priority with `{"priority": 3}`; gives the batch's status."""
    if verb == "priority":
        set_priority(ledger, batch_id, _number(_object(body).get("priority")))
    elif verb in VERBS:
        VERBS[verb](ledger, batch_id)
    else:
        raise InputError("a batch can be paused, resumed, cancelled, or given a priority")
    return views.batch_status(ledger.engine, batch_id)


def set_throttle(ledger: Ledger, body: str) -> View:
    """`{"pacs": ..., "limits": {...}}`: change these limits of a PACS, keep the others.

    `pacs` is a key as `pacs_key` makes it, or the AE title if only one PACS has it, or empty if
    there is only one PACS. Raises InputError.
    """
    wanted = _object(body)
    limits = wanted.get("limits")
    if not isinstance(limits, dict):
        raise InputError("no limits are given")
    with ledger.writing() as db:
        pacs = _named(db, str(wanted.get("pacs") or ""))
        ledger.gate.set_throttle(db, pacs, limits)
        return ledger.gate.view_of(db, pacs)


def _named(db: Connection, name: str) -> str:
    known: list[str] = list(db.execute(select(PACS.c.pacs).order_by(PACS.c.pacs)).scalars())
    fits = [pacs for pacs in known if name in ("", pacs, pacs.partition("@")[0])]
    if len(fits) == 1:
        return fits[0]
    if not fits and KEY.fullmatch(name):
        return name
    listed = ", ".join(known) or "none yet"
    raise InputError(f"name one PACS as AETITLE@address:port; known: {listed}")


def _object(body: str) -> dict[str, object]:
    try:
        value = json.loads(body or "{}")
    except ValueError:
        raise InputError("the body is no JSON") from None
    if not isinstance(value, dict):
        raise InputError("the body is no JSON object")
    return value


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError("no priority is given")
    return value


def pause(ledger: Ledger, batch_id: str) -> None:
    """Raises UnknownBatchError, and InputError if the batch has ended: so do all of these."""
    with ledger.writing() as db:
        _require_open(db, batch_id)
        _set(db, batch_id, control="paused")


def resume(ledger: Ledger, batch_id: str) -> None:
    with ledger.writing() as db:
        _require_open(db, batch_id)
        _set(db, batch_id, control="running")
        # The time of the pause does not count as time that the PACS let nothing be tried.
        waiting = update(ORDERS).where(
            ORDERS.c.batch_id == batch_id, ORDERS.c.retrieval == "waiting"
        )
        db.execute(waiting.values(waiting_since=ledger.clock(), untried_since=None))


def set_priority(ledger: Ledger, batch_id: str, priority: int) -> None:
    if not LOWEST <= priority <= HIGHEST:
        raise InputError(f"a priority is a number from {LOWEST} to {HIGHEST}")
    with ledger.writing() as db:
        _require_open(db, batch_id)
        now = ledger.gate.row(db, ledger.pacs(db, batch_id)).virtual_time
        _set(db, batch_id, priority=priority, virtual_time=now + release_cost(priority))


def cancel(ledger: Ledger, batch_id: str) -> None:
    """Safe to repeat: the second time it does what the first may not have come to."""
    with ledger.writing() as db:
        _require_open(db, batch_id, cancelled_too=True)
        _set(db, batch_id, control="cancelled")
        ended = {"state": "cancelled", "reason": "cancelled"}
        db.execute(
            update(ORDERS)
            .where(
                ORDERS.c.batch_id == batch_id,
                ORDERS.c.state == "pending",
                ORDERS.c.retrieval.in_(("waiting", "checking", "pausing", "none")),
            )
            .values(**ended, retrieval="cancelled")
        )
        db.execute(
            update(ROWS).where(ROWS.c.batch_id == batch_id, ROWS.c.state == "waiting").values(ended)
        )
        ledger.cancel(batch_id)
        ledger.finish_if_done(db, batch_id)


def _set(db: Connection, batch_id: str, **values: object) -> None:
    db.execute(update(BATCHES).where(BATCHES.c.batch_id == batch_id).values(**values))


def _require_open(db: Connection, batch_id: str, *, cancelled_too: bool = False) -> None:
    row = db.execute(
        select(BATCHES.c.control, BATCHES.c.finished_at).where(BATCHES.c.batch_id == batch_id)
    ).one_or_none()
    if row is None:
        raise UnknownBatchError("the ledger knows no such batch")
    if row.control == "cancelled" and not cancelled_too:
        raise InputError("the batch is cancelled")
    if row.finished_at is not None and row.control != "cancelled":
        raise InputError("the batch has finished")


VERBS = {"pause": pause, "resume": resume, "cancel": cancel}
