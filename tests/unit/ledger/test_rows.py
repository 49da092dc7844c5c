"""When a row has ended: all the series that query.answered announced are recorded."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from sqlalchemy import text

from pacstream.bus import work_failed
from pacstream.envelope import envelope
from pacstream.messages import Message, QueryAnswered, SeriesFound, WorkFailed
from pacstream_ledger.ledger import Ledger
from pacstream_ledger.schema import open_database
from tests.fakes.driven import Driven, sqlite_url
from tests.fakes.line import FakeLine, make_batch, make_found

BATCH = make_batch(1, save=True)
FOUND = [make_found(BATCH, 2, number) for number in (1, 2, 3)]


def answered(series: int | None = 3, reason: str = "") -> QueryAnswered:
    return QueryAnswered(batch_id=BATCH.batch_id, row=2, series=series, reason=reason)


def buried(found: SeriesFound, *, readable: bool = True) -> WorkFailed:
    """What the bus says of a series.found that the ledger could not take."""
    body = found.payload()
    if not readable:
        body["series"] = None
    return work_failed("ledger.series.found", envelope(found, "query"), body, "bad_message")


def of_row(driven: Driven) -> tuple[str, str]:
    """State and reason of row 2, once all that is due is done."""
    driven.scheduler.tick()
    (row,) = driven.report()["report"]
    return row["state"], row["reason"]


@pytest.fixture
def driven(tmp_path: Path) -> Driven:
    driven = Driven(tmp_path, FakeLine(BATCH, {2: FOUND}))
    driven.ledger.record(driven.line.submit()[0])
    return driven


@pytest.mark.parametrize("order", tuple(itertools.permutations(range(4))), ids=str)
def test_a_row_is_answered_with_the_last_of_the_announced_series_in_any_order(
    driven: Driven, order: tuple[int, ...]
) -> None:
    facts: list[Message] = [*FOUND, answered()]
    for step, number in enumerate(order, 1):
        driven.ledger.record(facts[number])
        driven.ledger.record(facts[number])
        assert of_row(driven)[0] == ("answered" if step == len(facts) else "waiting")


def test_a_series_that_comes_often_is_counted_once(driven: Driven) -> None:
    driven.ledger.record(answered())
    for _ in range(3):
        driven.ledger.record(FOUND[0])
    assert of_row(driven) == ("waiting", "")


def test_another_row_with_more_series_than_announced_does_not_make_up_for_one_with_less(
    tmp_path: Path,
) -> None:
    """A query that ran twice may have found more the first time."""
    batch = make_batch(2, info=True)
    driven = Driven(tmp_path, FakeLine(batch, {2: [], 3: []}))
    for message in driven.line.submit():
        driven.ledger.record(message)
    for number in (1, 2):
        driven.ledger.record(make_found(batch, 2, number))
    driven.ledger.record(QueryAnswered(batch_id=batch.batch_id, row=2, series=1))
    driven.ledger.record(QueryAnswered(batch_id=batch.batch_id, row=3, series=1))
    driven.scheduler.tick()
    assert driven.report()["rows"] == {"submitted": 2, "answered": 1, "waiting": 1}


def test_an_untrusted_answer_fails_its_row_when_its_series_are_recorded(driven: Driven) -> None:
    driven.ledger.record(answered(reason="result_limit_reached"))
    for found in FOUND[:2]:
        driven.ledger.record(found)
    assert of_row(driven) == ("waiting", "result_limit_reached")
    driven.ledger.record(FOUND[2])
    assert of_row(driven) == ("failed", "result_limit_reached")


def test_a_list_of_series_from_an_older_query_service_is_understood(driven: Driven) -> None:
    uids = [found.series.series_uid for found in FOUND]
    body = {"batch_id": BATCH.batch_id, "row": 2, "series_uids": uids, "reason": ""}
    old = QueryAnswered.model_validate({**body, "series_uids": [*uids, uids[0]]})
    driven.ledger.record(old)
    for found in FOUND[:2]:
        driven.ledger.record(found)
    assert of_row(driven)[0] == "waiting"
    driven.ledger.record(FOUND[2])
    assert of_row(driven) == ("answered", "")


def test_an_empty_list_from_an_older_query_service_is_no_match(driven: Driven) -> None:
    driven.ledger.record(answered(None))
    assert of_row(driven) == ("no_match", "")


@pytest.mark.parametrize("readable", [True, False], ids=["series known", "series unreadable"])
@pytest.mark.parametrize("order", tuple(itertools.permutations(range(4))), ids=str)
def test_a_series_found_that_became_a_dead_letter_fails_its_row_in_any_order(
    driven: Driven, order: tuple[int, ...], readable: bool
) -> None:
    facts: list[Message] = [*FOUND[:2], buried(FOUND[2], readable=readable), answered()]
    for step, number in enumerate(order, 1):
        driven.ledger.record(facts[number])
        driven.ledger.record(facts[number])
        assert of_row(driven)[0] == ("failed" if step == len(facts) else "waiting")
    assert of_row(driven) == ("failed", "ledger:bad_message")


def test_a_lost_series_lets_the_batch_end_undelivered(driven: Driven) -> None:
    driven.ledger.record(buried(FOUND[2]))
    driven.line.found = {2: FOUND[:2]}
    for found in FOUND[:2]:
        driven.ledger.record(found)
    driven.ledger.record(answered())
    finish(driven)
    report = driven.report()
    assert report["series"] == {"complete": 2}
    assert report["delivered"] is False
    assert report["finished_at"] is not None


def test_a_dead_letter_that_is_replayed_after_the_end_is_fetched(driven: Driven) -> None:
    driven.ledger.record(buried(FOUND[2]))
    for found in FOUND[:2]:
        driven.ledger.record(found)
    driven.ledger.record(answered())
    finish(driven)
    driven.ledger.record(FOUND[2])
    assert driven.report()["finished_at"] is None
    finish(driven)
    assert of_row(driven) == ("answered", "")
    assert driven.report()["series"] == {"complete": 3}
    assert driven.report()["delivered"] is True


def test_a_dead_letter_of_a_series_that_another_row_found_leaves_that_row_alone(
    tmp_path: Path,
) -> None:
    batch = make_batch(2, save=True)
    shared = make_found(batch, 3, 1)
    driven = Driven(tmp_path, FakeLine(batch, {2: [make_found(batch, 2, 1)], 3: [shared]}))
    for message in driven.line.submit():
        driven.ledger.record(message)
    driven.ledger.record(shared)
    driven.ledger.record(buried(make_found(batch, 2, 1)))
    for row in (2, 3):
        driven.ledger.record(QueryAnswered(batch_id=batch.batch_id, row=row, series=1))
    finish(driven)
    states = [row["state"] for row in driven.report()["report"]]
    assert states == ["failed", "answered"]
    assert driven.report()["series"] == {"complete": 1}


def test_a_database_of_an_older_version_gets_the_new_column(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    with open_database(url).begin() as db:
        db.execute(text("ALTER TABLE row_series DROP COLUMN lost"))
        db.execute(text("INSERT INTO row_series VALUES ('b-0001', 2, '1.2.1')"))
    ledger = Ledger(open_database(url), lambda _: set())
    with ledger.engine.connect() as db:
        assert db.execute(text("SELECT lost FROM row_series")).scalars().all() == [""]


def finish(driven: Driven) -> None:
    """Let the line answer until nothing follows any more."""
    for _ in range(100):
        messages = driven.released()
        for message in messages:
            for fact in driven.line.answer(message):
                driven.ledger.record(fact)
        if not messages:
            return
    raise AssertionError("it never ends")
