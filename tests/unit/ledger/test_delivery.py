"""--move: what the destination lists is compared with what was expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from pacstream.messages import (
    Batch,
    Evidence,
    InstancesReceived,
    ListingRequested,
    PacsNode,
    ReceivedInstance,
    SeriesFound,
    SeriesListed,
    WorkFailed,
)
from pacstream_ledger import control
from pacstream_ledger.delivery import LISTINGS
from pacstream_ledger.views import View
from tests.fakes.driven import Driven, series_of
from tests.fakes.line import FakeLine, make_batch, make_found

THIRD = PacsNode(address="third.example", port=104, called_aet="THIRD", calling_aet="US")
ROUNDS = 3


def moving_batch(*, asks: bool = True) -> Batch:
    batch = make_batch(1, move=True)
    return batch.model_copy(update={"destination_node": THIRD if asks else None})


def moving(tmp_path: Path, found: list[SeriesFound] | None = None, **changes: object) -> Driven:
    """A batch that moves series 1.2.1 and 1.2.2, of three instances each, to a third node."""
    batch = moving_batch()
    found = found or [make_found(batch, 2, 1), make_found(batch, 2, 2)]
    return Driven(tmp_path, FakeLine(batch, {2: found}, **changes))  # type: ignore[arg-type]


def of(report: View, series_uid: str) -> View:
    return series_of(report)[series_uid]


@pytest.mark.parametrize("repeat", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_a_series_is_complete_when_the_destination_lists_each_instance(
    tmp_path: Path, seed: int, repeat: bool
) -> None:
    batch = moving_batch()
    line = FakeLine(batch, {2: [make_found(batch, 2, 1), make_found(batch, 2, 2)]})
    report = Driven(tmp_path, line, seed=seed, repeat=repeat).run()
    assert report["delivered"] is True
    assert [of(report, uid)["evidence"] for uid in ("1.2.1", "1.2.2")] == ["uids", "uids"]
    assert report["instances"]["done"] == 6
    assert {(one.series_uid, one.number, one.node) for one in line.listings} == {
        ("1.2.1", 1, THIRD),
        ("1.2.2", 1, THIRD),
    }


def test_a_destination_gets_time_to_index(tmp_path: Path) -> None:
    driven = moving(tmp_path, unlisted={"1.2.1.3": LISTINGS - 1})
    assert driven.run()["delivered"] is True
    assert len(driven.line.moves) == 2
    assert [one.number for one in driven.line.listings if one.series_uid == "1.2.1"] == [1, 2, 3, 4]


def test_between_two_lists_there_is_a_pause_and_no_place_is_taken(tmp_path: Path) -> None:
    driven = moving(tmp_path, unlisted={"1.2.1.3": 2})
    driven.submit()
    for message in driven.released():
        for fact in driven.line.answer(message):
            driven.ledger.record(fact)
    (first, *_) = [one for one in driven.released() if isinstance(one, ListingRequested)]
    for fact in driven.line.answer(first):
        driven.ledger.record(fact)
    assert of(driven.report(), "1.2.1")["retrieval"] == "pausing"
    assert of(driven.report(), "1.2.1")["instances"]["done"] == 2
    with driven.ledger.engine.begin() as db:
        assert driven.ledger.gate.moving(db, driven.ledger.pacs(db, "b-0001")) == 0
    assert driven.released() == []
    driven.clock.now += driven.ledger.round_pause_s
    (again,) = driven.released()
    assert isinstance(again, ListingRequested)
    assert (again.series_uid, again.round, again.number) == ("1.2.1", 0, 2)


def test_what_is_missing_at_the_destination_is_moved_again_by_its_uid(tmp_path: Path) -> None:
    driven = moving(tmp_path, lose={"1.2.2.1": 2})
    report = driven.run()
    assert report["delivered"] is True
    again = [one.instances for one in driven.line.moves if one.order.series.series_uid == "1.2.2"]
    assert again == [(), ("1.2.2.1",), ("1.2.2.1",)]
    assert of(report, "1.2.2")["rounds"] == 2
    assert of(report, "1.2.1")["rounds"] == 0


def test_after_the_last_round_it_is_partial_and_names_what_is_missing(tmp_path: Path) -> None:
    driven = moving(tmp_path, lose={"1.2.2.1": 99})
    report = driven.run()
    series = of(report, "1.2.2")
    assert (series["state"], series["reason"]) == ("partial", "instances_missing")
    assert (series["missing"], series["evidence"]) == (["1.2.2.1"], "uids")
    assert (series["instances"]["done"], series["instances"]["failed"]) == (2, 1)
    assert len(driven.line.moves) == 1 + 1 + ROUNDS
    assert report["delivered"] is False


def test_nothing_at_the_destination_is_a_failure_whatever_the_pacs_says(tmp_path: Path) -> None:
    driven = moving(tmp_path, unlisted=dict.fromkeys(("1.2.2.1", "1.2.2.2", "1.2.2.3"), 99))
    series = of(driven.run(), "1.2.2")
    assert (series["state"], series["reason"]) == ("failed", "not_at_destination")
    assert series["missing"] == ["1.2.2.1", "1.2.2.2", "1.2.2.3"]
    asked = [one.instances for one in driven.line.moves if one.order.series.series_uid == "1.2.2"]
    assert asked == [()] * (1 + ROUNDS)


@pytest.mark.parametrize("no_list", ["pacs_unreachable", "find_refused_A900"])
def test_a_destination_that_does_not_list_leaves_it_to_the_counters(
    tmp_path: Path, no_list: str
) -> None:
    driven = moving(tmp_path, no_list=no_list, lose={"1.2.2.1": 99})
    report = driven.run()
    whole, short = of(report, "1.2.1"), of(report, "1.2.2")
    assert (whole["state"], whole["evidence"]) == ("complete", "move")
    assert whole["remark"] == f"destination:{no_list}"
    assert (short["state"], short["reason"]) == ("failed", "counts_differ")
    assert len(driven.line.moves) == 2
    assert len(driven.line.listings) == 2 * LISTINGS


def test_a_destination_that_falls_silent_after_a_list_leaves_the_rest_to_the_counters(
    tmp_path: Path,
) -> None:
    driven = moving(tmp_path, lose={"1.2.1.1": 1})

    def fall_silent(step: int) -> None:
        if any(move.instances for move in driven.line.moves):
            driven.line.no_list = "pacs_unreachable"

    driven.on_step = fall_silent
    series = of(driven.run(), "1.2.1")
    assert (series["state"], series["evidence"]) == ("complete", "move")
    assert series["instances"]["done"] == 3


def test_without_the_destinations_address_the_counters_have_to_do(tmp_path: Path) -> None:
    batch = moving_batch(asks=False)
    driven = Driven(tmp_path, FakeLine(batch, {2: [make_found(batch, 2, 1)]}))
    series = of(driven.run(), "1.2.1")
    assert (series["state"], series["evidence"], series["remark"]) == ("complete", "move", "")
    assert driven.line.listings == []


def test_a_listing_that_became_a_dead_letter_counts_as_no_list(tmp_path: Path) -> None:
    driven = moving(tmp_path)
    driven.submit()
    driven.requested()
    driven.end("1.2.1", status=0, completed=3)
    dead = WorkFailed(
        batch_id="b-0001",
        queue="query.listing.requested",
        failed_topic=ListingRequested.topic,
        reason="unexpected_error",
        series_uid="1.2.1",
    )
    for _ in range(LISTINGS):
        assert of(driven.report(), "1.2.1")["retrieval"] == "checking"
        driven.ledger.record(dead)
        driven.clock.now += 100.0
        driven.released()
    series = of(driven.report(), "1.2.1")
    assert (series["state"], series["remark"]) == ("complete", "destination:unexpected_error")


def test_a_late_or_repeated_list_changes_nothing(tmp_path: Path) -> None:
    driven = moving(tmp_path)
    driven.submit()
    driven.requested()
    driven.end("1.2.1", status=0, completed=3)
    old = SeriesListed(batch_id="b-0001", series_uid="1.2.1", round=0, number=1, instances=())
    driven.ledger.record(old)
    once = driven.report()
    driven.ledger.record(old)
    assert driven.report() == once
    driven.clock.now += 100.0
    driven.released()
    driven.ledger.record(old.model_copy(update={"reason": "pacs_unreachable"}))
    assert of(driven.report(), "1.2.1")["retrieval"] == "checking"


def test_a_destination_that_the_pacs_does_not_know_is_not_asked(tmp_path: Path) -> None:
    driven = moving(tmp_path)
    driven.submit()
    driven.requested()
    driven.end("1.2.1", status=0xA801, reason="move_destination_unknown")
    series = of(driven.report(), "1.2.1")
    assert (series["state"], series["reason"]) == ("failed", "move_destination_unknown")
    assert [one for one in driven.released() if isinstance(one, ListingRequested)] == []


def test_a_pacs_that_reports_failures_is_believed_less_than_the_destination(
    tmp_path: Path,
) -> None:
    driven = moving(tmp_path)
    driven.submit()
    driven.requested()
    driven.end("1.2.1", status=0xB000, completed=2, failed=1, reason="sub_operations_failed")
    uids = ("1.2.1.1", "1.2.1.2", "1.2.1.3")
    driven.ledger.record(
        SeriesListed(batch_id="b-0001", series_uid="1.2.1", round=0, number=1, instances=uids)
    )
    assert of(driven.report(), "1.2.1")["state"] == "complete"


@pytest.mark.parametrize(
    ("evidence", "count", "completed", "listed", "lists", "ends"),
    [
        ("count", 3, 3, 3, 1, ("moved", "count")),
        ("count", 3, 3, 2, 1, ("pausing", "none")),
        ("none", None, 3, 3, 1, ("moved", "move")),
        ("none", None, 3, 2, 1, ("pausing", "none")),
        ("none", None, None, 2, 1, ("pausing", "none")),
        ("none", None, None, 2, LISTINGS, ("moved", "quiet")),
        ("none", None, 3, 0, 1, ("pausing", "none")),
    ],
)
def test_a_pacs_that_lists_nothing_itself_is_measured_by_what_it_tells(
    tmp_path: Path,
    evidence: Evidence,
    count: int | None,
    completed: int | None,
    listed: int,
    lists: int,
    ends: tuple[str, str],
) -> None:
    change = {"expected": (), "evidence": evidence, "expected_count": count}
    found = make_found(moving_batch(), 2, 1).model_copy(update=change)
    driven = moving(tmp_path, [found])
    driven.submit()
    driven.requested()
    driven.end("1.2.1", status=0, completed=completed)
    uids = tuple(f"1.2.1.{number}" for number in range(1, listed + 1))
    for number in range(1, lists + 1):
        fact = {"batch_id": "b-0001", "series_uid": "1.2.1", "round": 0, "number": number}
        driven.ledger.record(SeriesListed.model_validate({**fact, "instances": uids}))
        driven.clock.now += 100.0 * (number < lists)
        driven.released()
    series = of(driven.report(), "1.2.1")
    assert (series["retrieval"], series["evidence"]) == ends
    assert series["instances"]["expected"] == max(listed, count or 0)


def test_a_whole_list_in_spite_of_a_reason_is_a_whole_list(tmp_path: Path) -> None:
    driven = moving(tmp_path)
    driven.submit()
    driven.requested()
    driven.end("1.2.1", status=0, completed=3)
    uids = ("1.2.1.1", "1.2.1.2", "1.2.1.3", "1.2.1.4")
    fact = {"batch_id": "b-0001", "series_uid": "1.2.1", "round": 0, "number": 1}
    cut = SeriesListed.model_validate({**fact, "instances": uids, "reason": "result_limit_reached"})
    driven.ledger.record(cut)
    series = of(driven.report(), "1.2.1")
    assert (series["state"], series["evidence"], series["remark"]) == ("complete", "uids", "")


def test_a_batch_that_is_cancelled_while_the_destination_is_asked_has_ended(
    tmp_path: Path,
) -> None:
    driven = moving(tmp_path)
    driven.submit()
    driven.requested()
    driven.end("1.2.1", status=0, completed=3)
    driven.end("1.2.2", status=0, completed=3)
    control.cancel(driven.ledger, "b-0001")
    report = driven.report()
    assert report["finished_at"] is not None
    assert report["series"] == {"cancelled": 2}


def test_what_another_batch_receives_of_the_series_says_nothing_of_the_destination(
    tmp_path: Path,
) -> None:
    driven = moving(tmp_path)
    driven.submit()
    driven.requested()
    saving = make_batch(1, save=True).model_copy(update={"batch_id": "b-0002"})
    driven.submit(FakeLine(saving, {2: [make_found(saving, 2, 1)]}))
    received = tuple(
        ReceivedInstance(sop_instance_uid=f"1.2.1.{number}", path="x", size=1)
        for number in (1, 2, 3)
    )
    driven.ledger.record(
        InstancesReceived(batch_id="b-0002", study_uid="1", series_uid="1.2.1", instances=received)
    )
    series = of(driven.report(), "1.2.1")
    assert (series["retrieval"], series["instances"]["done"]) == ("retrieving", 0)
