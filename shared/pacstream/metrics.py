"""What a process counts, for Prometheus: GET /metrics beside /health.

Labels are queues, reason codes, states and the keys of PACS (title and address): nothing of a
patient, a study or a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Counter, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from pacstream.messages import Message

MESSAGES = Counter(
    "pacstream_messages",
    "Messages that a service is done with: acknowledged, to be tried again, or dead letters.",
    ("queue", "outcome"),
)
INSTANCES = Counter(
    "pacstream_instances",
    "Instances in the messages that a service has acknowledged.",
    ("queue",),
)
CONTENT_TYPE = CONTENT_TYPE_LATEST


@dataclass(frozen=True)
class Gauge:
    """A value now; `labels` have the same names in all gauges of one name."""

    name: str
    meaning: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


def count(queue: str, fact: Message | None, outcome: str) -> None:
    """Count a message that a service is done with; None: one that could not be read."""
    MESSAGES.labels(queue, outcome).inc()
    if outcome == "done":
        INSTANCES.labels(queue).inc(instances_of(fact))


def instances_of(fact: Message | None) -> int:
    """How many instances a message tells of: some list them, some tell only how many."""
    told = getattr(fact, "instances", None)
    if isinstance(told, int):
        return told
    return len(told) if isinstance(told, Sized) else 0


def exposition() -> str:
    """Everything that this process measures, in Prometheus's text format."""
    return generate_latest(REGISTRY).decode("utf-8")


def looks_up(gauges: Callable[[], Iterable[Gauge]]) -> None:
    """Let each GET /metrics ask `gauges` anew."""
    REGISTRY.register(Lookup(gauges))


class Lookup:
    """A collector whose values are worked out when they are asked for."""

    def __init__(self, gauges: Callable[[], Iterable[Gauge]]) -> None:
        self._gauges = gauges

    def describe(self) -> Iterator[Metric]:
        """Nothing: else the registry would look up all values when it is told of this."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        families: dict[str, GaugeMetricFamily] = {}
        for gauge in self._gauges():
            names = tuple(gauge.labels)
            family = families.setdefault(
                gauge.name, GaugeMetricFamily(gauge.name, gauge.meaning, labels=names)
            )
            family.add_metric(tuple(gauge.labels.values()), gauge.value)
        return iter(families.values())
