"""`python -m pacstream_store_scp [--workers N|auto]`: listen for C-STORE until SIGTERM."""

from __future__ import annotations

import argparse
import os
import sys

from pacstream.without_pixels import load_pydicom

load_pydicom()

from pacstream import logs
from pacstream.errors import InputError
from pacstream.settings import PREFIX, load_settings
from pacstream_store_scp.supervisor import Supervisor
from pacstream_store_scp.worker import serve, stopped_by_signals

WORKERS = f"{PREFIX}STORE_WORKERS"


def main() -> int:
    """0 after SIGTERM or SIGINT, 1 if it can't listen or has to give up."""
    stopping = stopped_by_signals()
    try:
        settings = load_settings({**os.environ, **_told()})
        logs.configure("store_scp", settings.log_level)
        if settings.store_processes == 1:
            return serve(settings, stopping)
        supervisor = Supervisor(settings, settings.store_processes)
        supervisor.start()
    except InputError as error:
        sys.stderr.write(f"store_scp: {error}\n")
        return 1
    worked = ended_well = False
    try:
        worked = supervisor.run(stopping)
    finally:
        ended_well = supervisor.stop()
    return 0 if worked and ended_well else 1


def _told() -> dict[str, str]:
    parser = argparse.ArgumentParser("pacstream_store_scp", description=__doc__)
    parser.add_argument("--workers", metavar="N|auto", help=f"processes on the port ({WORKERS})")
    workers = parser.parse_args().workers
    return {} if workers is None else {WORKERS: workers}


if __name__ == "__main__":
    sys.exit(main())
