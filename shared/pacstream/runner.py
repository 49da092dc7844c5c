"""Runs one nameko service in this process until SIGTERM.

nameko's own command needs pkg_resources, which Python 3.12 and setuptools 82 no longer bring; and
when it is to stop while it starts, a service with two queues never ends. The caller has
monkey-patched with eventlet before any other import.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any, NoReturn

from nameko.runners import ServiceRunner

from pacstream import logs, topology
from pacstream.bus import Service, wait_for_broker
from pacstream.errors import BrokerUnavailableError
from pacstream.settings import Settings, load_settings

SPARE_WORKERS = 16
"""Workers beyond those that messages can take: /health, status requests and timers."""

TOLD_S = 0.2
"""How soon a stop begins."""

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


class Stop:
    """Stops a service when this process is told to."""

    def __init__(self, runner: ServiceRunner) -> None:
        self._runner = runner
        self._told = False
        self._started = False
        signal.signal(signal.SIGTERM, self._tell)
        threading.Thread(target=self._stop_when_told, daemon=True).start()

    def started(self) -> None:
        """From now on a stop waits for handlers that run."""
        self._started = True

    def _tell(self, number: int, frame: FrameType | None) -> None:
        # A handler of a signal runs inside whatever ran; nothing that waits may be called in it.
        self._told = True

    def _stop_when_told(self) -> None:
        while not self._told:
            time.sleep(TOLD_S)
        if not self._started:
            leave()
        self._runner.stop()


def run_service(service: type[Service]) -> NoReturn:
    """Wait for the broker, declare the topology, serve; exits 0 when it was told to, else 1."""
    settings = load_settings()
    logs.configure(service.name, settings.log_level)
    # The first process of a container is not ended by a signal that it has no handler for.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        wait_for_broker(settings)
    except BrokerUnavailableError as error:
        logs.event(log, "no broker", logging.ERROR, error=str(error))
        sys.exit(1)
    runner = ServiceRunner(nameko_config(service, settings))
    runner.add_service(service)
    stop = Stop(runner)
    try:
        runner.start()
        stop.started()
        runner.wait()
    except KeyboardInterrupt:
        runner.stop()
    leave()


def leave() -> NoReturn:
    """End at once. To take apart what has been imported costs a third of a second of processor time
    with nothing to show for it; on a busy machine, that is most of what it takes to stop."""
    logs.event(log, "stopped")
    logging.shutdown()
    os._exit(0)
