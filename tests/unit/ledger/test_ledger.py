"""The ledger alone, fed with every order and repetition of facts that a bus can deliver."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from pacstream.messages import (
    Message,
    QueryAnswered,
    SeriesFound,
    SeriesRequested,
    WorkFailed,
)
from pacstream_ledger.schema import OUTBOX
from tests.fakes.driven import Driven, series_of
from tests.fakes.line import FakeLine, make_batch, make_found


@pytest.mark.parametrize("seed", range(12))
def test_any_order_and_repetition_of_facts_ends_complete(tmp_path: Path, seed: int) -> None:
    batch = make_batch(3, save=True, info=True, anonymize=True, convert=True)
    found = {
        2: [make_found(batch, 2, 1), make_found(batch, 2, 2)],
        3: [make_found(batch, 3, 2), make_found(batch, 3, 3, instances=70)],
        4: [],
    }
    driven = Driven(tmp_path, FakeLine(batch, found), seed=seed, repeat=True)
    report = driven.run()
    assert report["delivered"] is True
    assert {row["row"]: row["state"] for row in report["report"]} == {
        2: "answered",
        3: "answered",
        4: "no_match",
    }
    assert {one["state"] for one in series_of(report).values()} == {"complete"}
    assert report["instances"]["done"] == 76
    assert {f.batch_id for f in driven.line.finished} == {batch.batch_id}


def test_a_series_that_two_rows_match_is_moved_once(tmp_path: Path) -> None:
    batch = make_batch(2, save=True)
    found = {2: [make_found(batch, 2, 1)], 3: [make_found(batch, 3, 1)]}
    driven = Driven(tmp_path, FakeLine(batch, found))
    driven.run()
    assert len(driven.line.moves) == 1


def test_missing_instances_are_asked_for_again_and_only_they(tmp_path: Path) -> None:
    batch = make_batch(1, save=True)
    line = FakeLine(batch, {2: [make_found(batch, 2, 1, instances=5)]}, lose={"1.2.1.4": 1})
    report = Driven(tmp_path, line).run()
    assert report["delivered"] is True
    assert [move.instances for move in line.moves] == [(), ("1.2.1.4",)]
    assert [move.round for move in line.moves] == [0, 1]


def test_an_instance_that_never_comes_makes_the_series_partial_after_three_rounds(
    tmp_path: Path,
) -> None:
    batch = make_batch(1, save=True, anonymize=True, convert=True)
    line = FakeLine(batch, {2: [make_found(batch, 2, 1, instances=5)]}, lose={"1.2.1.4": 99})
    report = Driven(tmp_path, line).run()
    series = series_of(report)["1.2.1"]
    assert report["delivered"] is False
    assert (series["state"], series["reason"]) == ("partial", "instances_missing")
    assert series["missing"] == ["1.2.1.4"]
    assert series["instances"]["done"] == 4
    assert series["instances"]["failed"] == 1
    assert [move.round for move in line.moves] == [0, 1, 2, 3]


def test_success_with_nothing_sent_fails_whatever_the_status_says(tmp_path: Path) -> None:
    batch = make_batch(1, save=True)
    lose = {f"1.2.1.{index}": 99 for index in range(1, 4)}
    line = FakeLine(batch, {2: [make_found(batch, 2, 1)]}, lose=lose)
    report = Driven(tmp_path, line).run()
    series = series_of(report)["1.2.1"]
    assert (series["state"], series["reason"]) == ("failed", "nothing_sent")
    assert report["delivered"] is False


def test_withheld_instances_are_accounted_for_and_not_called_delivered(tmp_path: Path) -> None:
    batch = make_batch(1, anonymize=True)
    line = FakeLine(batch, {2: [make_found(batch, 2, 1)]}, withhold=frozenset({"1.2.1.2"}))
    report = Driven(tmp_path, line).run()
    series = series_of(report)["1.2.1"]
    assert (series["state"], series["reason"]) == ("withheld", "test")
    assert series["instances"]["withheld"] == 1
    assert series["instances"]["done"] == 2
    assert report["delivered"] is False


def test_a_series_that_is_no_image_is_complete_without_nifti(tmp_path: Path) -> None:
    batch = make_batch(1, convert=True)
    line = FakeLine(batch, {2: [make_found(batch, 2, 1)]}, conversion="not_an_image")
    report = Driven(tmp_path, line).run()
    assert series_of(report)["1.2.1"]["conversion"] == "not_an_image"
    assert report["delivered"] is True


def test_a_failed_conversion_is_not_delivered(tmp_path: Path) -> None:
    batch = make_batch(1, convert=True)
    line = FakeLine(batch, {2: [make_found(batch, 2, 1)]}, conversion="failed")
    report = Driven(tmp_path, line).run()
    assert series_of(report)["1.2.1"]["state"] == "failed"
    assert report["delivered"] is False


def test_an_incomplete_conversion_is_not_delivered_and_told_with_its_numbers(
    tmp_path: Path,
) -> None:
    batch = make_batch(1, convert=True)
    line = FakeLine(batch, {2: [make_found(batch, 2, 1)]}, conversion="incomplete")
    report = Driven(tmp_path, line).run()
    series = series_of(report)["1.2.1"]
    assert (series["state"], series["reason"]) == ("failed", "incomplete")
    assert series["remark"] == "slices:9/10"
    assert report["delivered"] is False


def test_what_is_here_already_is_not_moved_again(tmp_path: Path) -> None:
    batch = make_batch(1, save=True, anonymize=True)
    found = make_found(batch, 2, 1)
    line = FakeLine(batch, {2: [found]}, archive={"1.2.1": set(found.expected)})
    report = Driven(tmp_path, line).run()
    assert report["delivered"] is True
    assert line.moves == []


def test_a_few_missing_instances_of_a_series_that_is_here_are_moved_alone(tmp_path: Path) -> None:
    batch = make_batch(1, anonymize=True)
    found = make_found(batch, 2, 1, instances=10)
    line = FakeLine(batch, {2: [found]}, archive={"1.2.1": set(found.expected[:8])})
    report = Driven(tmp_path, line).run()
    assert [set(move.instances) for move in line.moves] == [set(found.expected[8:])]
    assert report["instances"]["done"] == 10


def test_instances_deleted_from_the_archive_are_fetched_again(tmp_path: Path) -> None:
    batch = make_batch(1, save=True)
    line = FakeLine(batch, {2: [make_found(batch, 2, 1)]})
    driven = Driven(tmp_path, line)
    driven.run()
    line.archive.clear()
    again = batch.model_copy(update={"batch_id": "b-0002"})
    line.batch, line.found = again, {2: [make_found(again, 2, 1)]}
    assert driven.run()["delivered"] is True
    assert len(line.moves) == 2


def test_info_alone_retrieves_nothing(tmp_path: Path) -> None:
    batch = make_batch(1, info=True)
    line = FakeLine(batch, {2: [make_found(batch, 2, 1)]})
    report = Driven(tmp_path, line).run()
    assert report["delivered"] is True
    assert line.moves == []


def test_a_move_to_a_third_node_is_judged_by_its_counters(tmp_path: Path) -> None:
    batch = make_batch(1, move=True)
    line = FakeLine(
        batch, {2: [make_found(batch, 2, 1), make_found(batch, 2, 2)]}, lose={"1.2.2.1": 1}
    )
    series = series_of(Driven(tmp_path, line).run())
    assert series["1.2.1"]["state"] == "complete"
    assert (series["1.2.2"]["state"], series["1.2.2"]["reason"]) == ("failed", "counts_differ")


def test_a_row_whose_query_became_a_dead_letter_has_failed(tmp_path: Path) -> None:
    batch = make_batch(1, save=True)
    driven = Driven(tmp_path, FakeLine(batch, {2: []}))
    driven.ledger.record(driven.line.submit()[0])
    driven.ledger.record(
        WorkFailed(
            batch_id=batch.batch_id,
            queue="query.query.requested",
            failed_topic="query.requested",
            reason="pacs_unreachable",
            row=2,
        )
    )
    report = driven.report()
    assert report["report"][0]["state"] == "failed"
    assert report["report"][0]["reason"] == "query:pacs_unreachable"
    assert report["delivered"] is False


@pytest.mark.parametrize(
    ("queue", "topic"),
    [
        ("retrieve.series.requested", "series.requested"),
        ("anonymizer.instances.received", "instances.received"),
        ("converter.series.received", "series.received"),
        ("exporter.series.received", "series.received"),
        ("exporter.info.requested", "info.requested"),
    ],
)
def test_a_dead_letter_of_any_service_ends_its_series_as_failed(
    tmp_path: Path, queue: str, topic: str
) -> None:
    batch = make_batch(1, save=True, info=True, anonymize=True, convert=True)

    class Failing(FakeLine):
        def answer(self, message: Message) -> Iterator[Message]:
            facts = list(super().answer(message))
            if message.topic == topic or (
                topic == "instances.received" and message.topic == "series.requested"
            ):
                lost = {
                    "series.requested": ("series.moved", "instances.received", "instances.de"),
                    "instances.received": ("instances.deidentified",),
                    "series.received": (
                        "series.converted" if "converter" in queue else "series.exported",
                    ),
                    "info.requested": ("info.written",),
                }[topic]
                facts = [fact for fact in facts if not fact.topic.startswith(lost)]
                facts.append(
                    WorkFailed(
                        batch_id=batch.batch_id,
                        queue=queue,
                        failed_topic=topic,
                        reason="broken",
                        series_uid="1.2.1",
                    )
                )
            return iter(facts)

    report = Driven(tmp_path, Failing(batch, {2: [make_found(batch, 2, 1)]})).run()
    assert series_of(report)["1.2.1"]["state"] == "failed"
    assert "broken" in series_of(report)["1.2.1"]["reason"]
    assert report["delivered"] is False


def test_facts_that_come_before_their_batch_wait_for_it(tmp_path: Path) -> None:
    batch = make_batch(1, save=True)
    line = FakeLine(batch, {2: [make_found(batch, 2, 1)]})
    driven = Driven(tmp_path, line)
    for fact in line.answer(line.submit()[0]):
        driven.ledger.record(fact)
    assert driven.report_or_none() is None
    assert driven.run()["delivered"] is True


def test_what_follows_stays_in_the_outbox_until_it_is_sent(tmp_path: Path) -> None:
    batch = make_batch(1, info=True)
    driven = Driven(tmp_path, FakeLine(batch, {2: []}))
    driven.ledger.record(driven.line.submit()[0])
    driven.ledger.record(make_found(batch, 2, 1))
    first = driven.ledger.outbox()
    assert [one.message.topic for one in first] == ["info.requested"]
    assert driven.ledger.outbox() == first
    driven.ledger.sent(first[0])
    assert driven.ledger.outbox() == []


def test_a_fact_that_fails_to_be_recorded_leaves_nothing_behind(tmp_path: Path) -> None:
    batch = make_batch(1, info=True)
    driven = Driven(tmp_path, FakeLine(batch, {2: []}))
    driven.ledger.record(driven.line.submit()[0])
    bad = make_found(batch, 2, 1).model_copy(update={"evidence": None})
    with pytest.raises(Exception, match="evidence"):
        driven.ledger.record(bad)
    with driven.ledger.engine.connect() as db:
        assert db.execute(select(OUTBOX)).all() == []
    assert driven.report()["report"][0]["series"] == []


def test_two_patients_whose_ids_look_alike_get_two_folders(tmp_path: Path) -> None:
    batch = make_batch(1, save=True)
    found = [
        make_found(batch, 2, 1, patient_id="A-1"),
        make_found(batch, 2, 2, patient_id="A_1"),
        make_found(batch, 2, 3, patient_id="A-1"),
    ]
    report = Driven(tmp_path, FakeLine(batch, {2: found})).run()
    subjects = {uid: one["folder"].split("/")[0] for uid, one in series_of(report).items()}
    assert subjects["1.2.1"] == subjects["1.2.3"]
    assert len(set(subjects.values())) == 2


def test_two_series_with_the_same_number_and_description_get_two_folders(tmp_path: Path) -> None:
    batch = make_batch(1, save=True)
    one, other = make_found(batch, 2, 1), make_found(batch, 2, 2)
    twin = other.series.model_copy(update={"number": "1"})
    found = [one, other.model_copy(update={"series": twin})]
    report = Driven(tmp_path, FakeLine(batch, {2: found})).run()
    assert len({series["folder"] for series in series_of(report).values()}) == 2


def test_batch_size_holds_the_next_group_until_the_wait_is_over(tmp_path: Path) -> None:
    batch = make_batch(1, save=True).model_copy(update={"batch_size": 2, "batch_wait_s": 30.0})
    found = [make_found(batch, 2, number) for number in range(1, 6)]
    driven = Driven(tmp_path, FakeLine(batch, {2: found}))
    driven.ledger.record(driven.line.submit()[0])
    for fact in driven.line.answer(driven.line.submit()[0]):
        driven.ledger.record(fact)

    def released() -> set[str]:
        driven.scheduler.tick()
        return {
            message.order.series.series_uid
            for message in driven.unsent()
            if isinstance(message, SeriesRequested)
        }

    assert released() == {"1.2.1", "1.2.2"}
    for message in [m for m in driven.unsent() if isinstance(m, SeriesRequested)]:
        for fact in driven.line.answer(message):
            driven.ledger.record(fact)
    driven.clock.now += 29.0
    assert released() == {"1.2.1", "1.2.2"}
    driven.clock.now += 2.0
    assert released() == {"1.2.1", "1.2.2", "1.2.3", "1.2.4"}


def test_no_more_series_are_under_way_than_allowed(tmp_path: Path) -> None:
    batch = make_batch(1, save=True)
    found = [make_found(batch, 2, number) for number in range(1, 20)]
    driven = Driven(tmp_path, FakeLine(batch, {2: found}))
    for message in driven.line.submit():
        driven.ledger.record(message)
        for fact in driven.line.answer(message):
            driven.ledger.record(fact)
    driven.scheduler.tick()
    requests = [m for m in driven.unsent() if m.topic == "series.requested"]
    assert len(requests) == 4


def test_a_promised_series_that_has_not_come_in_keeps_the_batch_open(tmp_path: Path) -> None:
    batch = make_batch(1, info=True)
    driven = Driven(tmp_path, FakeLine(batch, {2: []}))
    driven.ledger.record(driven.line.submit()[0])
    driven.ledger.record(QueryAnswered(batch_id=batch.batch_id, row=2, series=1))
    assert driven.report()["finished_at"] is None
    found: SeriesFound = make_found(batch, 2, 1)
    driven.line.found = {2: [found]}
    assert driven.run()["delivered"] is True
