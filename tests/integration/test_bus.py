"""The bus against a real broker: retries, dead letters, killed workers, outages."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pika
import pytest
import requests

from pacstream import topology
from pacstream.errors import BrokerUnavailableError, UnroutableError
from pacstream.messages import (
    InfoRequested,
    InfoWritten,
    Message,
    QueryAnswered,
    QueryRequested,
    SeriesRequested,
    WorkFailed,
)
from pacstream.outlet import Outlet
from pacstream.publisher import Publisher
from pacstream.settings import Settings
from pacstream_cli.ports import free_port, start_of
from tests.broker import PrivateBroker
from tests.fakes.line import make_batch, make_found

pytestmark = pytest.mark.rabbitmq

PLANTED = "Zwetschgenstein^Aurelia"


def until(condition: Callable[[], Any], timeout_s: float = 30.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition was never met"
        time.sleep(0.05)
    return value


class Process:
    """A test service in a process of its own."""

    def __init__(self, name: str, url: str, folder: Path) -> None:
        self.marks = folder / "marks.txt"
        self.marks.touch()
        self.port = free_port(start_of(folder))
        self.log = folder / f"{name}.log"
        self._name, self._url, self._folder = name, url, folder
        self.start()

    def start(self) -> None:
        environment = {
            **os.environ,
            "PACSTREAM_AMQP_URL": self._url,
            "PACSTREAM_HTTP_PORT": str(self.port),
            "PACSTREAM_RETRY_DELAYS_MS": "100,200,400",
            "PACSTREAM_MAX_ATTEMPTS": "5",
            "PACSTREAM_HEARTBEAT_S": "10",
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.integration.bus_services", self._name, self.marks],
                env=environment,
                stderr=log,
                stdout=log,
            )

    def lines(self) -> list[str]:
        return self.marks.read_text().splitlines()

    def healthy(self) -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{self.port}/health", timeout=2).ok
        except requests.RequestException:
            return False

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


class Bus:
    """What the tests look at: queues, by pika."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.settings = Settings(amqp_url=url, retry_delays_ms="100,200,400")
        self.publisher = Publisher(self.settings, "test")
        self.publisher.connect()

    def depth(self, queue: str) -> int:
        connection = pika.BlockingConnection(pika.URLParameters(self.url))
        try:
            return int(connection.channel().queue_declare(queue, passive=True).method.message_count)
        finally:
            connection.close()

    def take(self, queue: str) -> tuple[pika.BasicProperties, dict[str, Any]] | None:
        connection = pika.BlockingConnection(pika.URLParameters(self.url))
        try:
            method, properties, body = connection.channel().basic_get(queue, auto_ack=True)
            return None if method is None else (properties, json.loads(body))
        finally:
            connection.close()

    def wait_for(self, queue: str) -> tuple[pika.BasicProperties, dict[str, Any]]:
        found: tuple[pika.BasicProperties, dict[str, Any]] = until(lambda: self.take(queue))
        return found


@pytest.fixture
def bus(vhost_url: str) -> Iterator[Bus]:
    bus = Bus(vhost_url)
    yield bus
    bus.publisher.close()


Starter = Callable[[str], Process]


@pytest.fixture
def start(vhost_url: str, tmp_path: Path) -> Iterator[Starter]:
    processes: list[Process] = []

    def start_one(name: str) -> Process:
        processes.append(Process(name, vhost_url, tmp_path))
        until(processes[-1].healthy)
        return processes[-1]

    yield start_one
    for process in processes:
        if process.process.poll() is None:
            process.stop(signal.SIGKILL)


def query(row: int) -> QueryRequested:
    return QueryRequested(batch=make_batch(9, save=True), row=row, keys={"PatientName": PLANTED})


def info(number: int) -> InfoRequested:
    batch = make_batch(9, info=True)
    return InfoRequested(batch_id=batch.batch_id, order=order(number), attributes={})


def order(number: int) -> Any:
    from pacstream.messages import Order

    batch = make_batch(9, info=True)
    return Order(
        batch_id=batch.batch_id,
        series=make_found(batch, 2, number).series,
        actions=batch.actions,
        out="/results",
        subject="sub-x",
        session="ses-x",
        folder="f",
        release_folder="r",
    )


def move(number: int) -> SeriesRequested:
    batch = make_batch(9, save=True)
    return SeriesRequested(
        batch_id=batch.batch_id,
        pacs=batch.pacs,
        destination="US",
        order=order(1),
        round=number,
    )


