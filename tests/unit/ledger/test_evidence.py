"""How completeness is known, grade by grade; resume and refresh."""

from __future__ import annotations

from pathlib import Path

import pytest

from pacstream.messages import Evidence, InstancesReceived, ReceivedInstance, SeriesFound
from pacstream_ledger.schema import open_database
from pacstream_ledger.throttle import Throttle
from tests.fakes.driven import Driven, series_of, sqlite_url
from tests.fakes.line import FakeLine, make_batch, make_found


def unlisted(found: SeriesFound, evidence: Evidence, count: int | None = None) -> SeriesFound:
    """As a PACS tells it that does not list instances."""
    change = {"expected": (), "evidence": evidence, "expected_count": count}
    return found.model_copy(update=change)


def waiting_for_one(
    tmp_path: Path, evidence: Evidence, count: int | None, **actions: bool
) -> Driven:
    """The C-MOVE of series 1.2.1, of three instances, is under way."""
    batch = make_batch(1, **(actions or {"save": True}))
    found = unlisted(make_found(batch, 2, 1), evidence, count)
    driven = Driven(tmp_path, FakeLine(batch, {2: [found]}))
    driven.submit()
    assert driven.requested() == ["1.2.1"]
    return driven


def arrive(driven: Driven, *numbers: int) -> None:
    received = tuple(
        ReceivedInstance(sop_instance_uid=f"1.2.1.{number}", path="x", size=1) for number in numbers
    )
    batch_id = driven.line.batch.batch_id
    driven.line.archive.setdefault("1.2.1", set()).update(f"1.2.1.{n}" for n in numbers)
    driven.ledger.record(
        InstancesReceived(batch_id=batch_id, study_uid="1", series_uid="1.2.1", instances=received)
    )


def the_series(driven: Driven) -> dict[str, object]:
    return series_of(driven.report())["1.2.1"]


def test_by_uids_a_series_is_complete_when_each_is_here_whatever_the_status(
    tmp_path: Path,
) -> None:
    batch = make_batch(1, save=True)
    driven = Driven(tmp_path, FakeLine(batch, {2: [make_found(batch, 2, 1)]}))
    driven.submit()
    driven.requested()
    driven.end("1.2.1", reason="timed_out")
    assert the_series(driven)["retrieval"] == "pausing"
    arrive(driven, 1, 2, 3)
    assert the_series(driven)["retrieval"] == "received"
    assert the_series(driven)["evidence"] == "uids"


def test_by_count_the_promised_number_and_a_clean_end_are_needed(tmp_path: Path) -> None:
    driven = waiting_for_one(tmp_path, "count", 3)
    arrive(driven, 1, 2, 3)
    assert the_series(driven)["retrieval"] == "retrieving"
    driven.end("1.2.1", status=0, completed=3)
    assert (the_series(driven)["retrieval"], the_series(driven)["evidence"]) == (
        "received",
        "count",
    )


def test_by_count_what_is_short_of_the_promise_is_accounted_as_failed(tmp_path: Path) -> None:
    driven = waiting_for_one(tmp_path, "count", 5)
    account = the_series(driven)["instances"]
    assert isinstance(account, dict)
    assert (account["expected"], account["pending"]) == (5, 5)
    arrive(driven, 1, 2, 3)
    for _ in range(4):
        driven.end("1.2.1", status=0, completed=3)
        driven.clock.now += 100.0
        driven.released()
    series = the_series(driven)
    assert (series["state"], series["reason"]) == ("partial", "instances_missing")
    account = series["instances"]
    assert isinstance(account, dict)
    assert (account["expected"], account["done"], account["failed"]) == (5, 3, 2)


def test_by_the_moves_own_counters_where_the_pacs_tells_nothing_before(tmp_path: Path) -> None:
    driven = waiting_for_one(tmp_path, "none", None)
    driven.end("1.2.1", status=0, completed=3)
    assert the_series(driven)["retrieval"] == "pausing"
    arrive(driven, 1, 2)
    assert the_series(driven)["retrieval"] == "pausing"
    arrive(driven, 3)
    assert (the_series(driven)["retrieval"], the_series(driven)["evidence"]) == ("received", "move")


