"""The whole of pacstream, up in a folder of its own, and driven by its command line."""

from __future__ import annotations

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
from typing import Self

import pika

from demo.pacs import Pacs
from pacstream.messages import SeriesMoved
from pacstream.settings import Settings, load_settings
from pacstream_cli.client import LedgerClient
from pacstream_cli.stack import Stack, running_settings

AET = "PACSTREAM"
PACSTREAM = str(Path(sys.executable).with_name("pacstream"))
LONGEST_S = 1200.0


class BenchError(RuntimeError):
    """A contender did not do its work: its time would say nothing."""


class Line:
    """`with Line(folder, port) as line:` starts all services; they end with the block."""

    def __init__(self, folder: Path, store_port: int, **settings: str) -> None:
        self.folder = folder
        given = {f"PACSTREAM_{name.upper()}": text for name, text in settings.items()}
        keep = {name: text for name, text in os.environ.items() if not name.startswith("PACSTREAM")}
        self.environ = {**keep, **given, "PACSTREAM_DATA": str(folder / "data")}
        self.environ["PACSTREAM_STORE_PORT"] = str(store_port)
        self._store_port = store_port
        self._stack = Stack(load_settings(self.environ), self.environ)

    def __enter__(self) -> Self:
        try:
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
        done = subprocess.run(
            [PACSTREAM, "submit", str(queries), "-c", str(config), "-d", str(out), *flags],
            env=self.environ, capture_output=True, text=True, check=False, timeout=LONGEST_S,
        )  # fmt: skip
        if done.returncode:
            raise BenchError(f"pacstream submit: {done.stderr}")
        batch_id = done.stdout.split()[-1]
        ledger = LedgerClient(self.settings.ledger_http, patience=10)
        deadline = time.monotonic() + LONGEST_S
        while not (ledger.knows(batch_id) and ledger.status(batch_id)["finished_at"]):
            if time.monotonic() > deadline:
                raise BenchError("the batch does not finish")
            time.sleep(0.05)
        if not ledger.status(batch_id)["delivered"]:
            raise BenchError(f"not all was delivered: {ledger.status(batch_id)}")
        return batch_id

    def forget_images(self) -> None:
        """As if nothing had ever been retrieved."""
        shutil.rmtree(self.folder / "data" / "incoming", ignore_errors=True)

    def listen(self) -> MoveEar:
        return MoveEar(self.settings.amqp_url)


class MoveEar:
    """Hears what each C-MOVE took, as the retrieve service tells it on the bus."""

    def __init__(self, amqp_url: str) -> None:
        parameters = pika.URLParameters(amqp_url)
        parameters.heartbeat = 0  # nothing answers them while the others have their turn
        self._connection = pika.BlockingConnection(parameters)
        self._channel = self._connection.channel()
        self._queue = self._channel.queue_declare("", exclusive=True).method.queue
        self._channel.queue_bind(self._queue, "pacstream", SeriesMoved.topic)

    def heard(self) -> list[SeriesMoved]:
        """All since the last call."""
        moves: list[SeriesMoved] = []
        while True:
            method, _, body = self._channel.basic_get(self._queue, auto_ack=True)
            if method is None:
                return moves
            moves.append(SeriesMoved.parse(body))

    def close(self) -> None:
        self._connection.close()


def write_queries(path: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path
