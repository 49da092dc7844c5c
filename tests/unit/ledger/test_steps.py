"""Batch actions: one after the other, once every series has its last state."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from pacstream.archive import Archive
from pacstream.bus import work_failed
from pacstream.envelope import envelope
from pacstream.manifest import SeriesResult, read_manifest, write_manifest
from pacstream.messages import (
    ActionFinished,
    ActionRequested,
    Batch,
    BatchAction,
    BatchFinished,
    InstancesDeidentified,
    Message,
)
from pacstream_ledger import control
from pacstream_ledger.ledger import Ledger
from tests.fakes.driven import Driven
from tests.fakes.line import FakeLine, make_batch, make_found

NAMES = ("bids", "dicomdir", "export")


def batch_with(*names: str, **actions: bool) -> Batch:
    afterwards = [BatchAction.model_validate({"name": name}) for name in names]
    return make_batch(1, **actions).model_copy(update={"afterwards": tuple(afterwards)})


def line_of(batch: Batch, **changes: object) -> FakeLine:
    found = [make_found(batch, 2, number) for number in (1, 2)]
    return FakeLine(batch, {2: found}, **changes)  # type: ignore[arg-type]


def told(report: dict[str, object]) -> list[tuple[str, str, str]]:
    steps = report["afterwards"]
    assert isinstance(steps, list)
    return [(one["action"], one["state"], one["reason"]) for one in steps]


@pytest.mark.parametrize("seed", range(8))
def test_actions_run_in_their_order_and_the_batch_ends_after_the_last(
    tmp_path: Path, seed: int
) -> None:
    line = line_of(batch_with(*NAMES, save=True), parts={"dicomdir": 3})
    report = Driven(tmp_path, line, seed=seed, repeat=True, at_once=3).run()
    assert [(one.action.name, one.part) for one in line.asked] == [
        ("bids", 0),
        ("dicomdir", 0),
        ("dicomdir", 1),
        ("dicomdir", 2),
        ("export", 0),
    ]
    assert report["delivered"] is True
    assert told(report) == [(name, "done", "") for name in NAMES]


def test_nothing_is_asked_for_while_a_series_is_pending(tmp_path: Path) -> None:
    line = line_of(batch_with("bids", save=True))
    driven = Driven(tmp_path, line)
    driven.submit()
    driven.released()
    assert not any(isinstance(one, ActionRequested) for one in driven.released())
    assert told(driven.report()) == [("bids", "waiting", "")]


def test_a_failed_action_keeps_the_later_ones_from_being_done(tmp_path: Path) -> None:
    line = line_of(batch_with(*NAMES, save=True), broken="dicomdir")
    report = Driven(tmp_path, line).run()
    assert told(report) == [
        ("bids", "done", ""),
        ("dicomdir", "failed", "test"),
        ("export", "skipped", ""),
    ]
    assert report["delivered"] is False
    assert [one.action.name for one in line.asked] == ["bids", "dicomdir"]


def buried(request: ActionRequested, service: str) -> Message:
    queue = f"{service}.action.requested"
    return work_failed(queue, envelope(request, "ledger"), request.payload(), "bad_manifest")


def run_until_asked(driven: Driven) -> ActionRequested:
    bus: list[Message] = driven.line.submit()
    for _ in range(200):
        bus.extend(driven.released())
        message = bus.pop(0)
        if isinstance(message, ActionRequested):
            return message
        driven.line.answer(message)
        bus.extend(driven.line.answer(message))
        if type(message) in Ledger._handlers or message.topic == "query.requested":
            driven.ledger.record(message)
    raise AssertionError("no action was asked for")


def test_only_the_service_that_does_an_action_can_fail_it(tmp_path: Path) -> None:
    driven = Driven(tmp_path, line_of(batch_with("dicomdir", "export", save=True)))
    request = run_until_asked(driven)
    driven.ledger.record(buried(request, "converter"))
    assert told(driven.report())[0] == ("dicomdir", "running", "")
    driven.ledger.record(buried(request, "exporter"))
    report = driven.report()
    assert told(report) == [("dicomdir", "failed", "bad_manifest"), ("export", "skipped", "")]
    assert report["finished_at"] is not None
    assert report["delivered"] is False


def test_a_cancelled_batch_begins_no_further_action(tmp_path: Path) -> None:
    driven = Driven(tmp_path, line_of(batch_with("dicomdir", "export", save=True)))
    request = run_until_asked(driven)
    control.cancel(driven.ledger, request.batch_id)
    assert driven.report()["finished_at"] is None
    (answer,) = driven.line.answer(request)
    driven.ledger.record(answer)
    assert told(driven.report()) == [("dicomdir", "done", ""), ("export", "cancelled", "")]
    assert driven.report()["finished_at"] is not None


def test_a_batch_that_opens_again_does_its_actions_again(tmp_path: Path) -> None:
    """An operator releases what was withheld: the earlier products lack it."""
    batch = batch_with("dicomdir", anonymize=True)
    line = line_of(batch, withhold=frozenset({"1.2.1.2"}))
    driven = Driven(tmp_path, line)
    driven.run()
    key = {"batch_id": batch.batch_id, "series_uid": "1.2.1"}
    driven.ledger.record(InstancesDeidentified(**key, instances=("1.2.1.2",), waived=("x",)))
    (again,) = [one for one in driven.released() if isinstance(one, ActionRequested)]
    assert again.part == line.asked[-1].part + 1
    late = ActionFinished(batch_id=batch.batch_id, step=0, part=again.part - 1, state="done")
    driven.ledger.record(late)
    assert told(driven.report()) == [("dicomdir", "running", "")]
    (answer,) = line.answer(again)
    driven.ledger.record(answer)
    assert [type(one) for one in driven.released()] == [BatchFinished]
    assert driven.report()["delivered"] is True


class FullDisk:
    """Refuses `times` times."""

    def __init__(self, times: int) -> None:
        self.times = times

    def __call__(self, *_: object) -> Any:
        self.times -= 1
        if self.times >= 0:
            raise OSError(28, "no space")
        return "state/batches/b/manifest.jsonl"


@pytest.mark.parametrize("which", ["keep_manifest", "keep_view"])
@pytest.mark.parametrize("names", [(), ("dicomdir", "export")])
def test_a_full_disk_at_the_end_costs_no_fact_and_the_batch_ends_when_there_is_room(
    tmp_path: Path, which: str, names: tuple[str, ...]
) -> None:
    line = line_of(batch_with(*names, save=True))
    driven = Driven(tmp_path, line)
    disk = FullDisk(4)
    setattr(driven.ledger, which, disk)
    report = driven.run()
    assert disk.times < 0
    assert report["delivered"] is True
    assert [one.action.name for one in line.asked] == list(names)
    assert len(line.finished) == 1


def test_a_new_process_looks_at_batches_whose_end_was_not_written(tmp_path: Path) -> None:
    line = line_of(batch_with(save=True))
    driven = Driven(tmp_path, line)
    driven.ledger.keep_view = FullDisk(1000)
    bus: list[Message] = line.submit()
    for _ in range(60):
        bus.extend(driven.released())
        for message in bus:
            if type(message) in Ledger._handlers or message.topic == "query.requested":
                driven.ledger.record(message)
        bus = [answer for message in bus for answer in line.answer(message)]
    assert driven.report()["finished_at"] is None
    assert set(driven.report()["series"]) == {"complete"}
    after = Driven(tmp_path, line)
    assert BatchFinished in {type(one) for one in after.released()}
    assert after.report()["delivered"] is True


def test_the_manifest_tells_what_was_delivered(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "data")
    driven = Driven(tmp_path, line_of(batch_with("info_table", info=True, save=True)))

    def keep(batch: Batch, series: Iterable[SeriesResult]) -> str:
        return write_manifest(archive, batch, series)

    driven.ledger.keep_manifest = keep
    request = run_until_asked(driven)
    manifest = read_manifest(archive, request.manifest)
    assert manifest.batch == driven.line.batch
    assert sorted(one.order.series.series_uid for one in manifest.series) == ["1.2.1", "1.2.2"]
    assert all((one.state, one.exported, one.info) == ("complete", True, True)
               for one in manifest.series)  # fmt: skip
