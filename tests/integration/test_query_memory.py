"""A real query service between a PACS with very many series and a real broker: its memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from pacstream.dimse import NO_DELAY, hurry
from pacstream.messages import Actions, Batch, PacsNode, QueryRequested
from pacstream.publisher import Publisher
from pacstream.settings import Settings
from pacstream_cli.ports import free_port, start_of
from tests.integration.test_failover import is_healthy, until

pytestmark = pytest.mark.rabbitmq

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY = "1.2.840.113619.2.55.3"


def answers(event: evt.Event) -> Iterator[tuple[int, Dataset]]:
    """For each patient one study, with as many series as the patient's ID says."""
    asked = event.identifier
    answer = Dataset()
    answer.QueryRetrieveLevel = asked.QueryRetrieveLevel
    if asked.QueryRetrieveLevel == "STUDY":
        answer.PatientID = asked.PatientID
        answer.StudyInstanceUID = f"{STUDY}.{asked.PatientID}"
        yield 0xFF00, answer
        return
    answer.StudyInstanceUID = asked.StudyInstanceUID
    for number in range(int(asked.StudyInstanceUID.rpartition(".")[2])):
        answer.SeriesInstanceUID = f"{asked.StudyInstanceUID}.{number}"
        answer.SeriesDescription = f"T1 MPRAGE sagittal {number}"
        answer.NumberOfSeriesRelatedInstances = "192"
        yield 0xFF00, answer


@pytest.fixture
def pacs() -> Iterator[PacsNode]:
    hurry()
    entity = AE(ae_title="PACS")
    entity.add_supported_context(STUDY_ROOT_FIND)
    handlers: list[Any] = [(evt.EVT_C_FIND, answers), NO_DELAY]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert server is not None
    port = server.server_address[1]
    yield PacsNode(address="127.0.0.1", port=port, called_aet="PACS", calling_aet="PACSTREAM")
    server.shutdown()


class QueryProcess:
    """`python -m pacstream_query`, and the channel on which its facts are looked at."""

    def __init__(self, url: str, folder: Path) -> None:
        port = free_port(start_of(folder))
        environment = {
            **os.environ,
            "PACSTREAM_AMQP_URL": url,
            "PACSTREAM_HTTP_PORT": str(port),
            "PACSTREAM_DATA": str(folder / "data"),
        }
        with (folder / "query.log").open("ab") as log:
            command = [sys.executable, "-m", "pacstream_query"]
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        until(lambda: is_healthy(port))
        self._publisher = Publisher(Settings(amqp_url=url), "test")
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self._channel = self._connection.channel()

    def look_up(self, pacs: PacsNode, row: int, series: int) -> None:
        """Ask for the patient with so many series, and wait until all of them are announced."""
        batch = Batch(
            batch_id="b-0001",
            rows=2,
            submitted_at="2026-01-01T00:00:00+00:00",
            pacs=pacs,
            destination="PACSTREAM",
            actions=Actions(info=True),
            out="/out",
        )
        keys = {"PatientID": str(series)}
        self._publisher.publish(QueryRequested(batch=batch, row=row, keys=keys))
        answered = until(self._answered, timeout_s=900)
        assert (answered["row"], answered["series"], answered["reason"]) == (row, series, "")
        assert self._depth("ledger.series.found") == series
        self._channel.queue_purge("ledger.series.found")

    def peak(self) -> int:
        """The most memory that the process ever had, in kB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0])

    def stop(self) -> None:
        self._process.kill()  # a stop would wait for the row
        self._process.wait(20)
        self._publisher.close()
        self._connection.close()

    def _answered(self) -> dict[str, Any] | None:
        self._connection.sleep(0.1)
        method, _, body = self._channel.basic_get("ledger.query.answered", auto_ack=True)
        return None if method is None else dict(json.loads(body))

    def _depth(self, queue: str) -> int:
        return int(self._channel.queue_declare(queue, passive=True).method.message_count)


@pytest.fixture
def query(vhost_url: str, tmp_path: Path) -> Iterator[QueryProcess]:
    process = QueryProcess(vhost_url, tmp_path)
    yield process
    process.stop()


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("many", [2000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_the_memory_of_a_query_process_stays_flat_from_100_series_up(
    query: QueryProcess, pacs: PacsNode, many: int
) -> None:
    query.look_up(pacs, 2, 100)
    few = query.peak()
    query.look_up(pacs, 3, many)
    assert query.peak() <= 1.2 * few, f"{few} kB, then {query.peak()} kB"
