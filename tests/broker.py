"""A RabbitMQ node for tests: private, in a folder of its own, and gone afterwards.

It is the node of `pacstream up` without the services. Each test takes a virtual host of its own, so
that queues of one test never meet another's.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

import requests

from pacstream.settings import Settings
from pacstream_cli.broker import wait_for_amqp
from pacstream_cli.stack import Stack

START_S = 60.0


class PrivateBroker:
    """`with PrivateBroker() as broker:` starts epmd and RabbitMQ, and ends with nothing left."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="pacstream-broker-"))
        keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self._stack = Stack(Settings(data=self._folder), environ=keep, programs=())

    def __enter__(self) -> PrivateBroker:
        try:
            self._stack.start()
            self._stack.wait_ready(START_S)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.stop()
        shutil.rmtree(self._folder)

    @property
    def folder(self) -> Path:
        return self._folder

    @property
    def url(self) -> str:
        """AMQP URL of the default virtual host."""
        return self._stack.environment()["PACSTREAM_AMQP_URL"]

    @property
    def management_url(self) -> str:
        """The dashboard; its API is below /api, with the user and password of `url`."""
        return f"http://127.0.0.1:{self._stack.running().management_port}"

    @property
    def credentials(self) -> tuple[str, str]:
        parts = urlsplit(self.url)
        return parts.username or "", parts.password or ""

    def new_vhost(self) -> str:
        """AMQP URL of a fresh virtual host."""
        name = f"test-{secrets.token_hex(6)}"
        user, _ = self.credentials
        self._put(f"vhosts/{name}", {})
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        self._put(f"permissions/{name}/{user}", everything)
        return self.url.removesuffix("%2F") + name

    def _put(self, path: str, body: dict[str, str]) -> None:
        with requests.Session() as session:
            session.trust_env = False
            session.auth = self.credentials
            answer = session.put(f"{self.management_url}/api/{path}", json=body, timeout=30)
            answer.raise_for_status()

    def stop_node(self) -> None:
        """Stop RabbitMQ as an outage would: returns when its process has ended."""
        self._stack.supervisor().stop("rabbitmq")

    def start_node(self) -> None:
        """Start RabbitMQ again; returns when it accepts connections."""
        self._stack.supervisor().start("rabbitmq")
        wait_for_amqp(self.url, START_S)

    def restart(self) -> None:
        self.stop_node()
        self.start_node()
