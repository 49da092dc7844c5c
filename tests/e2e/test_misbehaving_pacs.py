"""Each misbehaviour of a PACS x each way of retrieval, through the whole line.

The misbehaviour concerns one series of a batch; the other series of the batch, of other patients,
have to become complete all the same. What is to come of the one series is in CASES.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset

from pacstream.archive import Archive
from pacstream.messages import Actions, Batch, PacsProfile, QueryRequested
from pacstream.publisher import Publisher
from pacstream.settings import load_settings
from pacstream_cli.client import LedgerClient
from pacstream_cli.stack import Stack, running_settings
from tests.e2e.line import originals
from tests.fakes.datasets import make_series
from tests.fakes.pacs import ALWAYS, Behaviour, FakePacs

pytestmark = [pytest.mark.rabbitmq]

AET = "PACSTREAM"
RLE = "1.2.840.10008.1.2.5"
SETTINGS = {
    "PACSTREAM_DIMSE_TIMEOUT_S": "3",
    "PACSTREAM_RESPONSE_TIMEOUT_S": "3",
    "PACSTREAM_IDLE_TIMEOUT_S": "2",
    "PACSTREAM_CONNECTION_TIMEOUT_S": "2",
    "PACSTREAM_ROUND_PAUSE_S": "0.3",
    "PACSTREAM_ROUNDS": "3",
    "PACSTREAM_RETRY_DELAYS_MS": "300,1000",
}
STARTS_S = 240.0

Way = str
SERIES, IMAGE, GET = "SERIES", "IMAGE", "C-GET"
WAYS: tuple[Way, ...] = (SERIES, IMAGE, GET)
"""IMAGE: six of ten instances are here already, so the gaps are asked for by their UIDs."""


@dataclass(frozen=True)
class End:
    """What becomes of the series: its state, its reason, and how many instances never come."""

    state: str = "complete"
    reason: str = ""
    missing: int = 0


COMPLETE = End()
Rows = Callable[[str, str], list[dict[str, str]]]


def by_patient(bad: str, good: str) -> list[dict[str, str]]:
    return [{"PatientID": bad}, {"PatientID": good}]


def by_description(bad: str, good: str) -> list[dict[str, str]]:
    return [{"PatientID": bad, "SeriesDescription": "Schädel*"}, {"PatientID": good}]


def by_date(bad: str, good: str) -> list[dict[str, str]]:
    return [{"StudyDate": "20200101-20200131"}]


@dataclass(frozen=True)
class Case:
    """A misbehaviour, and what has to come of it by each way of retrieval."""

    behaviour: Behaviour = field(default_factory=Behaviour)
    ends: Mapping[Way, End] = field(default_factory=dict)
    rows: Rows = by_patient
    instances: int = 10
    rows_of_pixels: int = 16
    result_limit: int | None = None
    aside: str = ""
    """The folder in quarantine where one instance ends."""
    syntax: str = "1.2.840.10008.1.2.1"
    within_s: float = 60.0

    def end(self, way: Way) -> End:
        return self.ends.get(way, COMPLETE)


[STRANGER] = make_series("STRANGER-ONE", "Stranger^Any", instances=1, seed=99)

CASES: dict[str, Case] = {
    "drops 1 of 3 in each request": Case(Behaviour(drop_every=3)),
    "never sends 1 of 3": Case(
        Behaviour(withhold_every=3),
        {
            SERIES: End("partial", "instances_missing", 3),
            IMAGE: End("partial", "instances_missing", 1),
            GET: End("partial", "instances_missing", 3),
        },
    ),
    "Success after nothing": Case(
        Behaviour(empty_success=True),
        {
            SERIES: End("failed", "nothing_sent", 10),
            IMAGE: End("partial", "instances_missing", 4),
            GET: End("failed", "nothing_sent", 10),
        },
    ),
    "0xB000 with 1 of 3 failed in each request": Case(
        Behaviour(drop_every=3, unsent_status=0xB000)
    ),
    "0xB000 with 1 of 3 failed, again and again": Case(
        Behaviour(withhold_every=3, unsent_status=0xB000),
        {
            SERIES: End("partial", "sub_operations_failed", 3),
            IMAGE: End("partial", "sub_operations_failed", 1),
            GET: End("partial", "sub_operations_failed", 3),
        },
    ),
    "Success with 1 of 3 failed, again and again": Case(
        Behaviour(withhold_every=3, unsent_status=0x0000),
        {
            SERIES: End("partial", "sub_operations_failed", 3),
            IMAGE: End("partial", "sub_operations_failed", 1),
            GET: End("partial", "sub_operations_failed", 3),
        },
    ),
    "0xA702 to the first request": Case(Behaviour(fail_moves=1, fail_status=0xA702)),
    "wrong counts": Case(Behaviour(count_error=3)),
    "no counts": Case(Behaviour(omit_counts=True)),
    "keys of other levels": Case(Behaviour(other_levels=True)),
    "ignores a key": Case(Behaviour(unmatched_keys=frozenset({"PatientID"}))),
    "another charset": Case(Behaviour(answer_charset="GB18030"), rows=by_description),
    "invalid UTF-8": Case(Behaviour(invalid_utf8=True)),
    "duplicate answers": Case(Behaviour(duplicate_answers=True)),
    "result limit told as 0xA700": Case(
        Behaviour(limits={"STUDY": 2}, limit_status=0xA700), rows=by_date
    ),
    "result limit in silence": Case(
        Behaviour(limits={"STUDY": 2}, limit_status=0x0000), rows=by_date, result_limit=2
    ),
    "10 times slower": Case(Behaviour(slow=10)),
    "aborts after 4 of 10, again and again": Case(Behaviour(abort_after=4, abort_times=ALWAYS)),
    "aborts after 2 of 10, again and again": Case(
        Behaviour(abort_after=2, abort_times=ALWAYS),
        {SERIES: End("partial", "aborted", 2), GET: End("partial", "aborted", 2)},
    ),
    "refuses after 2 associations": Case(Behaviour(refuse_after=2, refuse_times=2)),
    "an instance of another patient": Case(Behaviour(send_foreign=STRANGER), aside="unrequested"),
    "the same instance with other pixels": Case(Behaviour(send_twice=True), aside="conflicting"),
    "compressed": Case(Behaviour(compress=True), syntax=RLE),
}
SLOW_CASES: dict[str, Case] = {
    "stalls after 2 of 10, again and again": Case(
        Behaviour(stall_after=2),
        {SERIES: End("partial", "stalled", 2), GET: End("partial", "stalled", 2)},
        within_s=90,
    ),
    "loses its network for 20 s": Case(
        Behaviour(network_loss_after=2, network_loss_s=20), within_s=180
    ),
    "5000 instances of 10 kB": Case(instances=5000, rows_of_pixels=72, within_s=480),
}


@dataclass
class Stage:
    """The running stack, and what a test sees of it."""

    stack: Stack
    publisher: Publisher
    ledger: LedgerClient
    archive: Archive

    @property
    def destinations(self) -> dict[str, tuple[str, int]]:
        return {AET: ("127.0.0.1", int(self.stack.environment()["PACSTREAM_STORE_PORT"]))}

    def preload(self, datasets: list[Dataset]) -> None:
        for dataset in datasets:
            path = self.archive.instance_path(dataset.SeriesInstanceUID, dataset.SOPInstanceUID)
            path.parent.mkdir(parents=True, exist_ok=True)
            dataset.save_as(path, enforce_file_format=True)

    def report(self, batch_id: str, within_s: float) -> dict[str, Any]:
        """The report of a batch that has to finish in time."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if self.ledger.knows(batch_id) and self.ledger.status(batch_id)["finished_at"]:
                return self.ledger.report(batch_id)
            time.sleep(0.2)
        raise AssertionError(f"not finished in {within_s} s: {self.ledger.report(batch_id)}")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environ = {**keep, **SETTINGS, "PACSTREAM_DATA": str(tmp_path_factory.mktemp("misbehaving"))}
    stack = Stack(load_settings(environ), environ)
    try:
        stack.start()
        stack.wait_ready(STARTS_S)
        settings = running_settings(load_settings(environ))
        publisher = Publisher(settings, "test")
        ledger = LedgerClient(settings.ledger_http, patience=10)
        yield Stage(stack, publisher, ledger, Archive(settings.data))
        publisher.close()
    finally:
        stack.stop()


