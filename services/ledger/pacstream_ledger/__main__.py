"""`python -m pacstream_ledger`: run the service until SIGTERM."""

import eventlet

eventlet.monkey_patch()

from pacstream.runner import run_service
from pacstream_ledger.service import LedgerService

run_service(LedgerService)
