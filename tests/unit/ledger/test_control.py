"""Pause, resume and cancel, at any moment of a batch's life."""

from __future__ import annotations

from pathlib import Path

import pytest

from pacstream.errors import InputError
from pacstream.messages import QueryAnswered, SeriesMoved
from pacstream_ledger import control
from pacstream_ledger.throttle import Throttle
from tests.fakes.driven import Driven, assert_conserved, series_of
from tests.fakes.line import FakeLine, make_batch, make_found
from tests.unit.ledger.test_throttle import driven_with


def test_a_pause_holds_what_is_not_released_and_a_resume_goes_on(tmp_path: Path) -> None:
    driven = driven_with(tmp_path, 4, Throttle(moves=1))
    assert driven.requested() == ["1.2.1"]
    control.pause(driven.ledger, "b-0001")
    driven.end("1.2.1", status=0, completed=3)
    driven.clock.now += 60.0
    assert driven.requested() == []
    assert driven.scheduler.held("b-0001") == {"reason": "paused", "until": None}
    assert driven.report()["control"] == "paused"
    control.resume(driven.ledger, "b-0001")
    assert len(driven.requested()) == 1


def test_a_cancel_stops_releases_and_tells_the_other_services(tmp_path: Path) -> None:
    driven = driven_with(tmp_path, 4, Throttle(moves=1))
    assert driven.requested() == ["1.2.1"]
    control.cancel(driven.ledger, "b-0001")
    assert driven.cancelled == ["b-0001"]
    assert driven.requested() == []
    assert driven.report()["series"] == {"cancelled": 3, "pending": 1}
    assert driven.report()["finished_at"] is None
    driven.end("1.2.1", reason="cancelled", status=0xFE00)
    report = driven.report()
    assert report["series"] == {"cancelled": 4}
    assert report["finished_at"] is not None
    assert report["delivered"] is False
    assert report["instances"]["cancelled"] == 12
    assert_conserved(report)


def test_what_is_complete_stays_and_its_products_are_still_made(tmp_path: Path) -> None:
    driven = driven_with(tmp_path, 2, Throttle(moves=1))
    line = driven.line
    (move,) = [m for m in driven.released() if m.topic == "series.requested"]
    for fact in line.answer(move):
        driven.ledger.record(fact)
    control.cancel(driven.ledger, "b-0001")
    assert series_of(driven.report())["1.2.1"]["state"] == "pending"
    for message in driven.released():
        for fact in line.answer(message):
            driven.ledger.record(fact)
    report = driven.report()
    assert report["series"] == {"cancelled": 1, "complete": 1}
    assert report["instances"]["done"] == 3
    assert report["finished_at"] is not None


def test_a_move_that_ran_out_in_spite_of_the_cancel_is_complete(tmp_path: Path) -> None:
    driven = driven_with(tmp_path, 1, Throttle(moves=1))
    (move,) = [m for m in driven.released() if m.topic == "series.requested"]
    control.cancel(driven.ledger, "b-0001")
    for fact in driven.line.answer(move):
        driven.ledger.record(fact)
    assert series_of(driven.report())["1.2.1"]["retrieval"] == "received"


def test_rows_that_are_not_answered_are_cancelled_and_late_answers_change_nothing(
    tmp_path: Path,
) -> None:
    batch = make_batch(3, save=True)
    line = FakeLine(batch, {2: [make_found(batch, 2, 1)], 3: [], 4: []})
    driven = Driven(tmp_path, line)
    rows = line.submit()
    driven.ledger.record(rows[0])
    driven.ledger.record(rows[1])
    control.cancel(driven.ledger, "b-0001")
    assert driven.report()["finished_at"] is not None
    driven.ledger.record(rows[2])
    driven.ledger.record(make_found(batch, 2, 1))
    driven.ledger.record(QueryAnswered(batch_id="b-0001", row=2, series=1))
    report = driven.report()
    assert report["rows"] == {"submitted": 3, "cancelled": 3}
    assert report["series"] == {"cancelled": 1}
    assert driven.requested() == []
    assert_conserved(report)


def test_a_cancel_may_be_repeated(tmp_path: Path) -> None:
    driven = driven_with(tmp_path, 2)
    control.cancel(driven.ledger, "b-0001")
    control.cancel(driven.ledger, "b-0001")
    assert driven.cancelled == ["b-0001", "b-0001"]


