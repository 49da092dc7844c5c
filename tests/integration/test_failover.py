"""Two retrieve replicas and one ledger on a real broker: one limit, and no loss when one dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from pacstream.messages import Batch, QueryAnswered, QueryRequested
from pacstream.publisher import Publisher
from pacstream.settings import Settings
from pacstream_cli.client import LedgerClient, View
from pacstream_cli.ports import free_port, start_of
from tests.fakes.line import make_batch, make_found

pytestmark = pytest.mark.rabbitmq

LIMIT = 2
HANDOVER_S = 15.0


def until(condition: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition was never met"
        time.sleep(0.05)
    return value


@dataclass(frozen=True)
class Mark:
    what: str
    series_uid: str
    pid: int
    at: float


class Line:
    """A ledger, some replicas of the stand-in for retrieve, and what they have left behind."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.marks_file = folder / "marks.txt"
        self.marks_file.touch()
        self.processes: list[subprocess.Popen[bytes]] = []
        self.port = self._start("ledger", ["-m", "pacstream_ledger"])
        self.client = LedgerClient(f"http://127.0.0.1:{self.port}")

    def start_replica(self, seconds: float = 0.4) -> subprocess.Popen[bytes]:
        module = ["-m", "tests.integration.standin_retrieve", str(self.marks_file), str(seconds)]
        self._start(f"retrieve-{len(self.processes)}", module)
        return self.processes[-1]

    def _start(self, name: str, arguments: list[str]) -> int:
        port = free_port(start_of(self.folder / name))
        environment = {
            **os.environ,
            "PACSTREAM_AMQP_URL": self.url,
            "PACSTREAM_HTTP_PORT": str(port),
            "PACSTREAM_DATA": str(self.folder / "data"),
            "PACSTREAM_WORKERS": "8" if "retrieve" in name else "1",
            "PACSTREAM_PACS_CONCURRENCY": str(LIMIT),
            "PACSTREAM_HEARTBEAT_S": "10",
        }
        with (self.folder / f"{name}.log").open("ab") as log:
            command = [sys.executable, *arguments]
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self.processes.append(process)
        until(lambda: is_healthy(port))
        return port

    def submit(self, series: int, batch_id: str = "b-0001") -> Batch:
        """One row that matches so many series, each to be moved to a third node."""
        batch = make_batch(1, move=True).model_copy(update={"batch_id": batch_id})
        found = [make_found(batch, 2, number) for number in range(1, series + 1)]
        publisher = Publisher(Settings(amqp_url=self.url), "test")
        publisher.publish(QueryRequested(batch=batch, row=2, keys={"PatientID": "x"}))
        for fact in found:
            publisher.publish(fact)
        publisher.publish(QueryAnswered(batch_id=batch_id, row=2, series=series))
        publisher.close()
        return batch

    def marks(self) -> list[Mark]:
        lines = [line.split() for line in self.marks_file.read_text().splitlines()]
        return [Mark(what, uid, int(pid), float(at)) for what, uid, pid, at in lines]

    def finished(self, batch: Batch) -> View:
        def ended() -> View | None:
            if not self.client.knows(batch.batch_id):
                return None
            status = self.client.status(batch.batch_id)
            return status if status["finished_at"] is not None else None

        status: View = until(ended)
        return status

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait(20)


def is_healthy(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/health", timeout=2).ok
    except requests.RequestException:
        return False


def most_at_once(marks: list[Mark], killed: int = 0, killed_at: float = 0.0) -> int:
    """The largest number of requests under way at one moment; a killed process ends its own."""
    steps: list[tuple[float, int]] = []
    for mark in marks:
        steps.append((mark.at, 1 if mark.what == "start" else -1))
    open_at_kill = [mark.what for mark in marks if mark.pid == killed]
    steps += [(killed_at, -1)] * (open_at_kill.count("start") - open_at_kill.count("end"))
    level = most = 0
    for _, step in sorted(steps):
        level += step
        most = max(most, level)
    return most


@pytest.fixture
def line(vhost_url: str, tmp_path: Path) -> Iterator[Line]:
    line = Line(vhost_url, tmp_path)
    yield line
    line.stop()


def test_two_replicas_together_never_exceed_the_limit(line: Line) -> None:
    line.start_replica()
    line.start_replica()
    status = line.finished(line.submit(12))
    assert status["series"] == {"complete": 12}
    marks = line.marks()
    assert len([mark for mark in marks if mark.what == "start"]) == 12
    assert most_at_once(marks) == LIMIT


def test_killing_the_active_replica_hands_over_in_time_and_loses_nothing(line: Line) -> None:
    replicas = {process.pid: process for process in (line.start_replica(), line.start_replica())}
    batch = line.submit(12)
    until(lambda: len(line.marks()) > 5)
    active = line.marks()[-1].pid
    replicas[active].send_signal(signal.SIGKILL)
    killed_at = time.time()
    until(lambda: any(mark.pid != active and mark.at > killed_at for mark in line.marks()))
    taken_over = min(m.at for m in line.marks() if m.pid != active and m.at > killed_at)
    assert taken_over - killed_at < HANDOVER_S
    status = line.finished(batch)
    assert status["series"] == {"complete": 12}
    ended = {mark.series_uid for mark in line.marks() if mark.what == "end"}
    assert ended == {f"1.2.{number}" for number in range(1, 13)}
    assert most_at_once(line.marks(), active, killed_at) <= LIMIT


def test_a_limit_that_is_set_holds_within_seconds(line: Line) -> None:
    line.start_replica()
    batch = line.submit(16)
    until(lambda: len(line.marks()) > 4)
    view = line.client.set_throttle("PACS", {"moves": 1})
    assert view["limits"]["moves"] == 1
    since = time.time() + 2.0
    line.finished(batch)
    later = [mark for mark in line.marks() if mark.what == "start" and mark.at > since]
    uids = {mark.series_uid for mark in later}
    assert later
    assert most_at_once([mark for mark in line.marks() if mark.series_uid in uids]) == 1


def test_a_killed_ledger_goes_on_with_the_same_limits_and_places(line: Line) -> None:
    line.start_replica()
    batch = line.submit(10)
    line.client.set_throttle("PACS", {"moves": 1})
    until(lambda: len(line.marks()) > 4)
    line.processes[0].kill()
    line.processes[0].wait(20)
    line.port = line._start("ledger", ["-m", "pacstream_ledger"])
    line.client = LedgerClient(f"http://127.0.0.1:{line.port}")
    (view,) = line.client.throttles()
    assert view["limits"]["moves"] == 1
    assert line.finished(batch)["series"] == {"complete": 10}


def test_a_batch_is_paused_resumed_and_cancelled_over_http(line: Line) -> None:
    line.start_replica(seconds=0.2)
    batch = line.submit(60)
    until(lambda: len(line.marks()) > 4)
    line.client.control(batch.batch_id, "pause")
    until(lambda: line.client.throttles()[0]["moving"] == 0)
    paused = line.client.status(batch.batch_id)
    assert (paused["control"], paused["held"]) == ("paused", {"reason": "paused", "until": None})
    started = len(line.marks())
    line.client.control(batch.batch_id, "resume")
    until(lambda: len(line.marks()) > started)
    line.client.control(batch.batch_id, "priority", priority=3)
    line.client.control(batch.batch_id, "cancel")
    status = line.finished(batch)
    assert set(status["series"]) == {"complete", "cancelled"}
    assert status["delivered"] is False
    assert (line.folder / "data" / "run" / "cancelled" / batch.batch_id).exists()