class Scene:
    """One batch: a series with the misbehaviour, and two others of other patients."""

    def __init__(self, stage: Stage, case: Case, way: Way, out: Path) -> None:
        self.stage = stage
        self.case = case
        self.way = way
        self.out = out
        token = secrets.token_hex(4)
        self.batch_id = f"misbehaving-{token}"
        self.bad = make_series(
            f"BAD-{token}", "Müller^Jörg", instances=case.instances, rows=case.rows_of_pixels,
            series_description="Schädel axial",
        )  # fmt: skip
        self.good = [
            make_series(f"GOOD-{token}", instances=3, seed=number, study_date=f"2020010{number}")
            for number in (3, 4)
        ]
        self.noise = make_series(f"NOISE-{token}", instances=1, study_date="20190101")

    def play(self) -> dict[str, Any]:
        """Run the batch against the PACS; its report."""
        behaviour = self.case.behaviour.__class__(
            **{**vars(self.case.behaviour), "only": frozenset({self.bad[0].SeriesInstanceUID})}
        )
        datasets = [*self.bad, *self.good[0], *self.good[1], *self.noise]
        if self.way == IMAGE:
            enough = self.case.instances * 6 // 10
            self.stage.preload([*self.bad[:enough], *self.good[0][:2]])
        destinations = self.stage.destinations
        with FakePacs(datasets, destinations=destinations, behaviour=behaviour) as pacs:
            self._submit(pacs)
            return self.stage.report(self.batch_id, self.case.within_s)

    def _submit(self, pacs: FakePacs) -> None:
        profile = PacsProfile(
            retrieve="c-get" if self.way == GET else "c-move", result_limit=self.case.result_limit
        )
        rows = self.case.rows(self.bad[0].PatientID, self.good[0][0].PatientID)
        batch = Batch(
            batch_id=self.batch_id,
            rows=len(rows),
            submitted_at="2026-01-01T00:00:00+00:00",
            pacs=pacs.node(AET).model_copy(update={"profile": profile}),
            destination=AET,
            actions=Actions(save=True),
            out=str(self.out),
        )
        for number, keys in enumerate(rows, 2):
            self.stage.publisher.publish(QueryRequested(batch=batch, row=number, keys=keys))


