"""`python -m pacstream_retrieve`: run the service until SIGTERM."""

import eventlet

eventlet.monkey_patch()

from pacstream.runner import run_service  # noqa: E402  (after monkey patching, as eventlet needs)
from pacstream_retrieve.service import RetrieveService  # noqa: E402

run_service(RetrieveService)
