"""What protects a PACS: places, rates, hours, the breaker, the disk."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pacstream.errors import InputError
from pacstream.messages import InstancesReceived, ReceivedInstance
from pacstream_ledger import control
from pacstream_ledger.throttle import Throttle
from tests.fakes.driven import Driven, series_of
from tests.fakes.line import FakeLine, make_batch, make_found

PACS = "PACS@127.0.0.1:104"


def driven_with(tmp_path: Path, series: int, throttle: Throttle | None = None) -> Driven:
    """A ledger that knows a batch of some series; nothing is released yet."""
    batch = make_batch(1, save=True)
    found = [make_found(batch, 2, number) for number in range(1, series + 1)]
    driven = Driven(tmp_path, FakeLine(batch, {2: found}), throttle=throttle)
    driven.submit()
    return driven


def hold(driven: Driven) -> str:
    with driven.ledger.engine.begin() as db:
        held = driven.ledger.gate.hold(db, PACS)
    return "" if held is None else held.reason


def arrive(driven: Driven, number: int, size: int, instances: int = 1) -> None:
    received = [
        ReceivedInstance(sop_instance_uid=f"9.{number}.{index}", path="x", size=size)
        for index in range(instances)
    ]
    driven.ledger.record(
        InstancesReceived(
            batch_id="b-0001", study_uid="1", series_uid="9", instances=tuple(received)
        )
    )


def test_no_more_c_moves_than_places(tmp_path: Path) -> None:
    driven = driven_with(tmp_path, 5, Throttle(moves=2))
    assert driven.requested() == ["1.2.1", "1.2.2"]
    assert driven.requested() == []
    driven.end("1.2.1", completed=3, status=0)
    assert driven.requested() == ["1.2.3"]


def test_a_place_is_taken_until_the_c_move_has_ended_though_every_instance_is_here(
    tmp_path: Path,
) -> None:
    driven = driven_with(tmp_path, 2, Throttle(moves=1))
    assert driven.requested() == ["1.2.1"]
    received = [
        ReceivedInstance(sop_instance_uid=f"1.2.1.{index}", path="x", size=1) for index in (1, 2, 3)
    ]
    driven.ledger.record(
        InstancesReceived(
            batch_id="b-0001", study_uid="1", series_uid="1.2.1", instances=tuple(received)
        )
    )
    assert series_of(driven.report())["1.2.1"]["retrieval"] == "received"
    assert driven.requested() == []
    driven.end("1.2.1", completed=3, status=0)
    assert driven.requested() == ["1.2.2"]


def test_rounds_for_missing_instances_need_a_place_too(tmp_path: Path) -> None:
    driven = driven_with(tmp_path, 3, Throttle(moves=1))
    assert driven.requested() == ["1.2.1"]
    driven.end("1.2.1", completed=3, status=0)
    assert driven.requested() == ["1.2.2"]
    driven.clock.now += 60.0
    assert driven.requested() == []


@pytest.mark.parametrize("seed", range(4))
def test_the_places_hold_over_a_whole_batch_with_losses(tmp_path: Path, seed: int) -> None:
    batch = make_batch(1, save=True)
    found = [make_found(batch, 2, number) for number in range(1, 9)]
    lose = {"1.2.2.1": 1, "1.2.5.3": 2, "1.2.7.1": 9}
    driven = Driven(
        tmp_path,
        FakeLine(batch, {2: found}, lose=lose),
        seed=seed,
        repeat=True,
        throttle=Throttle(moves=3),
    )
    assert driven.run()["series"] == {"complete": 7, "partial": 1}
    assert driven.most_under_way == 3


def test_series_per_minute(tmp_path: Path) -> None:
    driven = driven_with(tmp_path, 6, Throttle(moves=9, series_per_minute=2))
    assert len(driven.requested()) == 2
    driven.clock.now += 59.0
    assert driven.requested() == []
    driven.clock.now += 1.5
    assert len(driven.requested()) == 2


def test_less_than_one_series_per_minute(tmp_path: Path) -> None:
    driven = driven_with(tmp_path, 3, Throttle(moves=9, series_per_minute=0.5))
    assert len(driven.requested()) == 1
    driven.clock.now += 119.0
    assert driven.requested() == []
    driven.clock.now += 2.0
    assert len(driven.requested()) == 1


def test_bytes_that_have_come_hold_the_next_release_until_the_rate_is_kept(tmp_path: Path) -> None:
    driven = driven_with(tmp_path, 3, Throttle(moves=2, bytes_per_second=1000.0))
    driven.clock.now += 5.0
    arrive(driven, 1, size=10_000)
    assert hold(driven) == "bytes_per_second"
    driven.clock.now += 9.9
    assert driven.requested() == []
    driven.clock.now += 0.2
    assert len(driven.requested()) == 2


def test_instances_that_have_come_hold_the_next_release(tmp_path: Path) -> None:
    driven = driven_with(tmp_path, 1, Throttle(instances_per_second=10.0))
    arrive(driven, 1, size=1, instances=50)
    assert hold(driven) == "instances_per_second"
    driven.clock.now += 5.1
    assert driven.requested() == ["1.2.1"]


def test_outside_its_hours_nothing_is_released_and_the_status_says_until_when(
    tmp_path: Path,
) -> None:
    driven = driven_with(tmp_path, 1, Throttle(window="daily 19:00-06:00"))
    driven.clock.now = datetime(2026, 1, 5, 18, 0, tzinfo=UTC).timestamp()
    assert driven.requested() == []
    opens = datetime(2026, 1, 5, 19, 0, tzinfo=UTC).timestamp()
    assert driven.scheduler.held("b-0001") == {"reason": "outside_window", "until": opens}
    driven.clock.now = opens
    assert driven.requested() == ["1.2.1"]


def test_a_full_disk_holds_everything_and_rejects_nothing(tmp_path: Path) -> None:
    driven = driven_with(tmp_path, 1)
    driven.disk_is_low = True
    assert driven.requested() == []
    assert driven.scheduler.held("b-0001") == {"reason": "disk_low", "until": None}
    driven.disk_is_low = False
    assert driven.requested() == ["1.2.1"]


def test_limits_can_be_changed_at_run_time_and_outlive_the_ledger(tmp_path: Path) -> None:
    driven = driven_with(tmp_path, 9, Throttle(moves=1))
    assert len(driven.requested()) == 1
    control.set_throttle(driven.ledger, '{"limits": {"moves": 3, "bytes_per_second": 5e7}}')
    assert len(driven.requested()) == 2
    again = Driven(tmp_path, driven.line, throttle=Throttle(moves=1))
    with again.ledger.engine.begin() as db:
        (view,) = again.ledger.gate.view(db)
    assert view["pacs"] == PACS
    assert (view["limits"]["moves"], view["limits"]["bytes_per_second"]) == (3, 5e7)
    assert view["moving"] == 3


def test_a_pacs_may_be_named_by_its_ae_title_or_set_before_its_first_batch(tmp_path: Path) -> None:
    driven = driven_with(tmp_path, 1)
    view = control.set_throttle(driven.ledger, '{"pacs": "PACS", "limits": {"moves": 7}}')
    assert view["limits"]["moves"] == 7
    body = '{"pacs": "NEW@10.0.0.1:104", "limits": {"window": "Sat 00:00-24:00"}}'
    assert control.set_throttle(driven.ledger, body)["pacs"] == "NEW@10.0.0.1:104"
    with pytest.raises(InputError, match="name one PACS"):
        control.set_throttle(driven.ledger, '{"limits": {"moves": 7}}')


@pytest.mark.parametrize(
    "limits",
    [
        '{"moves": 0}',
        '{"window": "Foo 10:00-11:00"}',
        '{"time_zone": "Mars/Olympus"}',
        '{"speed": 3}',
        '{"holidays": ["yesterday"]}',
        '{"bytes_per_second": -1}',
    ],
)
def test_wrong_limits_are_refused_by_name_and_change_nothing(tmp_path: Path, limits: str) -> None:
    driven = driven_with(tmp_path, 1)
    name = limits.split('"')[1]
    with pytest.raises(InputError, match=name):
        control.set_throttle(driven.ledger, f'{{"limits": {limits}}}')
    with driven.ledger.engine.begin() as db:
        assert driven.ledger.gate.view_of(db, PACS)["limits"]["moves"] == 4


def test_two_pacs_have_limits_of_their_own(tmp_path: Path) -> None:
    driven = driven_with(tmp_path, 3, Throttle(moves=1))
    other = make_batch(1, save=True)
    node = other.pacs.model_copy(update={"address": "10.0.0.2"})
    other = other.model_copy(update={"batch_id": "b-0002", "pacs": node})
    driven.submit(FakeLine(other, {2: [make_found(other, 2, 50)]}))
    assert sorted(driven.requested()) == ["1.2.1", "1.2.50"]