def test_a_cancelled_batch_cannot_be_resumed(tmp_path: Path) -> None:
    driven = driven_with(tmp_path, 2)
    control.cancel(driven.ledger, "b-0001")
    with pytest.raises(InputError, match="cancelled"):
        control.resume(driven.ledger, "b-0001")


def test_a_finished_batch_and_an_unknown_one_cannot_be_changed(tmp_path: Path) -> None:
    batch = make_batch(1, save=True)
    driven = Driven(tmp_path, FakeLine(batch, {2: [make_found(batch, 2, 1)]}))
    driven.run()
    with pytest.raises(InputError, match="finished"):
        control.cancel(driven.ledger, "b-0001")
    with pytest.raises(control.UnknownBatchError):
        control.pause(driven.ledger, "b-none")


def test_a_series_of_a_cancelled_batch_is_free_for_another(tmp_path: Path) -> None:
    driven = driven_with(tmp_path, 1, Throttle(moves=2))
    assert driven.requested() == ["1.2.1"]
    other = make_batch(1, save=True).model_copy(update={"batch_id": "b-0002"})
    driven.submit(FakeLine(other, {2: [make_found(other, 2, 1)]}))
    assert driven.requested() == []
    control.cancel(driven.ledger, "b-0001")
    driven.end("1.2.1", reason="cancelled")
    assert driven.requested() == ["1.2.1"]


def test_a_wrong_verb_or_priority_is_refused(tmp_path: Path) -> None:
    driven = driven_with(tmp_path, 1)
    for verb, body in [("explode", ""), ("priority", "{}"), ("priority", '{"priority": 99}')]:
        with pytest.raises(InputError):
            control.do(driven.ledger, "b-0001", verb, body)
    view = control.do(driven.ledger, "b-0001", "priority", '{"priority": 4}')
    assert view is not None
    assert view["priority"] == 4


@pytest.mark.parametrize("seed", range(10))
def test_a_cancel_at_any_moment_ends_and_accounts_for_everything(tmp_path: Path, seed: int) -> None:
    batch = make_batch(2, save=True, info=True, anonymize=True, convert=True)
    found = {
        2: [make_found(batch, 2, number) for number in (1, 2, 3)],
        3: [make_found(batch, 3, number) for number in (3, 4, 5, 6)],
    }
    line = FakeLine(batch, found, lose={"1.2.2.1": 2})
    driven = Driven(tmp_path, line, seed=seed, repeat=True, throttle=Throttle(moves=2))
    moment = 3 + 5 * seed

    def cancel_then(step: int) -> None:
        known = driven.report_or_none()
        if step >= moment and known and not driven.cancelled and known["finished_at"] is None:
            control.cancel(driven.ledger, "b-0001")

    driven.on_step = cancel_then
    report = driven.run()
    assert report["delivered"] is False or not driven.cancelled
    assert set(report["series"]) <= {"complete", "cancelled"}
    assert report["instances"]["pending"] == 0
    assert {one.batch_id for one in line.finished} <= {"b-0001"}


@pytest.mark.parametrize("seed", range(6))
def test_pauses_at_any_moment_end_complete(tmp_path: Path, seed: int) -> None:
    batch = make_batch(1, save=True, anonymize=True)
    found = {2: [make_found(batch, 2, number) for number in range(1, 6)]}
    line = FakeLine(batch, found, lose={"1.2.2.1": 1})
    driven = Driven(tmp_path, line, seed=seed, repeat=True, throttle=Throttle(moves=2))

    def toggle(step: int) -> None:
        known = driven.report_or_none()
        if known and known["finished_at"] is None and step % 7 == seed:
            paused = known["control"] == "paused"
            (control.resume if paused else control.pause)(driven.ledger, "b-0001")

    driven.on_step = toggle
    assert driven.run()["delivered"] is True


def test_a_late_end_of_a_move_after_the_cancel_counts_once(tmp_path: Path) -> None:
    driven = driven_with(tmp_path, 1)
    driven.requested()
    control.cancel(driven.ledger, "b-0001")
    fact = SeriesMoved(batch_id="b-0001", series_uid="1.2.1", round=0, reason="cancelled")
    driven.ledger.record(fact)
    driven.ledger.record(fact)
    finished = [m for m in driven.released() if m.topic == "batch.finished"]
    assert len(finished) == 1
