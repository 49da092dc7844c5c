"""`python -m pacstream_anonymizer`: run the service until SIGTERM."""

import eventlet

eventlet.monkey_patch()

from pacstream.runner import run_service  # noqa: E402  (after monkey patching, as eventlet needs)
from pacstream_anonymizer.service import AnonymizerService  # noqa: E402

run_service(AnonymizerService)
