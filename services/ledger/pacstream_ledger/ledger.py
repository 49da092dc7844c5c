"""What was promised, what has happened, and what follows from it.

`Ledger.record` writes one fact in one transaction, together with the messages that follow from it
(the outbox). Facts may come twice, late, or in any order. Everything compares sets of SOP Instance
UIDs; nothing is ever counted up or down.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, ClassVar

from sqlalchemy import Connection, Engine, Row, and_, delete, func, insert, select, update

from pacstream.messages import (
    MESSAGES,
    Batch,
    BatchFinished,
    DeidentifyRequested,
    InfoRequested,
    InfoWritten,
    InstancesDeidentified,
    InstancesReceived,
    InstancesWithheld,
    Message,
    Order,
    QueryAnswered,
    QueryRequested,
    SeriesComplete,
    SeriesConverted,
    SeriesExported,
    SeriesFound,
    SeriesMoved,
    SeriesReceived,
    SeriesRequested,
    WorkFailed,
)
from pacstream_ledger.naming import place_order
from pacstream_ledger.schema import (
    BATCHES,
    EXPECTED,
    ORDERS,
    OUTBOX,
    OUTCOMES,
    PARKED,
    RECEIVED,
    ROW_SERIES,
    ROWS,
    insert_new,
)

CLASS_OF = {message.topic: message for message in MESSAGES}

HOPELESS = frozenset({"move_destination_unknown"})
"""Reasons after which another C-MOVE of the same series can't help."""


