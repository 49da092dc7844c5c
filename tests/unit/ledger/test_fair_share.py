"""Whose turn it is: no batch waits for another one's end, and priority is a share, not a right."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from pacstream_ledger import control
from pacstream_ledger.throttle import Throttle
from tests.fakes.driven import Driven
from tests.fakes.line import FakeLine, make_batch, make_found


def line_of(batch_id: str, numbers: range, priority: int = 0) -> FakeLine:
    batch = make_batch(1, save=True).model_copy(update={"batch_id": batch_id, "priority": priority})
    return FakeLine(batch, {2: [make_found(batch, 2, number) for number in numbers]})


def with_lines(tmp_path: Path, *lines: FakeLine, moves: int = 1) -> Driven:
    driven = Driven(tmp_path, lines[0], throttle=Throttle(moves=moves))
    for line in lines:
        driven.submit(line)
    return driven


def turns(driven: Driven, count: int) -> list[str]:
    """The batches of the next releases, each of which ends at once."""
    seen: list[str] = []
    while len(seen) < count:
        released = [m for m in driven.released() if m.topic == "series.requested"]
        assert released, "nothing is released"
        for message in released:
            seen.append(message.correlation_id)
            uid = message.order.series.series_uid  # type: ignore[attr-defined]  # by its topic
            driven.end(uid, message.correlation_id, status=0, completed=3)
    return seen


def test_a_small_batch_behind_a_large_one_starts_within_one_series_time(tmp_path: Path) -> None:
    large = line_of("b-large", range(1, 301))
    driven = with_lines(tmp_path, large)
    turns(driven, 40)
    driven.submit(line_of("b-small", range(1000, 1001)))
    assert "b-small" in turns(driven, 2)


def test_equal_batches_take_turns_with_one_place(tmp_path: Path) -> None:
    lines = [line_of(f"b-0{n}", range(100 * n, 100 * n + 50)) for n in (1, 2, 3)]
    driven = with_lines(tmp_path, *lines)
    assert Counter(turns(driven, 30)) == {"b-01": 10, "b-02": 10, "b-03": 10}


def test_each_step_of_priority_doubles_the_share_and_starves_nobody(tmp_path: Path) -> None:
    driven = with_lines(
        tmp_path, line_of("b-low", range(1, 60)), line_of("b-high", range(100, 200), priority=2)
    )
    shares = Counter(turns(driven, 50))
    assert shares == {"b-high": 40, "b-low": 10}


def test_the_higher_of_two_new_batches_goes_first(tmp_path: Path) -> None:
    driven = with_lines(
        tmp_path, line_of("b-aa", range(1, 9)), line_of("b-zz", range(20, 29), priority=1)
    )
    assert turns(driven, 1) == ["b-zz"]


def test_a_priority_that_is_changed_holds_for_the_next_release(tmp_path: Path) -> None:
    driven = with_lines(tmp_path, line_of("b-01", range(1, 90)), line_of("b-02", range(100, 190)))
    turns(driven, 10)
    control.set_priority(driven.ledger, "b-02", 3)
    assert Counter(turns(driven, 45))["b-02"] == pytest.approx(40, abs=1)


def test_a_batch_that_was_paused_has_no_claims_on_the_past(tmp_path: Path) -> None:
    driven = with_lines(tmp_path, line_of("b-01", range(1, 90)), line_of("b-02", range(100, 190)))
    control.pause(driven.ledger, "b-02")
    turns(driven, 40)
    control.resume(driven.ledger, "b-02")
    assert Counter(turns(driven, 20))["b-02"] == pytest.approx(10, abs=1)


def test_one_series_of_two_batches_is_never_moved_twice_at_once(tmp_path: Path) -> None:
    driven = with_lines(
        tmp_path, line_of("b-01", range(1, 3)), line_of("b-02", range(1, 3)), moves=4
    )
    assert sorted(driven.requested()) == ["1.2.1", "1.2.2"]
    assert driven.requested() == []
