"""The ledger on the bus: facts in, what follows out, status over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from pacstream import metrics
from pacstream.archive import Archive
from pacstream.batch_view import write_view
from pacstream.bus import Service, answers_http, every
from pacstream.disk import Watermark
from pacstream.errors import InputError
from pacstream.gathering import gathers
from pacstream.manifest import write_manifest
from pacstream.messages import Message
from pacstream.outlet import Emitter
from pacstream.settings import load_settings
from pacstream.topology import SUBSCRIPTIONS
from pacstream_ledger import control, views
from pacstream_ledger.alone import wait_to_be_alone
from pacstream_ledger.book import OUTBOX_SIZE
from pacstream_ledger.gauges import gauges
from pacstream_ledger.ledger import Ledger
from pacstream_ledger.scheduler import Scheduler
from pacstream_ledger.schema import open_database
from pacstream_ledger.subjects import adopt
from pacstream_ledger.throttle import Throttle

SETTINGS = load_settings()
ARCHIVE = Archive(SETTINGS.data)
ALONE = wait_to_be_alone(SETTINGS.database_url)
LEDGER = Ledger(
    open_database(SETTINGS.database_url),
    ARCHIVE.instances,
    cancel=ARCHIVE.cancel,
    keep_view=partial(write_view, ARCHIVE),
    keep_manifest=partial(write_manifest, ARCHIVE),
    disk_is_low=Watermark(
        SETTINGS.data,
        percent=SETTINGS.disk_low_percent,
        size=SETTINGS.disk_low_bytes,
        inodes=SETTINGS.disk_low_inodes,
    ).is_reached,
    throttle=Throttle(moves=SETTINGS.pacs_concurrency),
    rounds=SETTINGS.rounds,
    round_pause_s=SETTINGS.round_pause_s,
)
adopt(LEDGER.engine)
SCHEDULER = Scheduler(LEDGER, untried_limit_s=SETTINGS.untried_limit_s)
metrics.looks_up(lambda: gauges(LEDGER, SETTINGS.data))
ONE_WRITER = threading.Lock()
"""Green under eventlet: facts are recorded, and what follows is sent, one at a time."""

Answer = tuple[int, dict[str, str], str]


class LedgerService(Service):
    name = "ledger"
    emit = Emitter()

    def _send_what_follows(self) -> None:
        size = OUTBOX_SIZE
        while size == OUTBOX_SIZE and (unsent := LEDGER.outbox()):
            self.emit(*(one.message for one in unsent), causes=[one.cause for one in unsent])
            LEDGER.sent(unsent[-1])
            size = len(unsent)

    def _control(self, action: Callable[[], object]) -> Answer:
        """Do what an operator wants, and answer with what has come of it."""
        try:
            with ONE_WRITER:
                view = action()
                SCHEDULER.tick()
                self._send_what_follows()
        except InputError as error:
            status = 404 if isinstance(error, control.UnknownBatchError) else 409
            return _json({"error": str(error)}, status)
        return _json(view)

    @every(1.0)
    def tick(self) -> None:
        with ONE_WRITER:
            SCHEDULER.tick()
            self._send_what_follows()

    @gathers(*SUBSCRIPTIONS["ledger"])
    def on_facts(self, facts: Sequence[Message]) -> None:
        with ONE_WRITER:
            SCHEDULER.record(*facts)
            self._send_what_follows()

    @answers_http("GET", "/batches")
    def batches(self, request: Any) -> Answer:
        views_of_all = views.list_batches(LEDGER.engine)
        return _json([{**one, "held": SCHEDULER.held(one["batch_id"])} for one in views_of_all])

    @answers_http("GET", "/batches/<batch_id>")
    def batch(self, request: Any, batch_id: str) -> Answer:
        view = views.batch_status(LEDGER.engine, batch_id)
        return _json(view and {**view, "held": SCHEDULER.held(batch_id)})

    @answers_http("GET", "/batches/<batch_id>/report")
    def report(self, request: Any, batch_id: str) -> Answer:
        view = views.batch_report(LEDGER.engine, batch_id)
        return _json(view and {**view, "held": SCHEDULER.held(batch_id)})

    @answers_http("POST", "/batches/<batch_id>/<verb>")
    def control(self, request: Any, batch_id: str, verb: str) -> Answer:
        body = request.get_data(as_text=True)
        return self._control(lambda: control.do(LEDGER, batch_id, verb, body))

    @answers_http("GET", "/zone")
    def zone(self, request: Any) -> Answer:
        return _json({"zone": ARCHIVE.zone()})

    @answers_http("GET", "/throttle")
    def throttle(self, request: Any) -> Answer:
        with LEDGER.engine.begin() as db:
            return _json(LEDGER.gate.view(db))

    @answers_http("PUT", "/throttle")
    def set_throttle(self, request: Any) -> Answer:
        body = request.get_data(as_text=True)
        return self._control(lambda: control.set_throttle(LEDGER, body))


def _json(view: object, status: int = 200) -> Answer:
    headers = {"Content-Type": "application/json"}
    if view is None:
        return 404, headers, json.dumps({"error": "unknown batch"})
    return status, headers, json.dumps(view)
