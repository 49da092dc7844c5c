"""What has come to the destination of a --move, and what is missing there.

waiting ─► retrieving ─► checking ─► moved
   ▲                      │    ▲
   │                      ▼    │ not all listed yet: it may still be indexing
   ├───────────────────  pausing
   └─ missing after LISTINGS lists, or partial, failed

Where the destination answers C-FIND, sets of SOP Instance UIDs are compared, as for what comes to
us. Where it does not, the PACS's own counters have to do, and the report says so.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row

from pacstream.messages import Batch, ListingRequested, PacsNode, SeriesListed, SeriesMoved
from pacstream_ledger.book import Book
from pacstream_ledger.schema import DELIVERED, EXPECTED, insert_new
from pacstream_ledger.states import LISTED

HOPELESS = frozenset(
    {"move_destination_unknown", "no_web_url", "storage_role_refused", "access_denied"}
)
"""Reasons after which another C-MOVE of the same series can't help."""

FINE = frozenset({"", "sub_operations_warned"})
"""Reasons of a C-MOVE that says it has sent everything."""

LISTINGS = 4
"""How often the destination is asked after one C-MOVE before an instance counts as missing."""


class Delivery(Book):
    """What follows from a C-MOVE to a third node."""

    def end_third_party_move(
        self, db: Connection, batch: Batch, order: Row[Any], message: SeriesMoved
    ) -> None:
        """Have the destination asked, if the batch says where it answers."""
        if batch.destination_node is None:
            self._end_by_counters(db, order, message)
        elif message.reason in HOPELESS:
            self.give_up_delivery(db, order, message.reason)
        else:
            self.ask_destination(db, batch.destination_node, order, 1)

    def ask_destination(self, db: Connection, node: PacsNode, order: Row[Any], number: int) -> None:
        self.change(db, order, retrieval="checking", listing=number)
        self.send(
            db,
            ListingRequested(
                batch_id=order.batch_id,
                node=node,
                study_uid=self.order(order).series.study_uid,
                series_uid=order.series_uid,
                round=order.round,
                number=number,
            ),
        )

    def take_list(self, db: Connection, batch: Batch, message: SeriesListed) -> None:
        """Compare what the destination has with what was expected. Late lists change nothing."""
        order = self.order_row(db, message.batch_id, message.series_uid)
        if order is None or order.retrieval != "checking":
            return
        if (order.round, order.listing) != (message.round, message.number):
            return
        there = self.delivered(db, order) | set(message.instances)
        verified = self._verified(db, order, there)
        if message.reason and not verified:
            self.note_no_list(db, order, message.reason)
            return
        self._note_delivered(db, order, there)
        if verified:
            self.change(db, order, retrieval="moved", verified=verified, reason="", remark="")
        elif order.listing < LISTINGS:
            self.pause(db, order)
        elif order.tried <= self.rounds:
            self.wait_for_turn(db, order)
        else:
            self.give_up_delivery(db, order, _moved(order).reason)
        self.keep_counts(db, batch, order.series_uid)

    def note_no_list(self, db: Connection, order: Row[Any], reason: str) -> None:
        """The destination gave no whole list: it is asked again, or the counters have to do."""
        if order.retrieval != "checking":
            return
        if order.listing < LISTINGS:
            self.pause(db, order)
            return
        self.change(db, order, remark=f"destination:{reason}")
        self._end_by_counters(db, order, _moved(order))

    def _note_delivered(self, db: Connection, order: Row[Any], there: set[str]) -> None:
        key = {"batch_id": order.batch_id, "series_uid": order.series_uid}
        rows = [{**key, "sop_instance_uid": uid} for uid in sorted(there)]
        insert_new(db, DELIVERED, rows)
        if order.evidence != LISTED:
            insert_new(db, EXPECTED, rows)

    def _verified(self, db: Connection, order: Row[Any], there: set[str]) -> str:
        """The evidence by which all is there; empty: it is not, as far as one can tell."""
        if order.evidence == LISTED:
            return LISTED if self.expected(db, order) <= there else ""
        moved = _moved(order)
        if moved.reason not in FINE or not there:
            return ""
        if order.expected_count is not None:
            return "count" if len(there) >= order.expected_count else ""
        if moved.completed is None:
            return "quiet" if order.listing == LISTINGS else ""
        return "move" if len(there) >= moved.completed else ""

    def give_up_delivery(self, db: Connection, order: Row[Any], reason: str) -> None:
        """No more rounds: partial if the destination has anything, else failed."""
        there = self.delivered(db, order)
        reason = reason or ("instances_missing" if there else "not_at_destination")
        by = order.evidence if order.listing and order.evidence != "none" else "move"
        ended = {"retrieval": "partial" if there else "failed", "verified": by}
        self.change(db, order, **ended, reason=reason)

    def _end_by_counters(self, db: Connection, order: Row[Any], message: SeriesMoved) -> None:
        """By what the PACS says that it has sent: no more is known of the destination."""
        asked = order.gaps or len(self.expected(db, order)) or order.expected_count
        reason = message.reason
        if not reason and message.completed is not None and asked not in (None, message.completed):
            reason = "counts_differ"
        if not reason and not message.completed:
            reason = "nothing_sent"
        failed = "partial" if self.delivered(db, order) else "failed"
        self.change(
            db, order, retrieval=failed if reason else "moved", verified="move", reason=reason
        )


def _moved(order: Row[Any]) -> SeriesMoved:
    return SeriesMoved.parse(order.moved)
