"""What `pacstream throttle set` makes of its options, and `show` of the ledger's answer."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from pacstream.errors import InputError
from pacstream_cli.commands_control import limits_of, rate_of, throttle_table
from pacstream_ledger.throttle import Throttle
from tests.unit.ledger.test_throttle import PACS, driven_with


@pytest.mark.parametrize(
    ("text", "rate"),
    [("50MB", 5e7), ("50 MB/s", 5e7), ("1.5GiB", 1.5 * 2**30), ("800k", 8e5), ("12", 12.0)],
)
def test_bytes_per_second_take_units(text: str, rate: float) -> None:
    assert rate_of("bytes_per_second", text) == rate


@pytest.mark.parametrize("text", ["fast", "50XB", "-1", "", "1.2.3"])
def test_a_rate_that_is_no_number_is_refused_by_its_option(text: str) -> None:
    with pytest.raises(InputError, match="--series-per-minute"):
        rate_of("series_per_minute", text)


def test_only_what_is_named_is_changed_and_none_lifts_a_limit() -> None:
    given = {"moves": None, "bytes_per_second": "none", "window": "none", "holiday": ()}
    assert limits_of(given) == {"bytes_per_second": None, "window": ""}
    assert limits_of({"holiday": ("2026-12-25",)}) == {"holidays": ["2026-12-25"]}
    assert limits_of({"holiday": ("none",), "moves": 3}) == {"holidays": [], "moves": 3}


def test_the_table_shows_limits_breaker_and_hold(tmp_path: Path) -> None:
    limits = Throttle(moves=1, bytes_per_second=5e7, window="daily 10:00-11:00")
    driven = driven_with(tmp_path, 1, limits)
    with driven.ledger.engine.begin() as db:
        view = driven.ledger.gate.view_of(db, PACS)
    text = io.StringIO()
    Console(file=text, width=200).print(throttle_table([view]))
    for part in (PACS, "1 C-MOVEs at once", "50 MB per second", "daily 10:00", "closed"):
        assert part in text.getvalue()
    assert "outside window until" in text.getvalue()
