"""The broker's topology as data: one topic exchange, a queue for each service and topic.

Queue `<service>.<topic>` has the siblings `.retry.<pause>` (one per pause: a pause set per message
would block behind the head of the queue) and `.dead`. All are quorum queues. Every process declares
all of it at start, so no message is lost because a consumer has never run.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pacstream.messages import (
    ActionFinished,
    ActionName,
    ActionRequested,
    BatchFinished,
    DeidentifyRequested,
    InfoRequested,
    InfoWritten,
    InstancesDeidentified,
    InstancesReceived,
    InstancesWithheld,
    ListingRequested,
    Message,
    QueryAnswered,
    QueryRequested,
    SeriesConverted,
    SeriesExported,
    SeriesFound,
    SeriesListed,
    SeriesMoved,
    SeriesReceived,
    SeriesRequested,
    WorkFailed,
)

EXCHANGE = "pacstream"

DELIVERY_LIMIT = 20
"""Deliveries of one message without an acknowledgement (a killed worker, a lost connection) before
the broker itself calls it dead. Attempts after errors are counted in our own header."""

SUBSCRIPTIONS: dict[str, tuple[type[Message], ...]] = {
    "query": (QueryRequested, ListingRequested),
    "retrieve": (SeriesRequested,),
    "anonymizer": (InstancesReceived, DeidentifyRequested),
    "converter": (SeriesReceived, ActionRequested),
    "exporter": (SeriesReceived, InfoRequested, ActionRequested, BatchFinished),
    "ledger": (
        QueryRequested,
        SeriesFound,
        QueryAnswered,
        SeriesMoved,
        SeriesListed,
        InstancesReceived,
        InstancesDeidentified,
        InstancesWithheld,
        InfoWritten,
        SeriesExported,
        SeriesConverted,
        ActionFinished,
        WorkFailed,
    ),
}
"""Which service consumes what. The store SCP and the CLI only publish."""

ACTION_SERVICE: dict[ActionName, str] = {
    "info_table": "exporter",
    "bids": "converter",
    "karnak": "exporter",
    "dicomdir": "exporter",
    "export": "exporter",
}
"""Who does which batch action. The others see the request and leave it."""

SINGLE_ACTIVE = frozenset({"retrieve.series.requested"})
"""One consumer at a time, so that the limits that protect a PACS hold over all replicas."""


@dataclass(frozen=True)
class QueueSpec:
    """A durable quorum queue: its name, its arguments, the topics bound to it."""

    name: str
    arguments: dict[str, str | int | bool]
    topics: tuple[str, ...] = field(default=())


def queue_name(service: str, message: type[Message]) -> str:
    return f"{service}.{message.topic}"


def retry_queue_name(queue: str, delay_ms: int) -> str:
    pause = f"{delay_ms // 1000}s" if delay_ms % 1000 == 0 else f"{delay_ms}ms"
    return f"{queue}.retry.{pause}"


def dead_queue_name(queue: str) -> str:
    return f"{queue}.dead"


def work_queues() -> tuple[str, ...]:
    """The names of the queues that services consume, in the order of the pipeline."""
    return tuple(
        queue_name(service, message)
        for service, messages in SUBSCRIPTIONS.items()
        for message in messages
    )


def queues(retry_delays_ms: tuple[int, ...]) -> list[QueueSpec]:
    """All queues to declare, with their siblings."""
    specs: list[QueueSpec] = []
    for service, messages in SUBSCRIPTIONS.items():
        for message in messages:
            specs += _with_siblings(queue_name(service, message), message.topic, retry_delays_ms)
    return specs


def _with_siblings(queue: str, topic: str, retry_delays_ms: tuple[int, ...]) -> list[QueueSpec]:
    work: dict[str, str | int | bool] = {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": dead_queue_name(queue),
    }
    if queue in SINGLE_ACTIVE:
        work["x-single-active-consumer"] = True
    return [
        QueueSpec(queue, work, (topic,)),
        QueueSpec(dead_queue_name(queue), {"x-queue-type": "quorum"}),
        *(
            QueueSpec(
                retry_queue_name(queue, delay),
                {
                    "x-queue-type": "quorum",
                    "x-message-ttl": delay,
                    "x-dead-letter-exchange": "",
                    "x-dead-letter-routing-key": queue,
                    "x-dead-letter-strategy": "at-least-once",
                    "x-overflow": "reject-publish",
                },
            )
            for delay in retry_delays_ms
        ),
    ]
