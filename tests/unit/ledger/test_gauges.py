"""What the ledger shows to Prometheus."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from pacstream.metrics import Gauge, Lookup
from pacstream_ledger import control
from pacstream_ledger.gauges import gauges
from pacstream_ledger.throttle import Throttle
from tests.fakes.driven import Driven
from tests.fakes.line import FakeLine, make_batch, make_found

PACS = "PACS@127.0.0.1:104"


def driven_with(tmp_path: Path, series: int, moves: int) -> Driven:
    batch = make_batch(1, save=True)
    found = [make_found(batch, 2, number) for number in range(1, series + 1)]
    driven = Driven(tmp_path, FakeLine(batch, {2: found}), throttle=Throttle(moves=moves))
    driven.submit()
    return driven


def values(driven: Driven, tmp_path: Path) -> dict[tuple[str, ...], float]:
    return {
        (one.name.removeprefix("pacstream_"), *one.labels.values()): one.value
        for one in gauges(driven.ledger, tmp_path)
    }


def test_what_waits_is_counted_by_its_state(tmp_path: Path) -> None:
    driven = driven_with(tmp_path, 5, moves=2)
    assert len(driven.requested()) == 2
    told = values(driven, tmp_path)
    assert told["batches_running",] == 1
    assert told["rows_waiting",] == 0
    assert told["series_pending", "retrieving"] == 2
    assert told["series_pending", "waiting"] == 3
    assert told["pacs_moves", PACS] == told["pacs_moves_allowed", PACS] == 2
    assert told["pacs_breaker", PACS, "closed"] == 1
    assert told["pacs_breaker", PACS, "open"] == 0
    assert 0 < told["disk_free_bytes",] <= told["disk_bytes",]


def test_taken_places_are_no_hold_and_closed_hours_are(tmp_path: Path) -> None:
    driven = driven_with(tmp_path, 2, moves=1)
    assert len(driven.requested()) == 1
    assert not [key for key in values(driven, tmp_path) if key[0] == "pacs_held"]
    limits = '{"limits": {"window": "Mon 00:00-00:01", "moves": 9}}'
    control.set_throttle(driven.ledger, limits)
    assert values(driven, tmp_path)["pacs_held", PACS, "outside_window"] == 1


def test_a_batch_that_has_ended_waits_for_nothing(tmp_path: Path) -> None:
    driven = driven_with(tmp_path, 2, moves=1)
    control.cancel(driven.ledger, driven.line.batch.batch_id)
    told = values(driven, tmp_path)
    assert told["batches_running",] == 0
    assert not [key for key in told if key[0] == "series_pending"]


def test_gauges_of_one_name_are_one_family_and_asked_anew() -> None:
    now = [Gauge("a_b", "Some.", 1, {"state": "x"}), Gauge("a_b", "Some.", 2, {"state": "y"})]
    registry = CollectorRegistry()
    registry.register(Lookup(lambda: now))
    text = generate_latest(registry).decode()
    assert text.count("# TYPE a_b gauge") == 1
    assert 'a_b{state="x"} 1.0' in text and 'a_b{state="y"} 2.0' in text
    now[:] = []
    assert "a_b" not in generate_latest(registry).decode()
