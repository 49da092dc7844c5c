"""A cancelled batch: nothing new is asked, what is under way is ended as the PACS allows it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pacstream.archive import Archive
from pacstream.messages import SeriesMoved, SeriesRequested
from pacstream.settings import Settings
from tests.fakes.datasets import make_series
from tests.fakes.pacs import Behaviour, FakePacs
from tests.unit.retrieve.asking import Bench, pacs_for, request_for, with_profile
from tests.unit.store_scp.scp import BATCH, Announcements, running, wait_for

WAYS = pytest.mark.parametrize("way", ["c-move", "c-get"])


@contextmanager
def cancelling(archive: Archive, pacs: FakePacs, after: int) -> Iterator[None]:
    """Cancel the batch once the PACS has sent so many instances."""

    def cancel() -> None:
        wait_for(lambda: len(pacs.sent) >= after)
        archive.cancel(BATCH)

    thread = threading.Thread(target=cancel)
    thread.start()
    yield
    thread.join(20)


def ask(
    bench: Bench, pacs: FakePacs, request: SeriesRequested, after: int = 2, **settings: float
) -> SeriesMoved:
    with cancelling(bench.archive, pacs, after):
        return bench.ask(request, **settings)


@WAYS
def test_a_batch_that_is_cancelled_before_is_not_asked_for(
    way: str, settings: Settings, bench: Bench
) -> None:
    series = make_series(instances=2)
    bench.archive.cancel(BATCH)
    with pacs_for(settings, series) as pacs:
        moved = bench.ask(request_for(with_profile(pacs.node(), retrieve=way), series[0]))

    assert (moved.status, moved.reason) == (None, "cancelled")
    assert pacs.associations == 0
    assert not bench.archive.incoming.exists()


@WAYS
def test_what_is_under_way_is_cancelled_with_c_cancel(
    way: str, settings: Settings, bench: Bench
) -> None:
    series = make_series(instances=60)
    behaviour = Behaviour(move_delay_s=0.05)
    with running(settings, Announcements()), pacs_for(settings, series, behaviour) as pacs:
        node = with_profile(pacs.node(), retrieve=way)
        moved = ask(bench, pacs, request_for(node, series[0]))

    assert (moved.status, moved.reason) == (0xFE00, "cancelled")
    assert moved.completed is not None and 2 <= moved.completed < 60
    assert moved.completed + (moved.remaining or 0) == 60


@WAYS
def test_a_silent_pacs_is_cancelled_too(way: str, settings: Settings, bench: Bench) -> None:
    series = make_series(instances=4)
    behaviour = Behaviour(stall_after=2)
    with running(settings, Announcements()), pacs_for(settings, series, behaviour) as pacs:
        node = with_profile(pacs.node(), retrieve=way)
        moved = ask(bench, pacs, request_for(node, series[0]), idle_timeout_s=30)

    assert moved.reason == "cancelled"
    assert moved.seconds < 5


@WAYS
def test_a_pacs_that_ignores_c_cancel_is_aborted_after_a_while(
    way: str, settings: Settings, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pacstream_retrieve.exchange.CANCEL_GRACE_S", 0.3)
    series = make_series(instances=60)
    behaviour = Behaviour(move_delay_s=0.05, ignore_cancel=True)
    with running(settings, Announcements()), pacs_for(settings, series, behaviour) as pacs:
        node = with_profile(pacs.node(), retrieve=way)
        moved = ask(bench, pacs, request_for(node, series[0]))

    assert (moved.status, moved.reason) == (None, "cancelled")
    assert moved.seconds < 2.5


def test_a_pacs_that_knows_no_c_cancel_runs_out(settings: Settings, bench: Bench) -> None:
    series = make_series(instances=10)
    behaviour = Behaviour(move_delay_s=0.05, ignore_cancel=True)
    with running(settings, Announcements()), pacs_for(settings, series, behaviour) as pacs:
        node = with_profile(pacs.node(), cancels=False)
        moved = ask(bench, pacs, request_for(node, series[0]))

    assert (moved.status, moved.reason, moved.completed) == (0x0000, "", 10)


def test_a_pacs_that_knows_no_c_cancel_runs_to_the_deadline_at_most(
    settings: Settings, bench: Bench
) -> None:
    series = make_series(instances=60)
    behaviour = Behaviour(move_delay_s=0.05, ignore_cancel=True)
    with running(settings, Announcements()), pacs_for(settings, series, behaviour) as pacs:
        node = with_profile(pacs.node(), cancels=False)
        began = time.monotonic()
        moved = ask(bench, pacs, request_for(node, series[0]), move_deadline_s=1.0)

    assert (moved.status, moved.reason) == (None, "deadline")
    assert time.monotonic() - began < 3


def test_of_the_lists_that_are_still_to_be_asked_none_is(
    settings: Settings, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pacstream_retrieve.exchange.UIDS_AT_ONCE", 4)
    series = make_series(instances=12)
    uids = [d.SOPInstanceUID for d in series]
    behaviour = Behaviour(move_delay_s=0.1, ignore_cancel=True)
    with running(settings, Announcements()), pacs_for(settings, series, behaviour) as pacs:
        node = with_profile(pacs.node(), cancels=False)
        moved = ask(bench, pacs, request_for(node, series[0], uids))

    assert (moved.reason, moved.completed) == ("cancelled", 4)
    assert len(pacs.asked("C-MOVE")) == 1
