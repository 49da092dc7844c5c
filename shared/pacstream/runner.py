"""Runs one nameko service in this process until SIGTERM.

nameko's own command needs pkg_resources, which Python 3.12 and setuptools 82 no longer bring. The
caller has monkey-patched with eventlet before any other import.
"""

from __future__ import annotations

import logging
import signal
import sys
from typing import Any

from nameko.cli.run import run

from pacstream import logs, topology
from pacstream.bus import Service, wait_for_broker
from pacstream.errors import BrokerUnavailableError
from pacstream.settings import Settings, load_settings

SPARE_WORKERS = 16
"""Workers beyond those that messages can take: /health, status requests and timers."""

log = logging.getLogger(__name__)


def nameko_config(service: type[Service], settings: Settings) -> dict[str, Any]:
    """nameko's configuration; the sum of all prefetches stays below max_workers."""
    queues = len(topology.SUBSCRIPTIONS.get(service.name, ()))
    return {
        "AMQP_URI": settings.amqp_url,
        "HEARTBEAT": settings.heartbeat_s,
        "WEB_SERVER_ADDRESS": f"{settings.http_host}:{settings.http_port}",
        "PREFETCH": settings.workers,
        "max_workers": settings.workers * queues + SPARE_WORKERS,
        "SETTINGS": settings,
    }


def run_service(service: type[Service]) -> None:
    """Wait for the broker, declare the topology, serve; exits 1 if there is no broker."""
    settings = load_settings()
    logs.configure(service.name, settings.log_level)
    # The first process of a container is not ended by a signal that it has no handler for.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        wait_for_broker(settings)
    except BrokerUnavailableError as error:
        logs.event(log, "no broker", logging.ERROR, error=str(error))
        sys.exit(1)
    run([service], nameko_config(service, settings))
    logs.event(log, "stopped")
