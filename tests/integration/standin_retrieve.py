"""Takes the place of retrieve: each request takes a while, and leaves its start and end in a file.

Run as `python -m tests.integration.standin_retrieve FILE SECONDS` with PACSTREAM_* settings.
"""

import eventlet

eventlet.monkey_patch()

import os
import sys
import time
from pathlib import Path

from pacstream.bus import Service, subscribes_to
from pacstream.messages import SeriesMoved, SeriesRequested
from pacstream.outlet import Emitter
from pacstream.runner import run_service

MARKS = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("/dev/null")
SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 else 0.5
INSTANCES = 3


def mark(what: str, series_uid: str) -> None:
    line = f"{what} {series_uid} {os.getpid()} {time.time()}\n"
    with MARKS.open("a") as file:
        file.write(line)


class StandInService(Service):
    name = "retrieve"
    emit = Emitter()

    @subscribes_to(SeriesRequested)
    def on_series_requested(self, message: SeriesRequested) -> None:
        uid = message.order.series.series_uid
        mark("start", uid)
        time.sleep(SECONDS)
        mark("end", uid)
        key = {"batch_id": message.batch_id, "series_uid": uid, "round": message.round}
        sent = {"status": 0, "completed": INSTANCES, "failed": 0, "seconds": SECONDS}
        self.emit(SeriesMoved.model_validate({**key, **sent}))


if __name__ == "__main__":
    run_service(StandInService)
