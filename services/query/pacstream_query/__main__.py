"""`python -m pacstream_query`: run the service until SIGTERM."""

import eventlet

eventlet.monkey_patch()

from pacstream.runner import run_service  # noqa: E402  (after monkey patching, as eventlet needs)
from pacstream_query.service import QueryService  # noqa: E402

run_service(QueryService)
