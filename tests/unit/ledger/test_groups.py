"""Several facts in one transaction: the same end as one by one, and all of them or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from pacstream.messages import (
    BatchFinished,
    Message,
    QueryAnswered,
    QueryRequested,
    SeriesComplete,
    SeriesFound,
)
from pacstream.topology import SUBSCRIPTIONS
from pacstream_ledger import views
from pacstream_ledger.ledger import Ledger
from tests.fakes.driven import Driven, series_of
from tests.fakes.line import FakeLine, make_batch, make_found


@pytest.mark.parametrize("at_once", [2, 7, 100])
@pytest.mark.parametrize("seed", range(4))
def test_groups_of_facts_in_any_order_end_complete(tmp_path: Path, seed: int, at_once: int) -> None:
    batch = make_batch(3, save=True, info=True, anonymize=True, convert=True)
    found = {
        2: [make_found(batch, 2, 1), make_found(batch, 2, 2)],
        3: [make_found(batch, 3, 2), make_found(batch, 3, 3, instances=70)],
        4: list[SeriesFound](),
    }
    line = FakeLine(batch, found, lose={"1.2.3.9": 1})
    report = Driven(tmp_path, line, seed=seed, repeat=True, at_once=at_once).run()
    assert report["delivered"] is True
    assert report["instances"]["done"] == 76
    assert {finished.batch_id for finished in line.finished} == {batch.batch_id}


def _answers(driven: Driven) -> list[Message]:
    [request] = driven.line.submit()
    return [request, *driven.line.answer(request)]


def _of_two_series(folder: Path) -> Driven:
    batch = make_batch(1, info=True)
    found = [make_found(batch, 2, 1), make_found(batch, 2, 2)]
    return Driven(folder, FakeLine(batch, {2: found}))


def test_a_bad_fact_leaves_nothing_of_its_group_behind(tmp_path: Path) -> None:
    driven = _of_two_series(tmp_path)
    facts = _answers(driven)
    bad = facts[1].model_copy(update={"evidence": None})
    with pytest.raises(Exception, match="evidence"):
        driven.ledger.record(facts[0], *facts[2:], bad)
    assert driven.report_or_none() is None
    assert driven.unsent() == []


def test_the_others_of_a_group_with_a_bad_fact_are_recorded_one_by_one(tmp_path: Path) -> None:
    driven = _of_two_series(tmp_path)
    request, first, second, answered = _answers(driven)
    bad = first.model_copy(update={"evidence": None})
    with pytest.raises(Exception, match="evidence"):
        driven.scheduler.record(request, bad, second, answered)
    for fact in (request, second, answered):
        driven.scheduler.record(fact)
    assert list(series_of(driven.report())) == ["1.2.2"]
    # the row has promised two: the batch does not end without the one that is a dead letter
    assert driven.report()["finished_at"] is None


def test_a_group_that_comes_again_after_its_commit_changes_nothing(tmp_path: Path) -> None:
    """A process that is killed between commit and acknowledgement is given all of it again."""
    driven = _of_two_series(tmp_path)
    facts = _answers(driven)
    driven.scheduler.record(*facts)
    once, sent = driven.report(), driven.released()
    driven.scheduler.record(*facts)
    assert driven.report() == once
    assert driven.released() == []
    assert [message.topic for message in sent] == ["info.requested"] * 2


def test_what_follows_from_a_group_is_told_in_the_order_of_its_facts(tmp_path: Path) -> None:
    driven = _of_two_series(tmp_path)
    request, first, second, answered = _answers(driven)
    driven.scheduler.record(request, second, first, answered)
    told = driven.ledger.outbox()
    assert [one.cause for one in told] == [second.message_id, first.message_id]


def test_a_batch_that_ends_within_a_group_has_finished_once(tmp_path: Path) -> None:
    driven = _of_two_series(tmp_path)
    facts = _answers(driven)
    driven.scheduler.record(*facts)
    written = [fact for request in driven.released() for fact in driven.line.answer(request)]
    driven.scheduler.record(*written)
    last = driven.unsent()
    assert [type(message) for message in last] == [SeriesComplete, SeriesComplete, BatchFinished]
    assert driven.report()["delivered"] is True


def test_the_last_state_of_a_batch_is_kept_before_its_end_is_told(tmp_path: Path) -> None:
    driven = _of_two_series(tmp_path)
    driven.scheduler.record(*_answers(driven))
    written = [fact for request in driven.released() for fact in driven.line.answer(request)]
    assert driven.kept == []
    driven.scheduler.record(*written)
    [view] = driven.kept
    assert view["finished_at"] is not None
    assert view == views.batch_report(driven.ledger.engine, view["batch_id"])


def test_a_row_that_finds_nothing_ends_its_batch(tmp_path: Path) -> None:
    batch = make_batch(1, info=True)
    driven = Driven(tmp_path, FakeLine(batch, {2: []}))
    driven.scheduler.record(*_answers(driven))
    assert [type(message) for message in driven.unsent()] == [BatchFinished]


def test_a_failed_group_does_not_keep_later_facts_from_ending_a_batch(tmp_path: Path) -> None:
    batch = make_batch(1, info=True)
    driven = Driven(tmp_path, FakeLine(batch, {2: []}))
    request, answered = _answers(driven)
    assert isinstance(answered, QueryAnswered)
    with pytest.raises(Exception, match="evidence"):
        driven.scheduler.record(
            request, make_found(batch, 2, 9).model_copy(update={"evidence": None})
        )
    driven.scheduler.record(request)
    driven.scheduler.record(answered)
    assert driven.report()["finished_at"] is not None


def test_the_ledger_records_all_that_is_bound_to_its_queues() -> None:
    assert {QueryRequested, *Ledger._handlers} == set(SUBSCRIPTIONS["ledger"])