def test_a_handler_that_asks_for_time_three_times_then_succeeds(bus: Bus, start: Starter) -> None:
    process = start("patient")
    bus.publisher.publish(query(7))
    properties, body = bus.wait_for("ledger.query.answered")
    assert process.lines() == ["attempt 7"] * 4
    assert QueryAnswered.model_validate(body).row == 7
    assert bus.depth("query.query.requested") == 0
    assert bus.depth("query.query.requested.dead") == 0
    assert properties.headers["causation-id"] == query(7).message_id


@pytest.mark.parametrize(
    ("row", "reason", "attempts"),
    [(1, "refused", 1), (2, "unexpected_error", 1), (3, "pacs_busy", 5)],
)
def test_any_other_error_lands_in_the_dead_letters_with_its_reason(
    bus: Bus, start: Starter, row: int, reason: str, attempts: int
) -> None:
    process = start("broken")
    bus.publisher.publish(query(row))
    properties, body = bus.wait_for("query.query.requested.dead")
    assert properties.headers["x-reason"] == reason
    assert properties.headers["x-attempts"] == attempts
    assert process.lines() == [f"attempt {row}"] * attempts
    assert QueryRequested.model_validate(body) == query(row)
    assert PLANTED not in str(properties)
    failed = WorkFailed.model_validate(bus.wait_for("ledger.work.failed")[1])
    assert (failed.queue, failed.reason, failed.row) == ("query.query.requested", reason, row)
    assert PLANTED not in failed.model_dump_json()
    assert process.stop() == 0
    assert PLANTED not in process.log.read_text()


def test_a_body_that_is_no_message_lands_in_the_dead_letters(bus: Bus, start: Starter) -> None:
    start("echo")
    connection = pika.BlockingConnection(pika.URLParameters(bus.url))
    channel = connection.channel()
    for body in (b"{not json", b'{"batch_id": 1}', b"\xff\xfe"):
        channel.basic_publish(topology.EXCHANGE, "info.requested", body)
    connection.close()
    until(lambda: bus.depth("exporter.info.requested.dead") == 3)
    assert bus.depth("exporter.info.requested") == 0


def test_the_ledger_is_told_of_a_bad_message_if_its_series_can_be_read(
    bus: Bus, start: Starter
) -> None:
    start("echo")
    body = info(3).payload()
    del body["order"]["out"]
    connection = pika.BlockingConnection(pika.URLParameters(bus.url))
    properties = pika.BasicProperties(correlation_id="b-0001", type="info.requested")
    connection.channel().basic_publish(
        topology.EXCHANGE, "info.requested", json.dumps(body).encode(), properties
    )
    connection.close()
    failed = WorkFailed.model_validate(bus.wait_for("ledger.work.failed")[1])
    assert (failed.batch_id, failed.series_uid) == ("b-0001", "1.2.3")
    assert (failed.queue, failed.reason) == ("exporter.info.requested", "bad_message")


def _delivery(channel: Any) -> Any:
    return channel.basic_get("exporter.info.requested")[0]


def test_a_message_under_which_its_worker_dies_again_and_again_is_buried(
    bus: Bus, start: Starter
) -> None:
    bus.publisher.publish(info(3))
    for _ in range(10):
        # What a killed worker does, without waiting for ten of them to start.
        connection = pika.BlockingConnection(pika.URLParameters(bus.url))
        channel = connection.channel()
        method = until(partial(_delivery, channel))
        channel.basic_nack(method.delivery_tag, requeue=True)
        connection.close()
    process = start("echo")
    properties, _ = bus.wait_for("exporter.info.requested.dead")
    assert properties.headers["x-reason"] == "redelivered_too_often"
    failed = WorkFailed.model_validate(bus.wait_for("ledger.work.failed")[1])
    assert (failed.series_uid, failed.reason) == ("1.2.3", "redelivered_too_often")
    assert process.lines() == []


def test_a_killed_workers_message_is_redelivered(bus: Bus, start: Starter) -> None:
    process = start("slow")
    bus.publisher.publish(move(0))
    until(lambda: process.lines() == ["start 0"])
    process.stop(signal.SIGKILL)
    process.start()
    until(lambda: process.lines() == ["start 0", "start 0", "end 0"])
    until(lambda: bus.depth("retrieve.series.requested") == 0)


def test_a_stop_lets_the_running_handler_end_and_duplicates_nothing(
    bus: Bus, start: Starter
) -> None:
    process = start("slow")
    bus.publisher.publish(move(0))
    bus.publisher.publish(move(1))
    until(lambda: process.lines() == ["start 0"])
    assert process.stop() == 0
    assert "end 0" in process.lines()
    assert bus.depth("retrieve.series.requested") == 2 - process.lines().count("end 0") - (
        process.lines().count("end 1")
    )


