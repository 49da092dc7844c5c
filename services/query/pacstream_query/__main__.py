"""`python -m pacstream_query`: run the service until SIGTERM."""

import eventlet

eventlet.monkey_patch()

from pacstream.without_pixels import load_pydicom

load_pydicom()

from pacstream.runner import run_service
from pacstream_query.service import QueryService

run_service(QueryService)
