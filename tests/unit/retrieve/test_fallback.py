"""A second archive is asked where the first can't deliver by C-MOVE; never a third one."""

from __future__ import annotations

import pytest

from pacstream.settings import Settings
from tests.fakes.datasets import make_series
from tests.fakes.pacs import FakePacs
from tests.unit.retrieve.asking import Bench, counters, node_at, pacs_for, request_for, with_profile
from tests.unit.store_scp.scp import Announcements, free_port, running


def test_a_pacs_that_does_not_know_our_store_scp_is_replaced_by_the_second_archive(
    settings: Settings, bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    series = make_series(instances=3)
    with (
        running(settings, Announcements()),
        FakePacs(series) as first,
        pacs_for(settings, series) as second,
        caplog.at_level("WARNING", logger="pacstream"),
    ):
        node = with_profile(first.node(), second.node())
        moved = bench.ask(request_for(node, series[0]))

    assert (moved.reason, counters(moved)) == ("", (3, 0, 0))
    assert len(first.asked("C-MOVE")) == 1
    assert any(
        r.getMessage() == "second archive"
        and getattr(r, "fields", {}).get("reason") == "move_destination_unknown"
        for r in caplog.records
    )


def test_a_pacs_whose_c_move_is_known_not_to_work_is_not_asked_at_all(
    settings: Settings, bench: Bench
) -> None:
    series = make_series(instances=3)
    with (
        running(settings, Announcements()),
        FakePacs(series) as first,
        pacs_for(settings, series) as second,
    ):
        node = with_profile(first.node(), second.node(), move_works=False)
        moved = bench.ask(request_for(node, series[0]))

    assert moved.reason == "" and first.associations == 0


def test_without_a_second_archive_it_is_asked_all_the_same(
    settings: Settings, bench: Bench
) -> None:
    series = make_series(instances=1)
    with FakePacs(series) as only:
        moved = bench.ask(request_for(with_profile(only.node(), move_works=False), series[0]))

    assert moved.reason == "move_destination_unknown"


def test_the_second_archive_may_have_a_way_of_its_own(settings: Settings, bench: Bench) -> None:
    series = make_series(instances=3)
    with FakePacs(series) as first, FakePacs(series) as second:
        own_way = with_profile(second.node(), retrieve="c-get")
        moved = bench.ask(request_for(with_profile(first.node(), own_way), series[0]))

    assert moved.reason == "" and len(bench.announced.uids) == 3


def test_there_is_no_third_archive(settings: Settings, bench: Bench) -> None:
    series = make_series(instances=1)
    with FakePacs(series) as first, FakePacs(series) as second, FakePacs(series) as third:
        node = with_profile(first.node(), with_profile(second.node(), third.node()))
        moved = bench.ask(request_for(node, series[0]))

    assert moved.reason == "move_destination_unknown"
    assert (first.associations, second.associations, third.associations) == (1, 1, 0)


def test_a_second_archive_that_is_away_is_the_reason(bench: Bench) -> None:
    series = make_series(instances=1)
    with FakePacs(series) as first:
        node = with_profile(first.node(), node_at(free_port()))
        moved = bench.ask(request_for(node, series[0]))

    assert moved.reason == "pacs_unreachable"
