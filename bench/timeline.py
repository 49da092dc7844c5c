"""When each stage of a batch began and ended, as its messages on the bus tell."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

import pika

from pacstream.messages import (
    BatchFinished,
    InstancesDeidentified,
    InstancesReceived,
    Message,
    QueryAnswered,
    QueryRequested,
    SeriesConverted,
    SeriesMoved,
    SeriesReceived,
)
from pacstream.topology import EXCHANGE

STAGES: dict[str, type[Message]] = {
    "rows submitted": QueryRequested,
    "rows answered (C-FIND)": QueryAnswered,
    "instances received": InstancesReceived,
    "C-MOVEs ended": SeriesMoved,
    "instances de-identified": InstancesDeidentified,
    "series found complete": SeriesReceived,
    "series converted": SeriesConverted,
    "batch finished": BatchFinished,
}
POLL_S = 0.2


class Timeline:
    """`with Timeline(url) as timeline:` stamps every message while the block runs."""

    def __init__(self, amqp_url: str) -> None:
        self._started = time.perf_counter()
        self._seen: dict[str, tuple[float, float]] = {}
        self._connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
        channel = self._connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        for kind in STAGES.values():
            channel.queue_bind(queue, EXCHANGE, kind.topic)
        channel.basic_consume(queue, self._stamp, auto_ack=True)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="timeline")

    def __enter__(self) -> Self:
        self._started = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join()
        self._connection.close()

    def _listen(self) -> None:
        while not self._stopping.is_set():
            self._connection.process_data_events(POLL_S)

    def _stamp(self, _channel: object, method: pika.spec.Basic.Deliver, *_: object) -> None:
        now = time.perf_counter() - self._started
        first = self._seen.get(method.routing_key, (now, now))[0]
        self._seen[method.routing_key] = (first, now)

    def stages(self) -> dict[str, tuple[float, float]]:
        """First and last message of each stage, in seconds after the block began."""
        return {
            name: self._seen[kind.topic]
            for name, kind in STAGES.items()
            if kind.topic in self._seen
        }
