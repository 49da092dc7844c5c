"""The service runs under eventlet: the same retrievals in a process that it has patched."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pacstream.archive import Archive
from pacstream.messages import PacsNode, SeriesMoved
from pacstream.settings import Settings
from tests.fakes.datasets import make_series
from tests.fakes.pacs import Behaviour
from tests.unit.retrieve.asking import counters, pacs_for, request_for, with_profile
from tests.unit.retrieve.web_server import WebPacs, serving
from tests.unit.store_scp.scp import Announcements, parts, running

PROGRAM = """
import eventlet
eventlet.monkey_patch()
import json, sys
from pathlib import Path
from pacstream.archive import Archive
from pacstream.associations import Associations
from pacstream.messages import SeriesRequested
from pacstream.settings import Settings
from pacstream_retrieve.retrieval import Means, retrieve

data, requests = Path(sys.argv[1]), sys.stdin.read().splitlines()
settings = Settings(data=data, idle_timeout_s=0.5, commit_instances=4)
pool = Associations(limit=2, timeout_s=10.0, connection_timeout_s=10.0)
means = Means(settings, Archive(data), pool, "token")
announced = []

def ask(line):
    def publish(message):
        announced.extend(i.sop_instance_uid for i in message.instances)
    return retrieve(SeriesRequested.parse(line), means, publish).payload()

moved = list(eventlet.GreenPool(4).imap(ask, requests))
pool.close_all()
json.dump({"moved": moved, "announced": announced}, sys.stdout)
"""


def ask_patched(data: Path, *requests: str) -> tuple[list[SeriesMoved], list[str]]:
    """What became of the requests, made at once, and what was announced."""
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(data)],
        input="\n".join(requests),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    answer = json.loads(process.stdout)
    return [SeriesMoved.model_validate(one) for one in answer["moved"]], answer["announced"]


def test_c_get_of_several_series_at_once(settings: Settings, archive: Archive) -> None:
    all_series = [make_series(instances=9, series_number=number) for number in range(3)]
    with pacs_for(settings, [d for series in all_series for d in series]) as pacs:
        node = with_profile(pacs.node(), retrieve="c-get")
        requests = [request_for(node, series[0]).model_dump_json() for series in all_series]
        moved, announced = ask_patched(archive.root, *requests)

    assert [(one.reason, counters(one)) for one in moved] == [("", (9, 0, 0))] * 3
    assert sorted(announced) == sorted(d.SOPInstanceUID for s in all_series for d in s)
    assert parts(archive) == []


def test_wado_rs(archive: Archive) -> None:
    series = make_series(instances=9)
    with serving(WebPacs(series)) as web:
        request = request_for(web.node(), series[0]).model_dump_json()
        [moved], announced = ask_patched(archive.root, request)

    assert (moved.reason, counters(moved)) == ("", (9, 0, 0))
    assert announced == [d.SOPInstanceUID for d in series]


@pytest.mark.parametrize("way", ["c-move", "c-get"])
def test_a_pacs_that_stalls_is_noticed(way: str, settings: Settings, archive: Archive) -> None:
    series = make_series(instances=4)
    behaviour = Behaviour(stall_after=2)
    with running(settings, Announcements()), pacs_for(settings, series, behaviour) as pacs:
        node: PacsNode = with_profile(pacs.node(), retrieve=way)
        [moved], _ = ask_patched(archive.root, request_for(node, series[0]).model_dump_json())

    assert moved.reason == "stalled"
    assert len(archive.instances(series[0].SeriesInstanceUID)) == 2