def answered(row: int) -> QueryAnswered:
    return QueryAnswered(batch_id="b-0001", row=row)


class Gathering:
    """A running service that takes a second for row 0, while all else gathers."""

    def __init__(self, bus: Bus, start: Starter) -> None:
        self.bus = bus
        self.process = start("gathering")

    def give(self, *rows: int) -> None:
        self.bus.publisher.publish(answered(0))
        # On a busy machine, all that is sent at once may come at once.
        until(self.process.marks.with_suffix(".begun").exists)
        for row in rows:
            self.bus.publisher.publish(answered(row))

    def handled(self) -> list[int]:
        return [int(row) for line in self.process.lines() for row in line.split()]

    def wait_for(self, *rows: int) -> None:
        until(lambda: set(rows) <= set(self.handled()))

    def left(self) -> int:
        """Messages that were not acknowledged, once the process has ended."""
        self.process.stop()
        return self.bus.depth("ledger.query.answered")


@pytest.fixture
def gathering(bus: Bus, start: Starter) -> Gathering:
    return Gathering(bus, start)


def test_messages_that_wait_are_handed_over_together_in_the_order_of_their_queue(
    gathering: Gathering,
) -> None:
    rows = list(range(100, 180))
    gathering.give(*rows)
    gathering.wait_for(*rows)
    assert gathering.handled() == [0, *rows]
    assert max(len(line.split()) for line in gathering.process.lines()) >= 40
    assert gathering.left() == 0


def test_messages_of_several_topics_share_a_call(bus: Bus, gathering: Gathering) -> None:
    gathering.give()
    bus.publisher.publish(InfoWritten(batch_id="b-0001", series_uid="1.2"))
    bus.publisher.publish(answered(5))
    gathering.wait_for(0, 5)
    assert gathering.process.lines() == ["0", "5"]
    gathering.process.stop()
    assert bus.depth("ledger.info.written") == 0


def test_a_message_that_can_not_be_handled_harms_no_other_of_its_group(
    bus: Bus, gathering: Gathering
) -> None:
    gathering.give(1, 2, 13, 3, 4)
    gathering.wait_for(1, 2, 3, 4)
    properties, body = bus.wait_for("ledger.query.answered.dead")
    assert (body["row"], properties.headers["x-reason"]) == (13, "unexpected_error")
    assert bus.wait_for("ledger.work.failed")[1]["row"] == 13
    assert gathering.handled() == [0, 1, 2, 3, 4]
    assert gathering.left() == 0
    assert bus.take("ledger.query.answered.dead") is None
    assert bus.take("ledger.work.failed") is None


def test_a_body_that_is_no_message_harms_no_other_of_its_group(
    bus: Bus, gathering: Gathering
) -> None:
    gathering.give(1)
    connection = pika.BlockingConnection(pika.URLParameters(bus.url))
    connection.channel().basic_publish(topology.EXCHANGE, "query.answered", b"{not json")
    connection.close()
    bus.publisher.publish(answered(2))
    gathering.wait_for(1, 2)
    assert bus.wait_for("ledger.work.failed")[1]["reason"] == "bad_message"
    assert gathering.left() == 0
    assert bus.depth("ledger.query.answered.dead") == 1


def test_a_process_killed_before_the_acknowledgement_is_given_its_group_again(
    bus: Bus, gathering: Gathering
) -> None:
    gathering.give(1, 2, 77, 3)
    gathering.process.process.wait(30)
    assert set(gathering.handled()) == {0, 1, 2, 77, 3}
    gathering.process.start()
    until(lambda: sorted(gathering.handled()) == sorted([0, *2 * (1, 2, 77, 3)]))
    assert gathering.left() == 0
    assert bus.depth("ledger.query.answered.dead") == 0


def test_a_message_that_kills_its_process_does_not_wear_out_its_group(
    bus: Bus, gathering: Gathering
) -> None:
    gathering.give(66, 1, 2)
    gathering.process.process.wait(30)
    assert gathering.handled() == [0]
    for _ in range(8):
        gathering.process.start()
        gathering.process.process.wait(30)
        if {1, 2} <= set(gathering.handled()):
            break
    assert sorted(gathering.handled()) == [0, 1, 2]
    assert bus.wait_for("ledger.query.answered")[1]["row"] == 66
    assert bus.take("ledger.query.answered") is None
    assert bus.depth("ledger.query.answered.dead") == 0


def test_messages_published_together_arrive_in_their_order(bus: Bus) -> None:
    outlet = Outlet(bus.url)
    outlet.publish([answered(row) for row in range(300)], "test", [""] * 300)
    rows = [bus.wait_for("ledger.query.answered")[1]["row"] for _ in range(300)]
    assert rows == list(range(300))


