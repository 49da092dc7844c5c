"""Small nameko services for the tests of the bus. Each leaves marks as lines in a file.

Run as `python -m tests.integration.bus_services NAME FILE` with PACSTREAM_* settings.
"""

import eventlet

eventlet.monkey_patch()

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pacstream.bus import Service, subscribes_to
from pacstream.errors import RejectedError, RetryLaterError
from pacstream.gathering import gathers
from pacstream.messages import (
    InfoRequested,
    InfoWritten,
    Message,
    QueryAnswered,
    QueryRequested,
    SeriesRequested,
)
from pacstream.outlet import Emitter
from pacstream.runner import run_service

MARKS = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("/dev/null")


def mark(text: str) -> None:
    with MARKS.open("a") as file:
        file.write(text + "\n")


class PatientService(Service):
    """Fails three times with RetryLaterError, then succeeds."""

    name = "query"
    emit = Emitter()
    failures = 0

    @subscribes_to(QueryRequested)
    def on_query_requested(self, message: QueryRequested) -> None:
        mark(f"attempt {message.row}")
        if PatientService.failures < 3:
            PatientService.failures += 1
            raise RetryLaterError("the PACS is busy", code="pacs_busy")
        self.emit(QueryAnswered(batch_id=message.batch.batch_id, row=message.row))


class BrokenService(Service):
    """Raises what its message's row says."""

    name = "query"
    emit = Emitter()

    @subscribes_to(QueryRequested)
    def on_query_requested(self, message: QueryRequested) -> None:
        mark(f"attempt {message.row}")
        if message.row == 1:
            raise RejectedError("the PACS refuses", code="refused")
        if message.row == 2:
            raise ValueError(f"a value: {message.keys['PatientName']}")
        raise RetryLaterError("never cured", code="pacs_busy")


class SlowService(Service):
    """Marks the start, takes long, marks the end."""

    name = "retrieve"

    @subscribes_to(SeriesRequested)
    def on_series_requested(self, message: SeriesRequested) -> None:
        mark(f"start {message.round}")
        time.sleep(2.0)
        mark(f"end {message.round}")


class EchoService(Service):
    """Answers each message with one message: the shape of every service."""

    name = "exporter"
    emit = Emitter()

    @subscribes_to(InfoRequested)
    def on_info_requested(self, message: InfoRequested) -> None:
        uid = message.order.series.series_uid
        mark(uid)
        self.emit(InfoWritten(batch_id=message.batch_id, series_uid=uid))


class GatheringService(Service):
    """Marks each group. A row 13 in it raises, a row 66 takes the process along before anything is
    marked, a row 77 after it, the first time."""

    name = "ledger"
    emit = Emitter()

    @gathers(QueryAnswered, InfoWritten)
    def on_facts(self, facts: Sequence[Message]) -> None:
        rows = [fact.row for fact in facts if isinstance(fact, QueryAnswered)]
        if 66 in rows:
            os._exit(1)
        if 13 in rows:
            raise ValueError("row 13")
        if not MARKS.read_text():
            MARKS.with_suffix(".begun").touch()
            time.sleep(1.0)
        dies = 77 in rows and "77" not in MARKS.read_text()
        mark(" ".join(str(row) for row in rows) or "written")
        if dies:
            os._exit(1)


SERVICES = {
    "gathering": GatheringService,
    "patient": PatientService,
    "broken": BrokenService,
    "slow": SlowService,
    "echo": EchoService,
}

if __name__ == "__main__":
    run_service(SERVICES[sys.argv[1]])
