"""What services count: any message can be counted, and nothing of a patient is a label."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from pacstream.messages import MESSAGES, Message
from pacstream.metrics import count, exposition, instances_of

GOLDEN: dict[str, dict[str, object]] = json.loads(
    (Path(__file__).parent / "golden/messages.json").read_text("utf-8")
)
BY_TOPIC = {message.topic: message for message in MESSAGES}


def golden(topic: str) -> Message:
    return BY_TOPIC[topic].parse(json.dumps(GOLDEN[topic]["body"]))


@pytest.mark.parametrize("topic", sorted(GOLDEN))
def test_every_message_can_be_counted(topic: str) -> None:
    queue = f"a.{topic}"
    count(queue, golden(topic), "done")
    labels = {"queue": queue, "outcome": "done"}
    assert REGISTRY.get_sample_value("pacstream_messages_total", labels) == 1


def test_instances_are_counted_listed_or_told() -> None:
    listed = golden("instances.received")
    assert instances_of(listed) == len(listed.payload()["instances"]) > 0
    exported = golden("series.exported")
    assert instances_of(exported) == exported.payload()["instances"] > 0
    assert instances_of(golden("batch.finished")) == instances_of(None) == 0


def test_what_was_not_done_counts_no_instances() -> None:
    count("b.instances.received", golden("instances.received"), "retry")
    count("b.instances.received", None, "dead")
    assert (
        REGISTRY.get_sample_value("pacstream_instances_total", {"queue": "b.instances.received"})
        is None
    )
    text = exposition()
    assert 'pacstream_messages_total{outcome="dead",queue="b.instances.received"} 1.0' in text
