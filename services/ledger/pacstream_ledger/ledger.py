"""What was promised, what has happened, and what follows from it.

`Ledger.record` writes facts in one transaction, together with the messages that follow from them
(the outbox). Facts may come twice, late, or in any order. Everything compares sets of SOP Instance
UIDs; nothing is ever counted up or down.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, ClassVar

from sqlalchemy import Connection, Row, delete, func, insert, select

from pacstream.messages import (
    ActionFinished,
    Batch,
    InfoRequested,
    InfoWritten,
    InstancesDeidentified,
    InstancesReceived,
    InstancesWithheld,
    ListingRequested,
    Message,
    QueryAnswered,
    QueryRequested,
    SeriesConverted,
    SeriesExported,
    SeriesFound,
    SeriesListed,
    SeriesMoved,
    WorkFailed,
)
from pacstream.topology import ACTION_SERVICE
from pacstream_ledger.book import CLASS_OF
from pacstream_ledger.naming import place_order
from pacstream_ledger.retrieval import Retrieval
from pacstream_ledger.rows import note_answer, note_failure, note_lost, note_refused, note_series
from pacstream_ledger.schema import (
    BATCHES,
    EXPECTED,
    ORDERS,
    OUTCOMES,
    PARKED,
    RECEIVED,
    insert_new,
    put,
)
from pacstream_ledger.states import LISTED, UNDER_WAY
from pacstream_ledger.steps import fail_step, open_steps, take_end
from pacstream_ledger.subjects import CONFLICT, refusal
from pacstream_ledger.throttle import pacs_key, release_cost

DECIDED = "released_by_decision"
"""Remark: an operator has let instances pass that a rule had withheld."""

LAST_SEQUENCE = select(func.coalesce(func.max(ORDERS.c.sequence), 0))


class Ledger(Retrieval):
    """Records facts: see `Book` for what it is made of."""

    def record(self, *facts: Message, then: Callable[[Connection], None] | None = None) -> None:
        """Write facts and what follows from them, and in the same transaction what `then` does: all
        of it or nothing. Safe to repeat."""
        with self.writing() as db:
            with self.finishing_at_the_end(db):
                for fact in facts:
                    with self.caused_by(fact.message_id):
                        self._apply(db, fact)
            if then is not None:
                then(db)

    # Facts

    def _apply(self, db: Connection, message: Message) -> None:
        if isinstance(message, QueryRequested):
            self._on_query_requested(db, message)
        elif message.correlation_id and not self.knows(db, message.correlation_id):
            parked = {"batch_id": message.correlation_id, "topic": message.topic}
            db.execute(insert(PARKED).values(**parked, body=message.model_dump_json()))
        else:
            self._handlers[type(message)](self, db, message)

    def _on_query_requested(self, db: Connection, message: QueryRequested) -> None:
        batch = message.batch
        if not self.knows(db, batch.batch_id):
            self._open_batch(db, batch)
        self.add_row(db, batch.batch_id, message.row)

    def _open_batch(self, db: Connection, batch: Batch) -> None:
        pacs = pacs_key(batch.pacs)
        self.gate.add(db, pacs)
        db.execute(
            insert(BATCHES).values(
                batch_id=batch.batch_id,
                batch=batch.model_dump_json(),
                submitted_at=batch.submitted_at,
                pacs=pacs,
                priority=batch.priority,
                virtual_time=self.gate.row(db, pacs).virtual_time + release_cost(batch.priority),
            )
        )
        open_steps(db, batch)
        self._unpark(db, batch.batch_id)

    def _unpark(self, db: Connection, batch_id: str) -> None:
        parked = db.execute(select(PARKED).where(PARKED.c.batch_id == batch_id).order_by("id"))
        for row in parked.all():
            message = CLASS_OF[row.topic].parse(row.body)
            self._handlers[type(message)](self, db, message)
        db.execute(delete(PARKED).where(PARKED.c.batch_id == batch_id))

    def _on_series_found(self, db: Connection, message: SeriesFound) -> None:
        batch = self.require_batch(db, message.batch_id)
        series_uid = message.series.series_uid
        key = (message.batch_id, message.row, series_uid)
        order = self.order_row(db, message.batch_id, series_uid)
        if order is not None and self.order(order).pseudonym != message.pseudonym:
            note_refused(db, *key, CONFLICT)
            self.finish_if_done(db, message.batch_id)
        else:
            note_series(db, *key)
        if order is not None:
            return
        retrieval = self._open_order(db, batch, message)
        if retrieval != "waiting":
            self.settle(db, batch, series_uid)

    def _open_order(self, db: Connection, batch: Batch, found: SeriesFound) -> str:
        order = place_order(db, batch, found.series, found.pseudonym)
        key = {"batch_id": batch.batch_id, "series_uid": found.series.series_uid}
        sequence = db.execute(LAST_SEQUENCE).scalar_one()
        wanted = batch.actions.retrieves or batch.actions.move
        cancelled = self.control(db, batch.batch_id) == "cancelled"
        released = batch.actions.anonymize and not cancelled
        refused = refusal(db, order, found.attributes) if released else ""
        retrieval = "cancelled" if cancelled else "waiting" if wanted else "none"
        if refused:
            retrieval = "failed"
        if not cancelled:
            self.reopen(db, batch.batch_id)
        expected = set(found.expected)
        promised = 0 if expected else found.expected_count or 0
        row = {
            **key,
            "sequence": sequence + 1,
            "order": order.model_dump_json(),
            "retrieval": retrieval,
            "state": "pending",
            "reason": refused,
            "deidentification": f"failed:{refused}" if refused else "",
            "evidence": found.evidence,
            "expected_count": found.expected_count,
            "waiting_since": self.clock(),
            "counted": not self.has_any(db, found.series.series_uid),
            "n_expected": len(expected) or promised,
        }
        db.execute(insert(ORDERS), row)
        insert_new(db, EXPECTED, [{**key, "sop_instance_uid": uid} for uid in sorted(expected)])
        if batch.actions.info and not cancelled:
            attributes = found.attributes
            info = InfoRequested(batch_id=batch.batch_id, order=order, attributes=attributes)
            self.send(db, info)
        return retrieval

    def _on_query_answered(self, db: Connection, message: QueryAnswered) -> None:
        self.add_row(db, message.batch_id, message.row)
        note_answer(db, message.batch_id, message.row, message.announced, message.reason)
        self.finish_if_done(db, message.batch_id)

    def _on_series_moved(self, db: Connection, message: SeriesMoved) -> None:
        self.end_move(db, message)

    def _on_series_listed(self, db: Connection, message: SeriesListed) -> None:
        batch = self.require_batch(db, message.batch_id)
        self.take_list(db, batch, message)
        self.settle(db, batch, message.series_uid)

    def _on_instances_received(self, db: Connection, message: InstancesReceived) -> None:
        received = message.instances
        size = sum(instance.size for instance in received)
        self.gate.note_received(db, message.batch_id, len(received), size)
        self._keep_received(db, message)
        orders = db.execute(
            select(ORDERS).where(
                ORDERS.c.series_uid == message.series_uid, ORDERS.c.retrieval.in_(UNDER_WAY)
            )
        )
        for order in orders.all():
            # One that waits for its first C-MOVE has asked for nothing yet.
            if order.since:
                self._take_arrival(db, order, message)

    def _keep_received(self, db: Connection, message: InstancesReceived) -> None:
        latest = select(func.max(ORDERS.c.since)).where(ORDERS.c.series_uid == message.series_uid)
        at = max(self.clock(), db.execute(latest).scalar() or 0.0)
        key = {"series_uid": message.series_uid, "at": at}
        put(
            db,
            RECEIVED,
            [
                {**key, "sop_instance_uid": one.sop_instance_uid, "size": one.size}
                for one in message.instances
            ],
        )
        self.mark_changed(db, message.series_uid)

    def _take_arrival(self, db: Connection, order: Row[Any], message: InstancesReceived) -> None:
        batch = self.require_batch(db, order.batch_id)
        if not batch.actions.retrieves:
            return
        if order.evidence != LISTED:
            key = {"batch_id": order.batch_id, "series_uid": order.series_uid}
            uids = [one.sop_instance_uid for one in message.instances]
            insert_new(db, EXPECTED, [{**key, "sop_instance_uid": uid} for uid in uids])
        if order.retrieval == "waiting" and order.batch_id != message.batch_id:
            return
        self.compare(db, batch, order)
        self.settle(db, batch, order.series_uid)

    def _on_deidentified(self, db: Connection, message: InstancesDeidentified) -> None:
        if message.waived:
            self._note_decision(db, message)
        outcomes = dict.fromkeys(message.instances, "")
        self._take_outcomes(db, message.batch_id, message.series_uid, outcomes)

    def _on_withheld(self, db: Connection, message: InstancesWithheld) -> None:
        outcomes = {one.sop_instance_uid: one.reason for one in message.instances}
        self._take_outcomes(db, message.batch_id, message.series_uid, outcomes)

    def _take_outcomes(
        self, db: Connection, batch_id: str, series_uid: str, outcomes: dict[str, str]
    ) -> None:
        """What is released stays so. What was withheld is revised: an operator has decided."""
        withheld = self.withheld_instances(db, batch_id, series_uid)
        revised = {uid for uid in withheld.keys() & outcomes if withheld[uid] != outcomes[uid]}
        key = {"batch_id": batch_id, "series_uid": series_uid}
        rows = {
            uid: {**key, "sop_instance_uid": uid, "withheld": reason}
            for uid, reason in outcomes.items()
        }
        insert_new(db, OUTCOMES, rows.values())
        put(db, OUTCOMES, [rows[uid] for uid in revised])
        self.mark_changed(db, series_uid)
        if revised:
            self._reopen_withheld(db, batch_id, series_uid)
        self.settle(db, self.require_batch(db, batch_id), series_uid)

    def _reopen_withheld(self, db: Connection, batch_id: str, series_uid: str) -> None:
        order = self.order_row(db, batch_id, series_uid)
        if order is not None and order.state == "withheld":
            self.change(db, order, state="pending", reason="")
            self.reopen(db, batch_id)

    def _note_decision(self, db: Connection, message: InstancesDeidentified) -> None:
        self._remark(db, message.batch_id, message.series_uid, DECIDED)

    def _remark(self, db: Connection, batch_id: str, series_uid: str, remark: str) -> None:
        order = self.order_row(db, batch_id, series_uid)
        if order is not None and remark not in order.remark:
            self.change(db, order, remark=", ".join(filter(None, (order.remark, remark))))

    def _on_info_written(self, db: Connection, message: InfoWritten) -> None:
        self._product(db, message.batch_id, message.series_uid, info="done")

    def _on_exported(self, db: Connection, message: SeriesExported) -> None:
        self._product(db, message.batch_id, message.series_uid, exported="done")

    def _on_converted(self, db: Connection, message: SeriesConverted) -> None:
        state = f"{message.state}:{message.reason}" if message.reason else message.state
        products = json.dumps(message.products)
        if message.state == "incomplete":
            there, lost = message.slices_converted, message.slices_missing
            told = f"slices:{there}/{message.slices_expected + lost}"
            self._remark(db, message.batch_id, message.series_uid, told)
        self._product(db, message.batch_id, message.series_uid, conversion=state, products=products)

    def _product(self, db: Connection, batch_id: str, series_uid: str, **values: str) -> None:
        order = self.order_row(db, batch_id, series_uid)
        if order is not None:
            self.change(db, order, **values)
            self.settle(db, self.require_batch(db, batch_id), series_uid)

    def _on_action_finished(self, db: Connection, message: ActionFinished) -> None:
        step = take_end(db, message)
        if step is not None:
            self.ask_for_action(db, self.require_batch(db, message.batch_id), step)
        self.finish_if_done(db, message.batch_id)

    def _fail_action(self, db: Connection, message: WorkFailed, step: int) -> None:
        """Both services that do batch actions see each request; only the one's failure counts."""
        afterwards = self.require_batch(db, message.batch_id).afterwards
        service = message.queue.partition(".")[0]
        if step < len(afterwards) and ACTION_SERVICE[afterwards[step].name] == service:
            fail_step(db, message.batch_id, step, message.reason)
            self.finish_if_done(db, message.batch_id)

    def _on_work_failed(self, db: Connection, message: WorkFailed) -> None:
        """A dead letter: the row or the series that it was about has failed, by name."""
        service = message.queue.partition(".")[0]
        reason = f"{service}:{message.reason}"
        if message.step is not None:
            self._fail_action(db, message, message.step)
            return
        if message.row is not None:
            self._fail_row(db, message, message.row, reason)
            return
        order = self.order_row(db, message.batch_id, message.series_uid)
        if order is None:
            return
        failed = f"failed:{message.reason}"
        if service == "anonymizer":
            self.change(db, order, deidentification=failed)
        elif service == "converter":
            self.change(db, order, conversion=failed)
        elif message.failed_topic == ListingRequested.topic:
            self.note_no_list(db, order, message.reason)
        elif message.failed_topic == InfoRequested.topic:
            self.change(db, order, info=failed)
        elif service == "exporter":
            self.change(db, order, exported=failed)
        elif order.retrieval in UNDER_WAY:
            self.change(db, order, retrieval="failed", reason=reason)
            self.note_end_of_move(db, message.batch_id)
        if service == "retrieve":
            self.gate.free_places(db, message.batch_id, message.series_uid)
        self.settle(db, self.require_batch(db, message.batch_id), message.series_uid)

    def _fail_row(self, db: Connection, message: WorkFailed, row: int, reason: str) -> None:
        self.add_row(db, message.batch_id, row)
        if message.failed_topic == SeriesFound.topic:
            lost = message.series_uid or message.failed_message_id
            note_lost(db, message.batch_id, row, lost, reason)
        else:
            note_failure(db, message.batch_id, row, reason)
        self.finish_if_done(db, message.batch_id)

    _handlers: ClassVar[dict[type[Message], Callable[[Any, Connection, Any], None]]] = {
        SeriesFound: _on_series_found,
        QueryAnswered: _on_query_answered,
        SeriesMoved: _on_series_moved,
        SeriesListed: _on_series_listed,
        InstancesReceived: _on_instances_received,
        InstancesDeidentified: _on_deidentified,
        InstancesWithheld: _on_withheld,
        InfoWritten: _on_info_written,
        SeriesExported: _on_exported,
        SeriesConverted: _on_converted,
        ActionFinished: _on_action_finished,
        WorkFailed: _on_work_failed,
    }