def check(scene: Scene, report: dict[str, Any]) -> None:
    """The report, the archive and the results say the same, and it is what the table says."""
    rows = report["report"]
    assert [(row["state"], row["reason"]) for row in rows] == [("answered", "")] * len(rows)
    series = {one["series_uid"]: one for row in rows for one in row["series"]}
    assert set(series) == {
        str(one[0].SeriesInstanceUID) for one in (scene.bad, scene.good[0], scene.good[1])
    }
    for good in scene.good:
        assert_end(scene, series[good[0].SeriesInstanceUID], good, COMPLETE)
    end = scene.case.end(scene.way)
    assert_end(scene, series[scene.bad[0].SeriesInstanceUID], scene.bad, end)
    assert_saved(scene, [*scene.good, *([scene.bad] if end == COMPLETE else [])])


def assert_end(scene: Scene, view: dict[str, Any], series: list[Dataset], end: End) -> None:
    uids = {str(dataset.SOPInstanceUID) for dataset in series}
    here = scene.stage.archive.instances(view["series_uid"])
    counts = view["instances"]
    assert (view["state"], view["reason"]) == (end.state, end.reason), view
    assert len(uids - here) == end.missing, view
    assert not here - uids
    assert counts["expected"] == len(uids)
    assert (counts["done"], counts["failed"]) == (len(uids & here), end.missing)
    assert set(view["missing"]) == uids - here


def assert_saved(scene: Scene, complete: list[list[Dataset]]) -> None:
    """The user's folder has the complete series and no other instance."""
    wanted = {str(one.SOPInstanceUID) for series in complete for one in series}
    saved = {path.name.split(".", 1)[1] for path in originals(scene.out)}
    assert saved == wanted


def aside(scene: Scene) -> dict[str, int]:
    """Reasons of what lies in quarantine of this batch's instances and the stranger."""
    uids = {str(one.SOPInstanceUID) for one in [*scene.bad, *scene.good[0], *scene.good[1]]}
    found: dict[str, int] = {}
    for path in scene.stage.archive.quarantine.glob("*/*"):
        if path.name.rpartition("-")[0] in uids | {str(STRANGER.SOPInstanceUID)}:
            found[path.parent.name] = found.get(path.parent.name, 0) + 1
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CASES)
def test_a_misbehaving_pacs(stage: Stage, tmp_path: Path, name: str, way: Way) -> None:
    scene = Scene(stage, CASES[name], way, tmp_path / "out")
    before = aside(scene)
    check(scene, scene.play())
    # One for each C-MOVE: a busy machine may need a second one.
    new = {reason for reason, count in aside(scene).items() if count > before.get(reason, 0)}
    assert new == ({scene.case.aside} if scene.case.aside else set())
    for path in stage.archive.series_folder(scene.bad[0].SeriesInstanceUID).glob("*.dcm"):
        syntax = str(pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID)
        preloaded = way == IMAGE and syntax != scene.case.syntax
        assert syntax == scene.case.syntax or preloaded


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SLOW_CASES)
def test_a_misbehaving_pacs_that_takes_long(
    stage: Stage, tmp_path: Path, name: str, way: Way
) -> None:
    scene = Scene(stage, SLOW_CASES[name], way, tmp_path / "out")
    check(scene, scene.play())


def test_no_letter_of_all_this_is_dead(stage: Stage) -> None:
    import pika

    from pacstream import topology

    url = stage.stack.environment()["PACSTREAM_AMQP_URL"]
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    for queue in topology.work_queues():
        dead = topology.dead_queue_name(queue)
        assert channel.queue_declare(dead, passive=True).method.message_count == 0, dead
    connection.close()
