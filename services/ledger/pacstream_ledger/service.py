"""The ledger on the bus: facts in, what follows out, status over HTTP."""

from __future__ import annotations

import json
import threading
from typing import Any

from pacstream.archive import Archive
from pacstream.bus import Emitter, Service, answers_http, every, subscribes_to
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
    SeriesMoved,
    WorkFailed,
)
from pacstream.settings import load_settings
from pacstream_ledger import views
from pacstream_ledger.ledger import Ledger
from pacstream_ledger.scheduler import Scheduler
from pacstream_ledger.schema import open_database

SETTINGS = load_settings()
LEDGER = Ledger(
    open_database(SETTINGS.database_url),
    Archive(SETTINGS.data).instances,
    rounds=SETTINGS.rounds,
    round_pause_s=SETTINGS.round_pause_s,
)
SCHEDULER = Scheduler(LEDGER, in_flight=4 * SETTINGS.pacs_concurrency)
ONE_WRITER = threading.Lock()
"""Green under eventlet: facts are recorded, and what follows is sent, one at a time."""


class LedgerService(Service):
    name = "ledger"
    emit = Emitter()

    def _record(self, message: Message) -> None:
        with ONE_WRITER:
            LEDGER.record(message)
            self._send_what_follows()

    def _send_what_follows(self) -> None:
        SCHEDULER.tick()
        while pending := LEDGER.outbox():
            for outbox_id, message in pending:
                self.emit(message)
                LEDGER.sent(outbox_id)

    @every(1.0)
    def tick(self) -> None:
        with ONE_WRITER:
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
    def batches(self, request: Any) -> tuple[int, dict[str, str], str]:
        return _json(views.list_batches(LEDGER.engine))

    @answers_http("GET", "/batches/<batch_id>")
    def batch(self, request: Any, batch_id: str) -> tuple[int, dict[str, str], str]:
        return _json(views.batch_status(LEDGER.engine, batch_id))

    @answers_http("GET", "/batches/<batch_id>/report")
    def report(self, request: Any, batch_id: str) -> tuple[int, dict[str, str], str]:
        return _json(views.batch_report(LEDGER.engine, batch_id))


def _json(view: object) -> tuple[int, dict[str, str], str]:
    headers = {"Content-Type": "application/json"}
    if view is None:
        return 404, headers, json.dumps({"error": "unknown batch"})
    return 200, headers, json.dumps(view)
