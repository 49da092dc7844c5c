"""The circuit breaker: when it opens, how it tries, when it closes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pacstream.messages import SeriesMoved, WorkFailed
from pacstream_ledger import control
from pacstream_ledger.throttle import Throttle
from tests.fakes.driven import Driven, series_of
from tests.fakes.line import FakeLine, make_batch, make_found
from tests.unit.ledger.test_throttle import PACS, driven_with, hold


def state(driven: Driven) -> str:
    with driven.ledger.engine.begin() as db:
        return str(driven.ledger.gate.view_of(db, PACS)["breaker"]["state"])


def fail_all(driven: Driven, reason: str, times: int) -> None:
    """So many C-MOVEs, one after the other, end with the reason."""
    failed = 0
    while failed < times:
        for uid in driven.requested():
            driven.end(uid, reason=reason)
            failed += 1


@pytest.mark.parametrize(
    "reason",
    [
        "pacs_unreachable",
        "pacs_busy",
        "association_rejected",
        "timed_out",
        "aborted",
        "pacs_out_of_resources",
        "sub_operations_refused",
    ],
)
def test_failures_in_a_row_open_it(tmp_path: Path, reason: str) -> None:
    driven = driven_with(tmp_path, 9, Throttle(moves=1))
    fail_all(driven, reason, 3)
    assert state(driven) == "open"
    assert hold(driven) == f"breaker_open:{reason}"
    assert driven.requested() == []


def test_empty_successes_of_three_series_open_it(tmp_path: Path) -> None:
    driven = driven_with(tmp_path, 9, Throttle(moves=3))
    for uid in driven.requested():
        driven.end(uid, status=0, completed=0)
    assert hold(driven) == "breaker_open:nothing_sent"


def test_one_series_that_fails_again_and_again_does_not_open_it(tmp_path: Path) -> None:
    batch = make_batch(1, save=True)
    lose = {f"1.2.1.{index}": 99 for index in range(1, 4)}
    driven = Driven(tmp_path, FakeLine(batch, {2: [make_found(batch, 2, 1)]}, lose=lose))
    assert series_of(driven.run())["1.2.1"]["reason"] == "nothing_sent"
    assert state(driven) == "closed"


def test_a_success_between_failures_keeps_it_closed(tmp_path: Path) -> None:
    driven = driven_with(tmp_path, 9, Throttle(moves=1))
    for reason in ("timed_out", "timed_out", "", "timed_out", "timed_out"):
        (uid,) = driven.requested()
        driven.end(uid, reason=reason, status=0, completed=0 if reason else 3)
    assert state(driven) == "closed"


def test_it_tries_with_one_series_and_closes_when_that_works(tmp_path: Path) -> None:
    driven = driven_with(tmp_path, 9, Throttle(moves=3))
    fail_all(driven, "pacs_unreachable", 3)
    driven.clock.now += 10.1
    (trial,) = driven.requested()
    assert state(driven) == "half_open"
    assert driven.requested() == []
    driven.end(trial, status=0, completed=3)
    assert state(driven) == "closed"
    assert len(driven.requested()) == 3


def test_a_failed_trial_doubles_the_pause(tmp_path: Path) -> None:
    driven = driven_with(tmp_path, 9, Throttle(moves=3))
    fail_all(driven, "pacs_unreachable", 3)
    driven.clock.now += 10.1
    (trial,) = driven.requested()
    driven.end(trial, reason="pacs_unreachable")
    driven.clock.now += 19.0
    assert driven.requested() == []
    driven.clock.now += 1.5
    assert len(driven.requested()) == 1


def test_a_request_that_the_pacs_never_saw_burns_no_round(tmp_path: Path) -> None:
    driven = driven_with(tmp_path, 1, Throttle(moves=1, breaker_failures=100))
    for _ in range(10):
        assert driven.requested() == ["1.2.1"]
        driven.end("1.2.1", reason="pacs_unreachable")
        series = series_of(driven.report())["1.2.1"]
        assert (series["retrieval"], series["reason"]) == ("waiting", "pacs_unreachable")
        assert series["rounds"] == 0
        assert driven.requested() == [], "it must not spin"
        driven.clock.now += 6.0
    report = driven.run()
    assert report["delivered"] is True
    assert series_of(report)["1.2.1"]["reason"] == ""


def test_an_answer_that_comes_twice_does_not_end_the_next_request(tmp_path: Path) -> None:
    driven = driven_with(tmp_path, 1, Throttle(moves=1))
    driven.requested()
    driven.end("1.2.1", reason="pacs_unreachable")
    driven.clock.now += 6.0
    assert driven.requested() == ["1.2.1"]
    late = {"batch_id": "b-0001", "series_uid": "1.2.1", "round": 0}
    driven.ledger.record(SeriesMoved.model_validate({**late, "reason": "pacs_unreachable"}))
    assert series_of(driven.report())["1.2.1"]["retrieval"] == "retrieving"


def test_series_that_stay_untried_for_a_day_fail_with_the_reason(tmp_path: Path) -> None:
    driven = driven_with(tmp_path, 5, Throttle(moves=1))
    for _ in range(3 * 24 * 60):
        if driven.report()["finished_at"] is not None:
            break
        for uid in driven.requested():
            driven.end(uid, reason="pacs_unreachable")
        driven.clock.now += 600.0
    report = driven.report()
    assert report["series"] == {"failed": 5}
    assert {one["reason"] for one in series_of(report).values()} == {"pacs_unreachable"}
    assert driven.clock.now < 1000.0 + 25 * 3600.0


def test_closed_hours_do_not_count_as_hours_in_which_nothing_could_be_tried(
    tmp_path: Path,
) -> None:
    # The clock starts on a Thursday, 1970-01-01 00:16 UTC.
    driven = driven_with(tmp_path, 3, Throttle(moves=1, window="Thu 00:00-01:00"))
    driven.end(driven.requested()[0], reason="pacs_unreachable")
    for days in range(1, 15):
        driven.clock.now = 1000.0 + days * 86400.0
        driven.scheduler.tick()
    assert driven.report()["series"] == {"pending": 3}


def test_the_time_of_a_pause_does_not_count_either(tmp_path: Path) -> None:
    driven = driven_with(tmp_path, 3, Throttle(moves=1))
    driven.end(driven.requested()[0], reason="pacs_unreachable")
    control.pause(driven.ledger, "b-0001")
    driven.clock.now += 3 * 86400.0
    driven.scheduler.tick()
    control.resume(driven.ledger, "b-0001")
    driven.scheduler.tick()
    assert driven.report()["series"] == {"pending": 3}


def test_a_series_that_has_just_come_is_not_failed_for_an_old_outage(tmp_path: Path) -> None:
    driven = driven_with(tmp_path, 1, Throttle(moves=1))
    fail_all_for = 23 * 3600.0
    started = driven.clock.now
    while driven.clock.now < started + fail_all_for:
        for uid in driven.requested():
            driven.end(uid, reason="pacs_busy")
        driven.clock.now += 600.0
    later = make_batch(1, save=True).model_copy(update={"batch_id": "b-0002"})
    driven.submit(FakeLine(later, {2: [make_found(later, 2, 70)]}))
    driven.clock.now += 2 * 3600.0
    driven.scheduler.tick()
    assert driven.report()["series"] == {"failed": 1}
    assert driven.report("b-0002")["series"] == {"pending": 1}


def test_a_pacs_that_becomes_slow_gets_a_pause(tmp_path: Path) -> None:
    driven = driven_with(tmp_path, 60, Throttle(moves=1))
    for number in range(25):
        (uid,) = driven.requested()
        driven.clock.now += 1.0
        driven.end(uid, status=0, completed=3, seconds=0.9)
        assert state(driven) == "closed", number
    for _ in range(3):
        (uid,) = driven.requested()
        driven.clock.now += 30.0
        driven.end(uid, status=0, completed=3, seconds=30.0)
    assert hold(driven) == "breaker_open:slow"


def test_a_dead_letter_of_retrieve_frees_its_place(tmp_path: Path) -> None:
    driven = driven_with(tmp_path, 2, Throttle(moves=1))
    assert driven.requested() == ["1.2.1"]
    driven.ledger.record(
        WorkFailed(
            batch_id="b-0001",
            queue="retrieve.series.requested",
            failed_topic="series.requested",
            reason="broken",
            series_uid="1.2.1",
        )
    )
    assert driven.requested() == ["1.2.2"]


def test_a_request_of_which_nothing_is_heard_frees_its_place_after_40_minutes(
    tmp_path: Path,
) -> None:
    driven = driven_with(tmp_path, 2, Throttle(moves=1))
    assert driven.requested() == ["1.2.1"]
    driven.clock.now += 2401.0
    assert driven.requested() == ["1.2.2"]