class Ledger:
    """The one writer of the database behind `engine`.

    `present(series_uid)` tells which instances lie in the archive, `rounds` how often missing ones
    are asked for again, `round_pause_s` the first pause before that (it doubles).
    """

    def __init__(
        self,
        engine: Engine,
        present: Callable[[str], set[str]],
        *,
        rounds: int = 3,
        round_pause_s: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.engine = engine
        self.present = present
        self.rounds = rounds
        self.round_pause_s = round_pause_s
        self.clock = clock

    def record(self, message: Message) -> None:
        """Write one fact and what follows from it. Safe to repeat."""
        with self.engine.begin() as db:
            self._apply(db, message)

    def outbox(self) -> list[tuple[int, Message]]:
        """Messages that follow from the recorded facts and are not yet marked as sent."""
        with self.engine.connect() as db:
            rows = db.execute(select(OUTBOX).order_by(OUTBOX.c.id).limit(200)).all()
        return [(row.id, CLASS_OF[row.topic].parse(row.body)) for row in rows]

    def sent(self, outbox_id: int) -> None:
        with self.engine.begin() as db:
            db.execute(delete(OUTBOX).where(OUTBOX.c.id == outbox_id))

    # Facts

    def _apply(self, db: Connection, message: Message) -> None:
        if isinstance(message, QueryRequested):
            self._on_query_requested(db, message)
        elif message.correlation_id and self.batch(db, message.correlation_id) is None:
            parked = {"batch_id": message.correlation_id, "topic": message.topic}
            db.execute(insert(PARKED).values(**parked, body=message.model_dump_json()))
        else:
            self._handlers[type(message)](self, db, message)

    def _on_query_requested(self, db: Connection, message: QueryRequested) -> None:
        batch = message.batch
        is_new = self.batch(db, batch.batch_id) is None
        batch_row = {
            "batch_id": batch.batch_id,
            "batch": batch.model_dump_json(),
            "submitted_at": batch.submitted_at,
        }
        insert_new(db, BATCHES, [{**batch_row, "released": 0, "last_ended_at": 0.0}])
        row = {"batch_id": batch.batch_id, "row": message.row, "state": "waiting"}
        insert_new(db, ROWS, [{**row, "reason": "", "series": 0}])
        if is_new:
            self._unpark(db, batch.batch_id)

    def _unpark(self, db: Connection, batch_id: str) -> None:
        parked = db.execute(select(PARKED).where(PARKED.c.batch_id == batch_id).order_by("id"))
        for row in parked.all():
            message = CLASS_OF[row.topic].parse(row.body)
            self._handlers[type(message)](self, db, message)
        db.execute(delete(PARKED).where(PARKED.c.batch_id == batch_id))

    def _on_series_found(self, db: Connection, message: SeriesFound) -> None:
        batch = self.batch(db, message.batch_id)
        assert batch is not None
        series_uid = message.series.series_uid
        key = {"batch_id": message.batch_id, "series_uid": series_uid}
        insert_new(db, ROW_SERIES, [{**key, "row": message.row}])
        if self.order_row(db, message.batch_id, series_uid) is not None:
            return
        order = place_order(db, batch, message.series)
        sequence = db.execute(select(func.coalesce(func.max(ORDERS.c.sequence), 0))).scalar_one()
        wanted = batch.actions.retrieves or batch.actions.move
        db.execute(
            insert(ORDERS).values(
                **key,
                sequence=sequence + 1,
                order=order.model_dump_json(),
                retrieval="waiting" if wanted else "none",
                state="pending",
                evidence=message.evidence,
                expected_count=message.expected_count,
            )
        )
        insert_new(db, EXPECTED, [{**key, "sop_instance_uid": uid} for uid in message.expected])
        if batch.actions.info:
            attributes = message.attributes
            self._send(
                db, InfoRequested(batch_id=batch.batch_id, order=order, attributes=attributes)
            )
        self._settle(db, message.batch_id, series_uid)

    def _on_query_answered(self, db: Connection, message: QueryAnswered) -> None:
        state = "failed" if message.reason else "answered" if message.series_uids else "no_match"
        self._end_row(db, message.batch_id, message.row, state, message.reason)
        found = set(message.series_uids)
        db.execute(
            update(ROWS)
            .where(ROWS.c.batch_id == message.batch_id, ROWS.c.row == message.row)
            .values(series=len(found))
        )
        self._finish_if_done(db, message.batch_id)

    def end_move(self, db: Connection, message: SeriesMoved) -> None:
        """A C-MOVE has ended: compare, and plan the next one if something is missing."""
        order = self.order_row(db, message.batch_id, message.series_uid)
        self._note_end_of_move(db, message.batch_id)
        if order is None or order.round != message.round:
            return
        self._update(db, order, moved=message.model_dump_json())
        if order.retrieval != "retrieving":
            return
        if self.order(order).actions.move:
            self._end_third_party_move(db, order, message)
        else:
            self.compare(db, order.batch_id, order.series_uid)
            self._plan_next_round(db, order, message)
        self._settle(db, message.batch_id, message.series_uid)

    def _end_third_party_move(self, db: Connection, order: Row[Any], message: SeriesMoved) -> None:
        expected = len(self.expected(db, order)) or order.expected_count
        reason = message.reason
        if (
            not reason
            and message.completed is not None
            and expected not in (None, message.completed)
        ):
            reason = "counts_differ"
        if not reason and not message.completed:
            reason = "nothing_sent"
        self._update(db, order, retrieval="failed" if reason else "moved", reason=reason)

    def _plan_next_round(self, db: Connection, order: Row[Any], message: SeriesMoved) -> None:
        """After a C-MOVE: instances may still be on their way through the store SCP."""
        now_at = self.order_row(db, order.batch_id, order.series_uid)
        assert now_at is not None
        if now_at.retrieval != "retrieving":
            return
        if message.reason in HOPELESS and not self.received(db, order.series_uid):
            self._update(db, order, retrieval="failed", reason=message.reason)
            return
        pause = self.round_pause_s * 2**order.round
        self._update(db, order, retrieval="pausing", due_at=self.clock() + pause)

    def _on_instances_received(self, db: Connection, message: InstancesReceived) -> None:
        insert_new(
            db,
            RECEIVED,
            [
                {
                    "series_uid": message.series_uid,
                    "sop_instance_uid": instance.sop_instance_uid,
                    "size": instance.size,
                }
                for instance in message.instances
            ],
        )
        waiting = db.execute(
            select(ORDERS.c.batch_id).where(
                ORDERS.c.series_uid == message.series_uid,
                ORDERS.c.retrieval.in_(("retrieving", "pausing")),
            )
        ).scalars()
        for batch_id in waiting.all():
            self.compare(db, batch_id, message.series_uid)
            self._settle(db, batch_id, message.series_uid)

    def _on_deidentified(self, db: Connection, message: InstancesDeidentified) -> None:
        key = {"batch_id": message.batch_id, "series_uid": message.series_uid}
        rows = [{**key, "sop_instance_uid": uid, "withheld": ""} for uid in message.instances]
        insert_new(db, OUTCOMES, rows)
        self._settle(db, message.batch_id, message.series_uid)

    def _on_withheld(self, db: Connection, message: InstancesWithheld) -> None:
        key = {"batch_id": message.batch_id, "series_uid": message.series_uid}
        insert_new(
            db,
            OUTCOMES,
            [
                {**key, "sop_instance_uid": one.sop_instance_uid, "withheld": one.reason}
                for one in message.instances
            ],
        )
        self._settle(db, message.batch_id, message.series_uid)

    def _on_info_written(self, db: Connection, message: InfoWritten) -> None:
        self._product(db, message.batch_id, message.series_uid, info="done")

    def _on_exported(self, db: Connection, message: SeriesExported) -> None:
        self._product(db, message.batch_id, message.series_uid, exported="done")

    def _on_converted(self, db: Connection, message: SeriesConverted) -> None:
        state = f"{message.state}:{message.reason}" if message.reason else message.state
        products = json.dumps(message.products)
        self._product(db, message.batch_id, message.series_uid, conversion=state, products=products)

    def _product(self, db: Connection, batch_id: str, series_uid: str, **values: str) -> None:
        order = self.order_row(db, batch_id, series_uid)
        if order is not None:
            self._update(db, order, **values)
            self._settle(db, batch_id, series_uid)

    def _on_work_failed(self, db: Connection, message: WorkFailed) -> None:
        """A dead letter: the row or the series that it was about has failed, by name."""
        service = message.queue.partition(".")[0]
        reason = f"{service}:{message.reason}"
        order = self.order_row(db, message.batch_id, message.series_uid)
        if order is None:
            if message.row is not None:
                self._end_row(db, message.batch_id, message.row, "failed", reason)
                self._finish_if_done(db, message.batch_id)
            return
        failed = f"failed:{message.reason}"
        if service == "anonymizer":
            self._update(db, order, deidentification=failed)
        elif service == "converter":
            self._update(db, order, conversion=failed)
        elif message.failed_topic == InfoRequested.topic:
            self._update(db, order, info=failed)
        elif service == "exporter":
            self._update(db, order, exported=failed)
        elif order.retrieval in ("retrieving", "pausing", "waiting"):
            self._update(db, order, retrieval="failed", reason=reason)
            self._note_end_of_move(db, message.batch_id)
        self._settle(db, message.batch_id, message.series_uid)

    _handlers: ClassVar[dict[type[Message], Callable[[Any, Connection, Any], None]]] = {
        SeriesFound: _on_series_found,
        QueryAnswered: _on_query_answered,
        SeriesMoved: end_move,
        InstancesReceived: _on_instances_received,
        InstancesDeidentified: _on_deidentified,
        InstancesWithheld: _on_withheld,
        InfoWritten: _on_info_written,
        SeriesExported: _on_exported,
        SeriesConverted: _on_converted,
        WorkFailed: _on_work_failed,
    }

    # What follows

    def release(self, db: Connection, order: Row[Any]) -> None:
        """Ask for what is not here; what is here already needs no second C-MOVE."""
        batch = self.batch(db, order.batch_id)
        assert batch is not None
        the_order = self.order(order)
        expected = self.expected(db, order)
        here: set[str] = set()
        if batch.actions.retrieves:
            on_disk = self.present(order.series_uid)
            self._forget(db, order.series_uid, self.received(db, order.series_uid) - on_disk)
            here = on_disk & expected
        # With little of it here, the whole series at SERIES level burdens the PACS less.
        gaps_only = 2 * len(here) > len(expected)
        if gaps_only:
            rows = [{"series_uid": order.series_uid, "sop_instance_uid": uid} for uid in here]
            insert_new(db, RECEIVED, [{**row, "size": 0} for row in rows])
            if batch.actions.anonymize:
                wanted = tuple(sorted(here))
                self._send(
                    db,
                    DeidentifyRequested(batch_id=batch.batch_id, order=the_order, instances=wanted),
                )
        self._update(db, order, retrieval="retrieving", due_at=self.clock())
        if gaps_only and here == expected:
            self.compare(db, order.batch_id, order.series_uid)
        else:
            missing = expected - here if gaps_only else set()
            self._request(db, batch, order, missing, round_number=0)
            changed = update(BATCHES).where(BATCHES.c.batch_id == order.batch_id)
            db.execute(changed.values(released=BATCHES.c.released + 1))
        self._settle(db, order.batch_id, order.series_uid)

    def _forget(self, db: Connection, series_uid: str, gone: set[str]) -> None:
        """Files that someone has removed since are not here any more."""
        for uid in gone:
            db.execute(
                delete(RECEIVED).where(
                    RECEIVED.c.series_uid == series_uid, RECEIVED.c.sop_instance_uid == uid
                )
            )

    def next_round(self, db: Connection, order: Row[Any]) -> None:
        """A pause is over: ask for the missing instances, or say that they will not come."""
        self.compare(db, order.batch_id, order.series_uid)
        now_at = self.order_row(db, order.batch_id, order.series_uid)
        assert now_at is not None
        if now_at.retrieval == "pausing":
            self._ask_again_or_give_up(db, now_at)
        self._settle(db, order.batch_id, order.series_uid)

    def _ask_again_or_give_up(self, db: Connection, order: Row[Any]) -> None:
        received = self.received(db, order.series_uid)
        missing = self.expected(db, order) - received
        if order.round < self.rounds:
            batch = self.batch(db, order.batch_id)
            assert batch is not None
            number = order.round + 1
            self._update(db, order, retrieval="retrieving", round=number, due_at=self.clock())
            self._request(db, batch, order, missing if received else set(), round_number=number)
            return
        moved = SeriesMoved.parse(order.moved) if order.moved else None
        reason = (moved.reason if moved else "") or (
            "instances_missing" if received else "nothing_sent"
        )
        self._update(db, order, retrieval="partial" if received else "failed", reason=reason)

    def _request(
        self, db: Connection, batch: Batch, order: Row[Any], instances: set[str], round_number: int
    ) -> None:
        self._send(
            db,
            SeriesRequested(
                batch_id=batch.batch_id,
                pacs=batch.pacs,
                destination=batch.destination,
                order=self.order(order),
                instances=tuple(sorted(instances)),
                round=round_number,
            ),
        )

    def compare(self, db: Connection, batch_id: str, series_uid: str) -> None:
        """Is everything here? By the evidence there is: UIDs, a count, or the C-MOVE's counters."""
        order = self.order_row(db, batch_id, series_uid)
        if order is None or order.retrieval not in ("retrieving", "pausing"):
            return
        received = self.received(db, series_uid)
        expected = self.expected(db, order)
        moved = SeriesMoved.parse(order.moved) if order.moved else None
        if expected:
            complete = expected <= received
        elif moved is None or moved.reason:
            complete = False
        elif order.expected_count is not None:
            complete = len(received) >= order.expected_count > 0
        else:
            complete = 0 < (moved.completed or 0) + (moved.warning or 0) <= len(received)
        if not complete:
            return
        # What the PACS sent beyond its own list belongs to the series too, and is accounted for.
        key = {"batch_id": batch_id, "series_uid": series_uid}
        insert_new(db, EXPECTED, [{**key, "sop_instance_uid": uid} for uid in received])
        self._update(db, order, retrieval="received")
        self._send(
            db,
            SeriesReceived(
                batch_id=batch_id, order=self.order(order), instances=tuple(sorted(received))
            ),
        )

    def _settle(self, db: Connection, batch_id: str, series_uid: str) -> None:
        """Give the series its last state once nothing is pending."""
        order = self.order_row(db, batch_id, series_uid)
        if order is None or order.state != "pending":
            return
        state, reason = self._state_of(db, order)
        if state == "pending":
            return
        self._update(db, order, state=state, reason=order.reason or reason)
        self._send(db, SeriesComplete(batch_id=batch_id, series_uid=series_uid, state=state))
        self._finish_if_done(db, batch_id)

    def _state_of(self, db: Connection, order: Row[Any]) -> tuple[str, str]:
        actions = self.order(order).actions
        stages: list[tuple[bool, str]] = [(actions.info, order.info)]
        if order.retrieval in ("waiting", "retrieving", "pausing"):
            return "pending", ""
        if order.retrieval == "received":
            stages += [(actions.save, order.exported), (actions.convert, order.conversion)]
        if any(wanted and not value for wanted, value in stages):
            return "pending", ""
        if actions.anonymize and not order.deidentification and self.without_outcome(db, order):
            return "pending", ""
        failures = [value for _, value in stages if value.startswith(("failed", "unsupported"))]
        if order.deidentification.startswith("failed"):
            failures.append(order.deidentification)
        if order.retrieval in ("failed", "partial"):
            return order.retrieval, order.reason
        if failures:
            return "failed", failures[0].removeprefix("failed:")
        withheld = self.withheld(db, order)
        return ("withheld", sorted(withheld)[0]) if withheld else ("complete", "")

    def _finish_if_done(self, db: Connection, batch_id: str) -> None:
        batch = self.batch(db, batch_id)
        rows = self._states(db, ROWS, batch_id)
        series = self._states(db, ORDERS, batch_id)
        if batch is None or sum(rows.values()) < batch.rows:
            return
        if rows.get("waiting") or series.get("pending") or self._missing_orders(db, batch_id):
            return
        delivered = not rows.get("failed") and set(series) <= {"complete"}
        done = db.execute(
            update(BATCHES)
            .where(BATCHES.c.batch_id == batch_id, BATCHES.c.finished_at.is_(None))
            .values(finished_at=self.clock(), delivered=delivered)
        )
        if done.rowcount:
            finished = BatchFinished(
                batch_id=batch_id, delivered=delivered, series=series, rows=rows
            )
            self._send(db, finished)

    def _missing_orders(self, db: Connection, batch_id: str) -> bool:
        """A row told of more series than have come in as series.found."""
        promised = db.execute(
            select(func.coalesce(func.sum(ROWS.c.series), 0)).where(ROWS.c.batch_id == batch_id)
        ).scalar_one()
        found = db.execute(
            select(func.count()).select_from(ROW_SERIES).where(ROW_SERIES.c.batch_id == batch_id)
        ).scalar_one()
        return bool(found < promised)

    # Looking things up

    def batch(self, db: Connection, batch_id: str) -> Batch | None:
        text = db.execute(
            select(BATCHES.c.batch).where(BATCHES.c.batch_id == batch_id)
        ).scalar_one_or_none()
        return Batch.model_validate_json(text) if text else None

    def order_row(self, db: Connection, batch_id: str, series_uid: str) -> Row[Any] | None:
        return db.execute(
            select(ORDERS).where(ORDERS.c.batch_id == batch_id, ORDERS.c.series_uid == series_uid)
        ).one_or_none()

    def order(self, row: Row[Any]) -> Order:
        return Order.model_validate_json(row._mapping[ORDERS.c.order])

    def expected(self, db: Connection, order: Row[Any]) -> set[str]:
        query = select(EXPECTED.c.sop_instance_uid).where(
            EXPECTED.c.batch_id == order.batch_id, EXPECTED.c.series_uid == order.series_uid
        )
        return set(db.execute(query).scalars())

    def received(self, db: Connection, series_uid: str) -> set[str]:
        query = select(RECEIVED.c.sop_instance_uid).where(RECEIVED.c.series_uid == series_uid)
        return set(db.execute(query).scalars())

    def without_outcome(self, db: Connection, order: Row[Any]) -> int:
        """Received instances that are neither released nor withheld for this order."""
        query = (
            select(func.count())
            .select_from(
                EXPECTED.join(
                    RECEIVED,
                    and_(
                        RECEIVED.c.series_uid == EXPECTED.c.series_uid,
                        RECEIVED.c.sop_instance_uid == EXPECTED.c.sop_instance_uid,
                    ),
                ).outerjoin(
                    OUTCOMES,
                    and_(
                        OUTCOMES.c.batch_id == EXPECTED.c.batch_id,
                        OUTCOMES.c.series_uid == EXPECTED.c.series_uid,
                        OUTCOMES.c.sop_instance_uid == EXPECTED.c.sop_instance_uid,
                    ),
                )
            )
            .where(
                EXPECTED.c.batch_id == order.batch_id,
                EXPECTED.c.series_uid == order.series_uid,
                OUTCOMES.c.sop_instance_uid.is_(None),
            )
        )
        return int(db.execute(query).scalar_one())

    def withheld(self, db: Connection, order: Row[Any]) -> set[str]:
        query = select(OUTCOMES.c.withheld).where(
            OUTCOMES.c.batch_id == order.batch_id,
            OUTCOMES.c.series_uid == order.series_uid,
            OUTCOMES.c.withheld != "",
        )
        return set(db.execute(query).scalars())

    # Writing

    def _send(self, db: Connection, message: Message) -> None:
        db.execute(insert(OUTBOX).values(topic=message.topic, body=message.model_dump_json()))

    def _note_end_of_move(self, db: Connection, batch_id: str) -> None:
        changed = update(BATCHES).where(BATCHES.c.batch_id == batch_id)
        db.execute(changed.values(last_ended_at=self.clock()))

    def _update(self, db: Connection, order: Row[Any], **values: object) -> None:
        db.execute(
            update(ORDERS)
            .where(ORDERS.c.batch_id == order.batch_id, ORDERS.c.series_uid == order.series_uid)
            .values(**values)
        )

    def _end_row(self, db: Connection, batch_id: str, row: int, state: str, reason: str) -> None:
        insert_new(
            db,
            ROWS,
            [{"batch_id": batch_id, "row": row, "state": state, "reason": reason, "series": 0}],
        )
        db.execute(
            update(ROWS)
            .where(ROWS.c.batch_id == batch_id, ROWS.c.row == row)
            .values(state=state, reason=reason)
        )

    def _states(self, db: Connection, table: Any, batch_id: str) -> dict[str, int]:
        query = (
            select(table.c.state, func.count())
            .where(table.c.batch_id == batch_id)
            .group_by(table.c.state)
        )
        return {state: int(count) for state, count in db.execute(query).all()}
