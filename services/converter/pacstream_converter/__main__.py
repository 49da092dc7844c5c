"""`python -m pacstream_converter`: run the service until SIGTERM."""

import eventlet

eventlet.monkey_patch()

from pacstream.runner import run_service
from pacstream_converter.service import ConverterService

run_service(ConverterService)