def test_one_unroutable_message_raises_and_the_others_arrive(bus: Bus) -> None:
    class Nobody(Message):
        topic = "nobody.listens"

    outlet = Outlet(bus.url)
    with pytest.raises(UnroutableError):
        outlet.publish([answered(1), Nobody(), answered(2)], "test", ["", "", ""])
    assert [bus.wait_for("ledger.query.answered")[1]["row"] for _ in range(2)] == [1, 2]
    outlet.publish([answered(3)], "test", ["cause"])
    properties, body = bus.wait_for("ledger.query.answered")
    assert (body["row"], properties.headers["causation-id"]) == (3, "cause")


def test_all_messages_of_a_volley_arrive_in_their_order(bus: Bus) -> None:
    bus.publisher.publish_all(answered(row) for row in range(1200))
    connection = pika.BlockingConnection(pika.URLParameters(bus.url))
    channel = connection.channel()
    bodies = [channel.basic_get("ledger.query.answered", auto_ack=True)[2] for _ in range(1200)]
    connection.close()
    assert [json.loads(body)["row"] for body in bodies] == list(range(1200))


def test_a_volley_with_a_message_that_no_queue_takes_raises(bus: Bus) -> None:
    class Nobody(Message):
        topic = "nobody.listens"

    with pytest.raises(UnroutableError):
        bus.publisher.publish_all([answered(1), Nobody(), answered(2)])


def test_a_volley_without_a_broker_raises(bus: Bus) -> None:
    nobody = bus.settings.model_copy(update={"amqp_url": "amqp://guest:guest@127.0.0.1:9/%2F"})
    with pytest.raises(BrokerUnavailableError):
        Publisher(nobody, "test").publish_all([answered(1)])


def test_an_unroutable_publish_raises(bus: Bus) -> None:
    class Nobody(Message):
        topic = "nobody.listens"

    with pytest.raises(UnroutableError):
        bus.publisher.publish(Nobody())


def test_an_announcement_needs_no_consumer(bus: Bus) -> None:
    class News(Message):
        topic = "nobody.listens"
        announcement = True

    bus.publisher.publish(News())


def test_one_replica_of_a_single_active_queue_works_and_the_other_takes_over(
    bus: Bus, start: Starter, tmp_path: Path
) -> None:
    active, standby = start("slow"), start("slow")
    bus.publisher.publish(move(0))
    until(lambda: "start 0" in active.lines())
    active.stop(signal.SIGKILL)
    until(lambda: active.lines().count("start 0") == 2 and "end 0" in standby.lines())


def test_every_queue_is_a_durable_quorum_queue(bus: Bus, broker: PrivateBroker) -> None:
    vhost = bus.url.rsplit("/", 1)[1]
    answer = requests.get(
        f"{broker.management_url}/api/queues/{vhost}", auth=broker.credentials, timeout=10
    )
    queues = {queue["name"]: queue for queue in answer.json()}
    assert {spec.name for spec in topology.queues(bus.settings.retry_delays)} == set(queues)
    assert {queue["type"] for queue in queues.values()} == {"quorum"}
    assert all(queue["durable"] for queue in queues.values())


def test_a_broker_restart_in_the_middle_of_1000_messages_loses_none(
    bus: Bus, start: Starter, broker: PrivateBroker
) -> None:
    process = start("echo")
    for number in range(500):
        bus.publisher.publish(info(number))
    until(lambda: len(process.lines()) > 100)
    broker.restart()
    for number in range(500, 1000):
        bus.publisher.publish(info(number))
    expected = {f"1.2.{number}" for number in range(1000)}
    until(lambda: expected <= set(process.lines()), 90)
    until(process.healthy)
    until(lambda: bus.depth("exporter.info.requested") == 0)
    answered = set()
    while (taken := bus.take("ledger.info.written")) is not None:
        answered.add(InfoWritten.model_validate(taken[1]).series_uid)
    assert answered == expected
    assert process.process.poll() is None
    assert bus.depth("exporter.info.requested.dead") == 0


def test_a_service_is_alive_as_soon_as_it_answers(start: Starter) -> None:
    process = start("echo")
    assert requests.get(f"http://127.0.0.1:{process.port}/live", timeout=2).ok


def test_a_service_that_waits_for_its_broker_ends_when_it_is_told(tmp_path: Path) -> None:
    nobody = free_port(start_of(tmp_path / "nobody"))
    process = Process("echo", f"amqp://guest:guest@127.0.0.1:{nobody}/%2F", tmp_path)
    until(lambda: "waiting for the broker" in process.log.read_text())
    assert process.stop() == 0
