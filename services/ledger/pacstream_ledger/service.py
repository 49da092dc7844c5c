"""The ledger on the bus: facts in, what follows out, status over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

from pacstream.archive import Archive
from pacstream.bus import Emitter, Service, answers_http, every, subscribes_to
from pacstream.disk import Watermark
from pacstream.errors import InputError
from pacstream.messages import (
    InfoWritten,
    InstancesDeidentified,
    InstancesReceived,
    InstancesWithheld,
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
from pacstream.settings import load_settings
from pacstream_ledger import control, views
from pacstream_ledger.ledger import Ledger
from pacstream_ledger.scheduler import Scheduler
from pacstream_ledger.schema import open_database
from pacstream_ledger.subjects import adopt
from pacstream_ledger.throttle import Throttle

SETTINGS = load_settings()
ARCHIVE = Archive(SETTINGS.data)
LEDGER = Ledger(
    open_database(SETTINGS.database_url),
    ARCHIVE.instances,
    cancel=ARCHIVE.cancel,
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
ONE_WRITER = threading.Lock()
"""Green under eventlet: facts are recorded, and what follows is sent, one at a time."""

Answer = tuple[int, dict[str, str], str]


class LedgerService(Service):
    name = "ledger"
    emit = Emitter()

    def _record(self, message: Message) -> None:
        with ONE_WRITER:
            SCHEDULER.record(message)
            self._send_what_follows()

    def _send_what_follows(self) -> None:
        while pending := LEDGER.outbox():
            for _, message in pending:
                self.emit(message)
            LEDGER.sent(*(outbox_id for outbox_id, _ in pending))

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

    @subscribes_to(QueryRequested)
    def on_query_requested(self, message: QueryRequested) -> None:
        self._record(message)

    @subscribes_to(SeriesFound)
    def on_series_found(self, message: SeriesFound) -> None:
        self._record(message)

    @subscribes_to(QueryAnswered)
    def on_query_answered(self, message: QueryAnswered) -> None:
        self._record(message)

    @subscribes_to(SeriesMoved)
    def on_series_moved(self, message: SeriesMoved) -> None:
        self._record(message)

    @subscribes_to(SeriesListed)
    def on_series_listed(self, message: SeriesListed) -> None:
        self._record(message)

    @subscribes_to(InstancesReceived)
    def on_instances_received(self, message: InstancesReceived) -> None:
        self._record(message)

    @subscribes_to(InstancesDeidentified)
    def on_instances_deidentified(self, message: InstancesDeidentified) -> None:
        self._record(message)

    @subscribes_to(InstancesWithheld)
    def on_instances_withheld(self, message: InstancesWithheld) -> None:
        self._record(message)

    @subscribes_to(InfoWritten)
    def on_info_written(self, message: InfoWritten) -> None:
        self._record(message)

    @subscribes_to(SeriesExported)
    def on_series_exported(self, message: SeriesExported) -> None:
        self._record(message)

    @subscribes_to(SeriesConverted)
    def on_series_converted(self, message: SeriesConverted) -> None:
        self._record(message)

    @subscribes_to(WorkFailed)
    def on_work_failed(self, message: WorkFailed) -> None:
        self._record(message)

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
