"""`python -m pacstream_exporter`: run the service until SIGTERM."""

import eventlet

eventlet.monkey_patch()

from pacstream.runner import run_service
from pacstream_exporter.service import ExporterService

run_service(ExporterService)
