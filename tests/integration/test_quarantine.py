"""A release by decision with a real broker, ledger and anonymizer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from pacstream.logs import ref
from pacstream.publisher import Publisher
from pacstream_cli.client import LedgerClient, View
from pacstream_cli.ports import free_port, start_of
from tests.fakes.held import ALSO_BURNED, BURNED, LEAK, Held

pytestmark = pytest.mark.rabbitmq


def until(condition: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition was never met"
        time.sleep(0.05)
    return value


def is_healthy(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/health", timeout=2).ok
    except requests.RequestException:
        return False


class Services:
    """A ledger and an anonymizer on one trusted zone."""

    def __init__(self, url: str, folder: Path, held: Held) -> None:
        self.held, self.folder = held, folder
        self.environment = {
            **os.environ,
            "PACSTREAM_AMQP_URL": url,
            "PACSTREAM_DATA": str(held.settings.data),
        }
        self.processes: list[subprocess.Popen[bytes]] = []
        ports = [self._start(name) for name in ("ledger", "anonymizer")]
        until(lambda: all(map(is_healthy, ports)))
        self.client = LedgerClient(f"http://127.0.0.1:{ports[0]}")
        self.publisher = Publisher(held.settings.model_copy(update={"amqp_url": url}), "test")

    def _start(self, name: str) -> int:
        port = free_port(start_of(self.folder / name))
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", f"pacstream_{name}"],
                    env={**self.environment, "PACSTREAM_HTTP_PORT": str(port)},
                    stdout=log,
                    stderr=log,
                )
            )
        return port

    def ended(self) -> View:
        batch_id = self.held.batch.batch_id

        def finished() -> View | None:
            if not self.client.knows(batch_id):
                return None
            report = self.client.report(batch_id)
            return report if report["finished_at"] is not None else None

        report: View = until(finished)
        return report

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from pacstream_cli.main import main; main()"]
        return subprocess.run(
            [*command, "quarantine", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def stop(self) -> None:
        self.publisher.close()
        for process in self.processes:
            process.kill()
            process.wait(20)


@pytest.fixture
def services(vhost_url: str, tmp_path: Path) -> Iterator[Services]:
    services = Services(vhost_url, tmp_path, Held(tmp_path))
    try:
        yield services
    finally:
        services.stop()


def test_what_an_operator_lets_pass_is_released_and_the_finished_batch_shows_it(
    services: Services,
) -> None:
    held = services.held
    for fact in (*held.found(), held.received):
        services.publisher.publish(fact)
    before = services.ended()["instances"]
    assert (before["done"], before["withheld"]) == (1, 4)

    refused = services.cli("release", f"{held.batch.batch_id}/encapsulated_document",
                           "--reason", "x")  # fmt: skip
    assert (refused.returncode, refused.stdout) == (2, "")

    one = services.cli("release", ref(BURNED), "--reason", "looked at it", "--by", "Ada")
    assert one.returncode == 0, one.stderr
    assert "released: 1" in one.stdout
    rest = services.cli("release", "b-0001/burned_in_annotation", "--reason", "looked at them")
    assert rest.returncode == 3, rest.stderr
    assert f"withheld all the same, echo: 1 ({ref(LEAK)})" in rest.stdout

    report = services.ended()
    (series,) = report["report"][0]["series"]
    assert (report["instances"]["done"], report["instances"]["withheld"]) == (3, 2)
    assert (series["state"], series["remark"]) == ("withheld", "released_by_decision")
    assert held.released() == 3
    left = json.loads(services.cli("list", "--json").stdout)
    assert {view["reason"] for view in left} == {"echo", "encapsulated_document"}
    assert ref(ALSO_BURNED) not in str(left)
    logs = "".join(path.read_text() for path in services.folder.glob("*.log"))
    assert "Quixotesson" not in logs + one.stdout + rest.stdout + str(left)
