"""SIGTERM while all is well, in the middle of the start, and while the broker is away or silent: a
service ends by itself, long before anybody kills it for being late."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pika
import pytest

from pacstream.messages import QueryAnswered
from pacstream.publisher import Publisher
from pacstream.settings import Settings
from tests.fakes.relay import Relay
from tests.integration.test_bus import Process, until

pytestmark = pytest.mark.rabbitmq

GRACE_S = 30.0
"""What deploy/ and docker-compose.yml give the quickest service."""

SOON_S = GRACE_S / 2

Starter = Callable[..., tuple[Process, Relay]]


@pytest.fixture
def start(vhost_url: str, tmp_path: Path) -> Iterator[Starter]:
    """A service with two queues behind a relay."""
    started: list[tuple[Process, Relay]] = []

    def start_one(name: str = "gathering", lines: int = 1000) -> tuple[Process, Relay]:
        relay = Relay(vhost_url, lines)
        process = Process(name, relay.url, tmp_path)
        started.append((process, relay))
        return process, relay

    yield start_one
    for process, relay in started:
        relay.cut()
        process.process.kill()
        process.process.wait()


def ends(process: Process) -> None:
    began = time.monotonic()
    assert process.stop() == 0
    assert time.monotonic() - began < SOON_S
    assert process.log.read_text().rstrip().endswith('"event": "stopped"}')


def test_a_service_with_nothing_to_do_ends(start: Starter) -> None:
    process, _ = start()
    until(process.healthy)
    ends(process)


def test_a_service_ends_in_the_middle_of_its_start(start: Starter) -> None:
    """The first connection declares the topology; the consumers get no answer to theirs."""
    process, relay = start(lines=1)
    until(lambda: relay.taken > 1)
    ends(process)


def test_a_service_ends_while_its_broker_is_away(start: Starter) -> None:
    process, relay = start()
    until(process.healthy)
    relay.cut()
    until(lambda: "broker away" in process.log.read_text())
    ends(process)


def test_a_service_ends_whose_broker_does_not_answer(start: Starter) -> None:
    process, relay = start()
    until(process.healthy)
    relay.silence()
    ends(process)


def test_a_service_whose_broker_goes_away_while_it_ends(start: Starter) -> None:
    process, relay = start()
    until(process.healthy)
    relay.silence()
    process.process.terminate()
    time.sleep(1.0)
    relay.cut()
    ends(process)


def test_what_was_not_acknowledged_comes_again(start: Starter, vhost_url: str) -> None:
    """The handler of row 0 takes a second; the broker is silent before it ends."""
    process, relay = start()
    until(process.healthy)
    with closing(Publisher(Settings(amqp_url=vhost_url), "test")) as publisher:
        publisher.connect()
        publisher.publish(QueryAnswered(batch_id="b-0001", row=0))
    time.sleep(0.5)
    relay.silence()
    ends(process)
    assert process.lines() == ["0"]
    relay.cut()
    until(lambda: depth(vhost_url, "ledger.query.answered") == 1)


def depth(url: str, queue: str) -> int:
    with closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        return int(connection.channel().queue_declare(queue, passive=True).method.message_count)