def test_by_quiet_only_where_the_pacs_neither_lists_nor_counts(tmp_path: Path) -> None:
    driven = waiting_for_one(tmp_path, "none", None)
    arrive(driven, 1, 2)
    driven.end("1.2.1", status=0)
    assert the_series(driven)["retrieval"] == "pausing"
    driven.clock.now += 6.0
    driven.released()
    series = the_series(driven)
    assert (series["retrieval"], series["evidence"]) == ("received", "quiet")
    assert series["instances"] == {
        "expected": 2,
        "received": 2,
        "done": 2,
        "withheld": 0,
        "failed": 0,
        "cancelled": 0,
        "pending": 0,
    }


def test_quiet_after_nothing_at_all_is_no_evidence(tmp_path: Path) -> None:
    driven = waiting_for_one(tmp_path, "none", None)
    for _ in range(4):
        driven.end("1.2.1", status=0)
        driven.clock.now += 100.0
        driven.released()
    assert (the_series(driven)["state"], the_series(driven)["reason"]) == ("failed", "nothing_sent")


@pytest.mark.parametrize(("evidence", "count"), [("count", 3), ("none", None)])
def test_zero_instances_fail_with_a_code_whatever_the_status_says(
    tmp_path: Path, evidence: Evidence, count: int | None
) -> None:
    driven = waiting_for_one(tmp_path, evidence, count)
    for _ in range(4):
        driven.end("1.2.1", status=0, completed=3)
        driven.clock.now += 400.0
        driven.released()
    assert (the_series(driven)["state"], the_series(driven)["reason"]) == ("failed", "nothing_sent")


def test_a_partial_series_waits_for_the_outcome_of_what_is_here(tmp_path: Path) -> None:
    driven = waiting_for_one(tmp_path, "count", 3, anonymize=True)
    arrive(driven, 1)
    for _ in range(4):
        driven.end("1.2.1", status=0, completed=1)
        driven.clock.now += 400.0
        driven.released()
    assert (the_series(driven)["retrieval"], the_series(driven)["state"]) == ("partial", "pending")


def test_an_instance_with_another_content_is_a_remark_on_the_complete_series(
    tmp_path: Path,
) -> None:
    driven = waiting_for_one(tmp_path, "count", 3)
    arrive(driven, 1, 2, 3)
    driven.end("1.2.1", status=0xB000, completed=3, warning=1, reason="sub_operations_warned")
    for message in driven.released():
        for fact in driven.line.answer(message):
            driven.ledger.record(fact)
    series = the_series(driven)
    assert (series["state"], series["remark"]) == ("complete", "conflicting")
    assert series["reason"] == "conflicting"
    assert driven.report()["delivered"] is True


# Resume and refresh


def second(batch_id: str = "b-0002", *, refresh: bool = False) -> FakeLine:
    batch = make_batch(1, save=True, anonymize=True)
    batch = batch.model_copy(update={"batch_id": batch_id, "refresh": refresh})
    return FakeLine(batch, {2: [make_found(batch, 2, 1), make_found(batch, 2, 2)]})


def test_a_second_submit_fetches_only_what_is_missing(tmp_path: Path) -> None:
    driven = Driven(tmp_path, second("b-0001"))
    driven.run()
    line = second()
    line.archive = driven.line.archive
    line.archive["1.2.2"].remove("1.2.2.3")
    driven.line = line
    driven.ledger.present = line.present
    driven.clock.now += 10.0
    assert driven.run()["delivered"] is True
    assert [move.instances for move in line.moves] == [("1.2.2.3",)]


def test_a_refresh_fetches_everything_again_and_records_it_anew(tmp_path: Path) -> None:
    driven = Driven(tmp_path, second("b-0001"))
    driven.run()
    line = second(refresh=True)
    line.archive = driven.line.archive
    driven.line = line
    driven.ledger.present = line.present
    driven.clock.now += 10.0
    report = driven.run()
    assert report["delivered"] is True
    assert sorted(move.instances for move in line.moves) == [(), ()]
    assert report["instances"]["done"] == 6


