"""Workers of the store SCP with a real broker: what a killed one had answered is announced."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pika
import pytest

from pacstream.archive import Archive
from pacstream.receiving.siblings import living
from tests.fakes.datasets import make_series
from tests.unit.store_scp.processes import START_S, crew
from tests.unit.store_scp.scp import order_for, parts, saved, send, wait_for

pytestmark = pytest.mark.rabbitmq

QUEUE = "ledger.instances.received"


def announced(url: str) -> list[str]:
    """SOP Instance UIDs that the ledger will hear of."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    uids: list[str] = []
    while (body := channel.basic_get(QUEUE)[2]) is not None:
        message: dict[str, Any] = json.loads(body)
        uids += [instance["sop_instance_uid"] for instance in message["instances"]]
    connection.close()
    return uids


def test_the_replacement_announces_what_a_killed_worker_had_answered(
    tmp_path: Path, vhost_url: str
) -> None:
    archive = Archive(tmp_path / "data")
    series = make_series(instances=6)
    archive.write_order(order_for(series[0]))
    paths = saved(tmp_path / "sent", series)
    patient = {"PACSTREAM_COMMIT_MS": "15000", "PACSTREAM_AMQP_URL": vhost_url}
    with crew(archive.root, 2, **patient) as seen:
        wait_for(lambda: seen.health()[0] == 200)
        for path in paths:
            assert send(seen.port, path) == [0]
        tokens = {pid: token for token, pid in living(archive.run).items()}
        owners = Counter(part.name.split(".")[1] for part in parts(archive))
        killed = next(pid for pid in seen.workers() if owners[tokens[pid]])
        assert announced(vhost_url) == []
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: seen.health()[0] == 503)
        wait_for(lambda: seen.health()[0] == 200, START_S)
        wait_for(lambda: parts(archive) == [], START_S)

        uids = announced(vhost_url)
    assert sorted(uids) == sorted(str(dataset.SOPInstanceUID) for dataset in series)
    assert archive.instances(series[0].SeriesInstanceUID) == set(uids)


def test_health_is_good_only_while_every_worker_is_well(tmp_path: Path, vhost_url: str) -> None:
    with crew(tmp_path, PACSTREAM_AMQP_URL=vhost_url) as seen:
        wait_for(lambda: seen.health()[0] == 200)
        still = next(iter(seen.workers()))
        os.kill(still, signal.SIGSTOP)
        wait_for(lambda: seen.health()[0] == 503)
        assert seen.health()[1]["workers"] == 1
        os.kill(still, signal.SIGCONT)
        wait_for(lambda: seen.health()[0] == 200)
        seen.process.terminate()

        assert seen.process.wait(40) == 0
