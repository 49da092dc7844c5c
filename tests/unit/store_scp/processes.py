"""`python -m pacstream_store_scp`, one process or several, seen from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from pacstream_store_scp.port import holders
from tests.unit.store_scp.scp import free_port, wait_for

START_S = 30.0


@contextmanager
def started(data: Path, port: int, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """`python -m pacstream_store_scp` with no broker to reach, listening."""
    environ = {
        **os.environ,
        "PACSTREAM_DATA": str(data),
        "PACSTREAM_STORE_HOST": "127.0.0.1",
        "PACSTREAM_STORE_PORT": str(port),
        "PACSTREAM_AMQP_URL": f"amqp://guest:guest@127.0.0.1:{free_port()}/",
        **variables,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "pacstream_store_scp"],
        env=environ,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until_listening(process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if '"listening"' in line:
            return
    raise AssertionError("it ended without listening")


def health_of(port: int) -> tuple[int, dict[str, object]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as answer:
        return answer.code, json.load(answer)


class Crew:
    """A supervisor and its workers, seen from outside."""

    def __init__(self, process: subprocess.Popen[str], port: int, http_port: int, wanted: int):
        self.process = process
        self.port = port
        self.wanted = wanted
        self._http_port = http_port

    def health(self) -> tuple[int, dict[str, object]]:
        return health_of(self._http_port)

    def workers(self) -> set[int]:
        """Process ids of those that have the port, the supervisor left out."""
        return {holder.pid for holder in holders(self.port)} - {self.process.pid}

    def is_complete(self) -> bool:
        try:
            return self.health()[1]["workers"] == self.wanted
        except OSError:
            return False

    def associations(self) -> Counter[int]:
        """Number of connections by process id of the worker."""
        return Counter(
            {
                pid: sum(
                    connection.status == psutil.CONN_ESTABLISHED
                    and connection.laddr.port == self.port
                    for connection in psutil.Process(pid).net_connections("tcp")
                )
                for pid in self.workers()
            }
        )


@contextmanager
def crew(data: Path, wanted: int = 2, **variables: str) -> Iterator[Crew]:
    """`--workers`, all listening; there is no broker."""
    port, http_port = free_port(), free_port()
    told = {"PACSTREAM_STORE_WORKERS": str(wanted), "PACSTREAM_HTTP_PORT": str(http_port)}
    with started(data, port, **told, **variables) as process:
        seen = Crew(process, port, http_port, wanted)
        try:
            wait_for(seen.is_complete, START_S)
            yield seen
        finally:
            end_all(process)


def end_all(process: subprocess.Popen[str]) -> None:
    """Kill a supervisor and what it has started."""
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return
    process.kill()
    for member in family:
        member.kill()
