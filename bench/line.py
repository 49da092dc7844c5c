"""The whole of pacstream, up in a folder of its own, and driven by its command line."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

import pika

from bench.tools import BenchError
from demo.pacs import Pacs
from pacstream.messages import BatchFinished, Message
from pacstream.settings import Settings, load_settings
from pacstream.topology import EXCHANGE
from pacstream_cli.client import LedgerClient
from pacstream_cli.stack import Stack, running_settings

AET = "PACSTREAM"
PACSTREAM = str(Path(sys.executable).with_name("pacstream"))
LONGEST_S = 1200.0

Heard = TypeVar("Heard", bound=Message)


class Broker:
    """`with Broker(folder) as amqp_url:` a private RabbitMQ node with nothing around it."""

    def __init__(self, folder: Path) -> None:
        environ = {
            name: text for name, text in os.environ.items() if not name.startswith("PACSTREAM")
        } | {"PACSTREAM_DATA": str(folder / "data")}
        self._stack = Stack(load_settings(environ), environ, programs=())

    def __enter__(self) -> str:
        try:
            self._stack.start()
        except BaseException:
            self._stack.stop()
            raise
        return self._stack.environment()["PACSTREAM_AMQP_URL"]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.stop()


class Line:
    """`with Line(folder, port) as line:` starts all services; they end with the block."""

    def __init__(
        self,
        folder: Path,
        store_port: int,
        replicas: Mapping[str, int] | None = None,
        **settings: str,
    ) -> None:
        self.folder = folder
        given = {f"PACSTREAM_{name.upper()}": text for name, text in settings.items()}
        # without bytecode each start compiles our modules anew: installed ones are compiled
        foreign = ("PACSTREAM", "PYTHONDONTWRITEBYTECODE")
        keep = {name: text for name, text in os.environ.items() if not name.startswith(foreign)}
        self.environ = {**keep, **given, "PACSTREAM_DATA": str(folder / "data")}
        self.environ["PACSTREAM_STORE_PORT"] = str(store_port)
        self._store_port = store_port
        self._replicas = replicas
        self._stack = Stack(load_settings(self.environ), self.environ)

    def __enter__(self) -> Self:
        try:
            self._stack.write_config(self._replicas)
            self._stack.start()
            self._stack.wait_ready(240)
        except BaseException:
            self._stack.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.stop()

    @property
    def settings(self) -> Settings:
        return running_settings(load_settings(self.environ))

    def write_config(self, pacs: Pacs) -> Path:
        path = self.folder / "config.json"
        content = {
            "server_address": pacs.address, "port": pacs.port, "server_AET": pacs.aet, "AET": AET,
            "move_AET": AET, "move_port": self._store_port, "batch_size": 100000,
            "batch_wait_time": 0,
        }  # fmt: skip
        path.write_text(json.dumps(content), "utf-8")
        return path

    def batch(self, config: Path, queries: Path, out: Path, *flags: str) -> str:
        """Submit and wait until the batch has finished; its id.

        Raises BenchError if not everything was delivered.
        """
        with contextlib.closing(BusEar(self.settings.amqp_url, BatchFinished)) as ear:
            done = subprocess.run(
                [PACSTREAM, "submit", str(queries), "-c", str(config), "-d", str(out), *flags],
                env=self.environ, capture_output=True, text=True, check=False, timeout=LONGEST_S,
            )  # fmt: skip
            if done.returncode:
                raise BenchError(f"pacstream submit: {done.stderr}")
            batch_id = done.stdout.split()[-1]
            _wait_for_end(ear, batch_id)
        status = LedgerClient(self.settings.ledger_http, patience=10).status(batch_id)
        if not status["delivered"]:
            raise BenchError(f"not all was delivered: {status}")
        return batch_id

    def forget_images(self) -> None:
        """As if nothing had ever been retrieved."""
        shutil.rmtree(self.folder / "data" / "incoming", ignore_errors=True)

    def pids(self) -> dict[str, int]:
        """The processes of the stack by name, the broker's among them."""
        return {one.name: one.pid for one in self._stack.processes() if one.pid is not None}

    def services(self) -> dict[str, int]:
        """The same without the broker's: each is a Python process."""
        members = {one.name for one in self._stack.running().members if one.service}
        return {name: pid for name, pid in self.pids().items() if name in members}


class BusEar(Generic[Heard]):
    """Hears all messages of one kind, beside their consumers."""

    def __init__(self, amqp_url: str, kind: type[Heard]) -> None:
        parameters = pika.URLParameters(amqp_url)
        parameters.heartbeat = 0  # nothing answers them while the others have their turn
        self._kind = kind
        self._connection = pika.BlockingConnection(parameters)
        self._channel = self._connection.channel()
        self._channel.exchange_declare(EXCHANGE, "topic", durable=True)
        self._queue = self._channel.queue_declare("", exclusive=True).method.queue
        self._channel.queue_bind(self._queue, EXCHANGE, kind.topic)

    def heard(self) -> list[Heard]:
        """All since the last call."""
        messages: list[Heard] = []
        while True:
            method, _, body = self._channel.basic_get(self._queue, auto_ack=True)
            if method is None:
                return messages
            messages.append(self._kind.parse(body))

    def close(self) -> None:
        self._connection.close()


def _wait_for_end(ear: BusEar[BatchFinished], batch_id: str) -> None:
    """Listens: asking the ledger again and again would be work of its own in the time measured."""
    deadline = time.monotonic() + LONGEST_S
    while batch_id not in {finished.batch_id for finished in ear.heard()}:
        if time.monotonic() > deadline:
            raise BenchError("the batch does not finish")
        time.sleep(0.02)


def write_queries(path: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path