def test_a_refresh_is_not_complete_by_what_was_here_before(tmp_path: Path) -> None:
    driven = Driven(tmp_path, second("b-0001"))
    driven.run()
    line = second(refresh=True)
    line.archive = driven.line.archive
    line.lose = {"1.2.1.1": 99}
    driven.line = line
    driven.ledger.present = line.present
    driven.clock.now += 10.0
    report = driven.run()
    series = series_of(report)["1.2.1"]
    assert (series["state"], series["missing"]) == ("partial", ["1.2.1.1"])
    assert series["instances"]["failed"] == 1


def test_a_refresh_that_brings_other_contents_keeps_the_old_and_says_so(tmp_path: Path) -> None:
    batch = make_batch(1, save=True).model_copy(update={"refresh": True})
    found = make_found(batch, 2, 1)
    line = FakeLine(batch, {2: [found]}, archive={"1.2.1": set(found.expected)})
    driven = Driven(tmp_path, line)
    driven.submit()
    driven.requested()
    arrive(driven, 1, 2)
    driven.end("1.2.1", status=0xB000, completed=2, warning=1, reason="sub_operations_warned")
    driven.clock.now += 10.0
    driven.released()
    assert (the_series(driven)["retrieval"], the_series(driven)["remark"]) == (
        "received",
        "conflicting",
    )


def test_an_instance_that_is_new_on_the_pacs_is_found_by_the_uids(tmp_path: Path) -> None:
    batch = make_batch(1, save=True)
    found = make_found(batch, 2, 1, instances=4)
    line = FakeLine(batch, {2: [found]}, archive={"1.2.1": set(found.expected[:3])})
    driven = Driven(tmp_path, line)
    assert driven.run()["delivered"] is True
    assert [move.instances for move in line.moves] == [("1.2.1.4",)]


def test_an_instance_that_the_pacs_has_no_more_is_not_delivered_again(tmp_path: Path) -> None:
    batch = make_batch(1, save=True)
    first = make_found(batch, 2, 1, instances=4)
    driven = Driven(tmp_path, FakeLine(batch, {2: [first]}))
    driven.run()
    again = batch.model_copy(update={"batch_id": "b-0002"})
    line = FakeLine(again, {2: [make_found(again, 2, 1, instances=3)]})
    line.archive = driven.line.archive
    driven.line, driven.ledger.present = line, line.present
    driven.clock.now += 10.0
    report = driven.run()
    assert (report["instances"]["expected"], report["instances"]["done"]) == (3, 3)
    assert line.moves == []


def test_a_changed_series_is_found_by_the_count_where_there_are_no_uids(tmp_path: Path) -> None:
    batch = make_batch(1, save=True)
    found = unlisted(make_found(batch, 2, 1), "count", 3)
    here = {"1.2.1": {"1.2.1.1", "1.2.1.2", "1.2.1.3"}}
    same = Driven(tmp_path / "same", FakeLine(batch, {2: [found]}, archive=here))
    same.submit()
    assert same.requested() == []
    assert the_series(same)["retrieval"] == "received"
    more = found.model_copy(update={"expected_count": 4})
    changed = Driven(tmp_path / "changed", FakeLine(batch, {2: [more]}, archive=here))
    changed.submit()
    assert changed.requested() == ["1.2.1"]


def test_a_database_of_the_version_before_is_taken_over(tmp_path: Path) -> None:
    engine = open_database(sqlite_url(tmp_path))
    new = ("pacs", "control", "priority", "virtual_time")
    with engine.begin() as db:
        for column in new:
            db.exec_driver_sql(f"ALTER TABLE batches DROP COLUMN {column}")
        db.exec_driver_sql("DROP TABLE moves")
        db.exec_driver_sql("DROP TABLE pacs")
    batch = make_batch(1, save=True)
    line = FakeLine(batch, {2: [make_found(batch, 2, 1)]})
    assert Driven(tmp_path, line, throttle=Throttle(moves=1)).run()["delivered"] is True
