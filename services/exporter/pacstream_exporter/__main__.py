"""`python -m pacstream_exporter`: run the service until SIGTERM."""

import eventlet

eventlet.monkey_patch()

from pacstream.runner import run_service  # noqa: E402  (after monkey patching, as eventlet needs)
from pacstream_exporter.service import ExporterService  # noqa: E402

run_service(ExporterService)
