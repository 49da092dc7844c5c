"""`python -m pacstream_anonymizer`: run the service until SIGTERM."""

import eventlet

eventlet.monkey_patch()

from pacstream.runner import run_service
from pacstream_anonymizer.service import AnonymizerService

run_service(AnonymizerService)
