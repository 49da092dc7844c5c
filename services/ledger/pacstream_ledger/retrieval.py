"""How a series is asked for, until everything is here or the rounds are used up.

waiting ─► retrieving ─► received
   ▲           │  ▲
   │           ▼  │ comes late
   └────── pausing ─► partial, failed

What is sent to a third node instead: `delivery`.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Row, delete, update

from pacstream import logs
from pacstream.messages import (
    ActionRequested,
    Batch,
    BatchFinished,
    DeidentifyRequested,
    SeriesComplete,
    SeriesMoved,
    SeriesReceived,
    SeriesRequested,
)
from pacstream_ledger import steps
from pacstream_ledger.book import REOPEN
from pacstream_ledger.breaker import NOT_TRIED
from pacstream_ledger.delivery import FINE, HOPELESS, Delivery
from pacstream_ledger.gate import is_empty_success
from pacstream_ledger.schema import BATCHES, EXPECTED, ORDERS, RECEIVED, ROWS, insert_new, put
from pacstream_ledger.states import LISTED, UNDER_WAY, state_of
from pacstream_ledger.views import report_in

log = logging.getLogger(__name__)

CONFLICTING = "conflicting"
"""Remark: an instance came with another content than the one that is here. Both are kept."""


class Retrieval(Delivery):
    """What follows for a series from what has come and what has not."""

    # Asking

    def release(self, db: Connection, batch: Batch, order: Row[Any]) -> bool:
        """Ask for what is not here; what is here already needs no C-MOVE. True: one is asked for.

        The first time, with little of it here, the whole series at SERIES level burdens the PACS
        less than its gaps.
        """
        first = order.since == 0.0
        if first:
            self.change(db, order, since=self.clock())
            order = self.again(db, order)
        retrieves = batch.actions.retrieves
        here = self._here(db, batch, order) if retrieves else self.delivered(db, order)
        expected = self.expected(db, order) or here
        gaps_only = bool(here) and (not first or 2 * len(here) > len(expected))
        if gaps_only and retrieves:
            self._take_in(db, batch, order, here)
        self.change(db, order, retrieval="retrieving", due_at=self.clock(), reason="")
        if retrieves and gaps_only and expected <= here:
            self.complete(db, batch, self.again(db, order))
            moves = False
        else:
            self._request(db, batch, order, expected - here if gaps_only else set())
            moves = True
        self.settle(db, batch, order.series_uid)
        return moves

    def _here(self, db: Connection, batch: Batch, order: Row[Any]) -> set[str]:
        """The instances that this order need not ask for."""
        on_disk = self.present(order.series_uid)
        known = self.received(db, batch, order)
        self._forget(db, order.series_uid, known - on_disk)
        if batch.refresh:
            return known & on_disk
        if order.evidence == LISTED:
            return on_disk & self.expected(db, order)
        return on_disk if len(on_disk) == order.expected_count else set()

    def _take_in(self, db: Connection, batch: Batch, order: Row[Any], here: set[str]) -> None:
        """Let what is here count for the order, and have it de-identified for its project."""
        new = here - self.received(db, batch, order)
        self.note_received(db, batch, order, new)
        lacking = self.without_outcome(db, batch, order)
        if batch.actions.anonymize and lacking:
            wanted = tuple(sorted(lacking))
            the_order = self.order(order)
            self.send(
                db,
                DeidentifyRequested(batch_id=batch.batch_id, order=the_order, instances=wanted),
            )

    def note_received(
        self, db: Connection, batch: Batch, order: Row[Any], uids: set[str], size: int = 0
    ) -> None:
        """Instances are in the archive and belong to the order."""
        at = max(self.clock(), order.since)
        rows = [{"series_uid": order.series_uid, "sop_instance_uid": uid} for uid in sorted(uids)]
        put(db, RECEIVED, [{**row, "size": size, "at": at} for row in rows])
        if order.evidence != LISTED:
            insert_new(db, EXPECTED, [{**row, "batch_id": order.batch_id} for row in rows])
        self.mark_changed(db, order.series_uid)

    def _forget(self, db: Connection, series_uid: str, gone: set[str]) -> None:
        """Files that someone has removed since are not here any more."""
        for uid in gone:
            db.execute(
                delete(RECEIVED).where(
                    RECEIVED.c.series_uid == series_uid, RECEIVED.c.sop_instance_uid == uid
                )
            )
        if gone:
            self.mark_changed(db, series_uid)

    def _request(self, db: Connection, batch: Batch, order: Row[Any], instances: set[str]) -> None:
        number = order.asked
        self.change(db, order, round=number, asked=number + 1, gaps=len(instances))
        pacs = self.pacs(db, batch.batch_id)
        self.gate.begin_move(db, pacs, batch.batch_id, order.series_uid, number)
        self.send(
            db,
            SeriesRequested(
                batch_id=batch.batch_id,
                pacs=batch.pacs,
                destination=batch.destination,
                order=self.order(order),
                instances=tuple(sorted(instances)),
                round=number,
            ),
        )
        changed = update(BATCHES).where(BATCHES.c.batch_id == batch.batch_id)
        db.execute(changed.values(released=BATCHES.c.released + int(number == 0)))

    # A C-MOVE has ended

    def end_move(self, db: Connection, message: SeriesMoved) -> None:
        """Compare, and plan what comes next if something is missing."""
        self.gate.end_move(db, message)
        self.note_end_of_move(db, message.batch_id)
        batch = self.batch(db, message.batch_id)
        order = self.order_row(db, message.batch_id, message.series_uid)
        if batch is None or order is None or order.round != message.round:
            return
        self.change(db, order, moved=message.model_dump_json())
        if message.warning and batch.actions.retrieves:
            self.change(db, order, remark=CONFLICTING)
        if order.retrieval != "retrieving":
            return
        if message.reason in NOT_TRIED and not message.completed:
            self._wait_again(db, order, message.reason)
        else:
            self.change(db, order, tried=order.tried + 1, untried_since=None)
            self._end_tried_move(db, batch, self.again(db, order), message)
        if self.control(db, batch.batch_id) == "cancelled":
            self._give_up_cancelled(db, self.again(db, order))
        self.settle(db, batch, message.series_uid)

    def _wait_again(self, db: Connection, order: Row[Any], reason: str) -> None:
        """The PACS never saw the request: no round is used up. The pause keeps it from spinning."""
        since = self.clock() if order.untried_since is None else order.untried_since
        due = self.clock() + self.round_pause_s
        waits = {"retrieval": "waiting", "due_at": due, "untried_since": since}
        self.change(db, order, **waits, reason=reason)

    def _end_tried_move(
        self, db: Connection, batch: Batch, order: Row[Any], message: SeriesMoved
    ) -> None:
        if batch.actions.move:
            self.end_third_party_move(db, batch, order, message)
            return
        self.compare(db, batch, order)
        now_at = self.again(db, order)
        if now_at.retrieval != "retrieving":
            return
        if message.reason in HOPELESS and not self.count_received(db, batch, order):
            self.change(db, order, retrieval="failed", reason=message.reason)
            return
        # Instances may still be on their way through the store SCP.
        self.pause(db, order)

    def _give_up_cancelled(self, db: Connection, order: Row[Any]) -> None:
        if order.retrieval in UNDER_WAY:
            self.change(db, order, retrieval="cancelled", reason="cancelled")

    # The pause after it is over

    def end_pause(self, db: Connection, order: Row[Any]) -> None:
        """What has not come by now is asked for again when its turn comes, or given up."""
        batch = self.require_batch(db, order.batch_id)
        if batch.destination_node is not None:
            self.ask_destination(db, batch.destination_node, order, order.listing + 1)
            return
        self.compare(db, batch, order)
        order = self.again(db, order)
        if order.retrieval == "pausing":
            moved = SeriesMoved.parse(order.moved)
            if self._is_quiet(db, batch, order, moved):
                self.change(db, order, evidence="quiet")
                self.complete(db, batch, self.again(db, order))
            elif self._is_kept(db, batch, order, moved):
                self._take_in(db, batch, order, self.expected(db, order))
                self.complete(db, batch, order)
            elif order.tried <= self.rounds:
                self.wait_for_turn(db, order)
            else:
                self.give_up(db, batch, order, _last_reason(moved))
        self.settle(db, batch, order.series_uid)

    def _is_quiet(self, db: Connection, batch: Batch, order: Row[Any], moved: SeriesMoved) -> bool:
        """A PACS that lists nothing, counts nothing and has sent something: no more is coming."""
        uncounted = order.evidence == "none" and moved.completed is None
        silent = order.expected_count is None and moved.reason in FINE
        return uncounted and silent and self.count_received(db, batch, order) > 0

    def _is_kept(self, db: Connection, batch: Batch, order: Row[Any], moved: SeriesMoved) -> bool:
        """A refresh brought other contents of instances that are here: those are kept as they are,
        the new ones lie in quarantine."""
        if not (batch.refresh and moved.warning and moved.reason in FINE):
            return False
        missing = self.expected(db, order) - self.received(db, batch, order)
        return len(missing) <= moved.warning and missing <= self.present(order.series_uid)

    def give_up(self, db: Connection, batch: Batch, order: Row[Any], reason: str) -> None:
        """No more rounds: partial if anything is here, else failed."""
        if batch.actions.move:
            self.give_up_delivery(db, order, reason)
            return
        received = self.count_received(db, batch, order)
        if received and batch.actions.anonymize:
            self._take_in(db, batch, order, set())
        reason = reason or ("instances_missing" if received else "nothing_sent")
        self.change(db, order, retrieval="partial" if received else "failed", reason=reason)

    # Is everything here?

    def compare(self, db: Connection, batch: Batch, order: Row[Any]) -> None:
        """By the evidence there is: UIDs, a count, or the C-MOVE's counters."""
        if order.retrieval not in UNDER_WAY:
            return
        if order.evidence == LISTED:
            if not self.lacks_any(db, batch, order):
                self.complete(db, batch, order)
            return
        moved = SeriesMoved.parse(order.moved) if order.moved else None
        if moved is None or moved.reason not in FINE or moved.round != order.round:
            return
        received = self.count_received(db, batch, order)
        if order.expected_count is not None:
            if received >= order.expected_count > 0:
                self.complete(db, batch, order)
        elif not is_empty_success(moved) and 0 < received >= (moved.completed or received + 1):
            self.change(db, order, evidence="move")
            self.complete(db, batch, self.again(db, order))

    def complete(self, db: Connection, batch: Batch, order: Row[Any]) -> None:
        """Everything is here. What the PACS has sent beyond its own list belongs to the series."""
        fresh = (RECEIVED.c.series_uid == order.series_uid) & (RECEIVED.c.at >= order.since)
        sent = db.execute(RECEIVED.select().where(fresh)).all()
        key = {"batch_id": order.batch_id, "series_uid": order.series_uid}
        insert_new(
            db, EXPECTED, [{**key, "sop_instance_uid": one.sop_instance_uid} for one in sent]
        )
        self.change(db, order, retrieval="received", reason="")
        self.send(
            db,
            SeriesReceived(
                batch_id=order.batch_id,
                order=self.order(order),
                instances=tuple(sorted(self.expected(db, order))),
            ),
        )

    # The end

    to_finish: set[str] | None = None

    @contextmanager
    def finishing_at_the_end(self, db: Connection) -> Iterator[None]:
        """Let `finish_if_done` look at each batch once, at the end of this block."""
        self.to_finish = batches = set[str]()
        try:
            yield
        finally:
            self.to_finish = None
        for batch_id in sorted(batches):
            self.finish_if_done(db, batch_id)

    def settle(self, db: Connection, batch: Batch, series_uid: str) -> None:
        """Give the series its last state once nothing is pending."""
        order = self.order_row(db, batch.batch_id, series_uid)
        if order is None or order.state != "pending" or order.retrieval in UNDER_WAY:
            return
        lacking, withheld = 0, set[str]()
        if batch.actions.anonymize:
            lacking = len(self.without_outcome(db, batch, order))
            reasons = self.withheld_instances(db, batch.batch_id, series_uid)
            withheld = set(reasons.values())
        state, reason = state_of(batch.actions, order, lacking, withheld)
        if state == "pending":
            if not lacking and not order.counted:
                self.keep_counts(db, batch, series_uid)
            return
        reason = order.reason or reason or order.remark
        self.change(db, order, state=state, reason=reason)
        if not order.counted or not batch.actions.retrieves:
            self.keep_counts(db, batch, series_uid)
        self.send(db, SeriesComplete(batch_id=batch.batch_id, series_uid=series_uid, state=state))
        self.finish_if_done(db, batch.batch_id)

    def finish_if_done(self, db: Connection, batch_id: str) -> None:
        """The batch has ended once every row and series has. While facts are recorded, this is
        looked at after the last one."""
        if self.to_finish is not None:
            self.to_finish.add(batch_id)
            return
        if self.any_in(db, ORDERS, batch_id, "pending") or self.any_in(
            db, ROWS, batch_id, "waiting"
        ):
            return
        batch = self.batch(db, batch_id)
        if batch is None:
            return
        rows, series = self.states(db, ROWS, batch_id), self.states(db, ORDERS, batch_id)
        cancelled = self.control(db, batch_id) == "cancelled"
        if not cancelled and sum(rows.values()) < batch.rows:
            return
        bad_rows = rows.get("failed") or rows.get("cancelled")
        if batch.afterwards and not self._afterwards(db, batch, cancelled):
            return
        delivered = not cancelled and not bad_rows and set(series) <= {"complete"}
        delivered = delivered and steps.all_done(db, batch_id)
        done = db.execute(
            update(BATCHES)
            .where(BATCHES.c.batch_id == batch_id, BATCHES.c.finished_at.is_(None))
            .values(finished_at=self.clock(), delivered=delivered)
        )
        if done.rowcount and self._wrote_down(db, batch):
            finished = BatchFinished(
                batch_id=batch_id, delivered=delivered, series=series, rows=rows
            )
            self.send(db, finished)

    def _afterwards(self, db: Connection, batch: Batch, cancelled: bool) -> bool:
        """Whether all batch actions have ended; the next one is asked for."""
        step = steps.next_step(db, batch.batch_id, cancelled=cancelled)
        if step is not None:
            self.ask_for_action(db, batch, step)
        return steps.all_ended(db, batch.batch_id)

    def ask_for_action(self, db: Connection, batch: Batch, step: Row[Any]) -> None:
        """If the manifest can't be written, the step waits: see `unwritten`."""
        try:
            manifest = self.keep_manifest(batch, steps.results(db, batch))
        except OSError as error:
            steps.put_back(db, step)
            self._note_unwritten(batch, error)
            return
        self.send(
            db,
            ActionRequested(
                batch_id=batch.batch_id,
                step=step.step,
                part=step.part,
                action=batch.afterwards[step.step],
                manifest=manifest,
            ),
        )

    unwritten: set[str] | None = None
    """Batches that have to be looked at again, because the disk refused what is written at their
    end; None, in a new process: any that has not ended."""

    def _wrote_down(self, db: Connection, batch: Batch) -> bool:
        """What the report is made from, before the batch is told to have ended; False: it has not
        ended yet. A full disk must not cost the fact that came last."""
        try:
            self.keep_manifest(batch, steps.results(db, batch))
            view = report_in(db, batch.batch_id)
            if view is not None:
                self.keep_view(view)
        except OSError as error:
            db.execute(REOPEN, {"the_batch": batch.batch_id})
            self._note_unwritten(batch, error)
            return False
        return True

    def _note_unwritten(self, batch: Batch, error: OSError) -> None:
        self.unwritten = (self.unwritten or set()) | {batch.batch_id}
        number = errno.errorcode.get(error.errno or 0, "unknown")
        fields = {"batch": batch.batch_id, "error": number}
        logs.event(log, "the end of a batch can't be written", logging.WARNING, **fields)

    def try_unwritten(self, db: Connection) -> None:
        """Once more for batches whose end could not be written."""
        batches = self.unfinished(db) if self.unwritten is None else self.unwritten
        self.unwritten = set()
        for batch_id in sorted(batches):
            self.finish_if_done(db, batch_id)


def _last_reason(moved: SeriesMoved) -> str:
    return "" if moved.reason in FINE else moved.reason
