"""One process that listens, alone or as a supervisor's worker: from its settings to its exit."""

from __future__ import annotations

import gc
import multiprocessing
import signal
import sys
import threading

from pacstream import logs
from pacstream.errors import InputError
from pacstream.publisher import Publisher
from pacstream.settings import Settings
from pacstream_store_scp.board import Place
from pacstream_store_scp.process import StoreScp

CHECK_S = 1.0
STOPS = (signal.SIGTERM, signal.SIGINT)


def stopped_by_signals() -> threading.Event:
    """Set by SIGTERM and SIGINT, also by one that came while this process was being started."""
    stopping = threading.Event()
    for number in STOPS:
        signal.signal(number, lambda *_: stopping.set())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    return stopping


def serve(settings: Settings, stopping: threading.Event, place: Place | None = None) -> int:
    """0 when it was stopped, 1 if it can't listen or has to give up."""
    try:
        publisher = Publisher(settings, "store_scp")
        scp = StoreScp(settings, publisher.publish, publisher.connect, place)
        scp.start()
    except InputError as error:
        sys.stderr.write(f"store_scp: {error}\n")
        return 1
    # What is there now stays: the collector need not look at it for as long as the process runs.
    gc.freeze()
    while scp.is_alive and not stopping.wait(CHECK_S):
        pass
    scp.stop()
    publisher.close()
    return 0 if stopping.is_set() else 1


def work(settings: Settings, place: Place) -> None:
    """Be a worker until the supervisor says stop, or is no more."""
    stopping = stopped_by_signals()
    logs.configure("store_scp", settings.log_level)
    threading.Thread(target=_outlive, args=(stopping,), name="supervisor", daemon=True).start()
    sys.exit(serve(settings, stopping, place))


def _outlive(stopping: threading.Event) -> None:
    supervisor = multiprocessing.parent_process()
    assert supervisor is not None
    supervisor.join()
    stopping.set()
