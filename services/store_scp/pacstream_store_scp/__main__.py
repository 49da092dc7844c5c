"""`python -m pacstream_store_scp`: listen for C-STORE until SIGTERM."""

from __future__ import annotations

import gc
import signal
import sys
import threading

from pacstream import logs
from pacstream.errors import InputError
from pacstream.publisher import Publisher
from pacstream.settings import load_settings
from pacstream_store_scp.process import StoreScp

CHECK_S = 1.0


def main() -> int:
    """0 after SIGTERM or SIGINT, 1 if it can't listen or has to give up."""
    stopping = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stopping.set())
    try:
        settings = load_settings()
        logs.configure("store_scp", settings.log_level)
        publisher = Publisher(settings, "store_scp")
        scp = StoreScp(settings, publisher.publish, publisher.connect)
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


if __name__ == "__main__":
    sys.exit(main())
