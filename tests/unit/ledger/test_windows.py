"""Weekly hours, holidays, time zones and the two nights of the year that have another length."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest

from pacstream_ledger.windows import Windows, parse_hours

NIGHTS = "Mon-Fri 19:00-06:00, Sat-Sun 00:00-24:00"
ZURICH = ZoneInfo("Europe/Zurich")


def windows(text: str, *holidays: str, zone: ZoneInfo = ZURICH) -> Windows:
    days = frozenset(date.fromisoformat(day) for day in holidays)
    return Windows(parse_hours(text), days, zone)


def at(text: str, zone: ZoneInfo = ZURICH) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-01-05 18:59", False),  # a Monday
        ("2026-01-05 19:00", True),
        ("2026-01-06 05:59", True),
        ("2026-01-06 06:00", False),
        ("2026-01-05 03:00", False),  # Sunday's hours end at midnight, Monday's start at 19:00
        ("2026-01-10 05:59", True),
        ("2026-01-10 12:00", True),  # a Saturday
        ("2026-01-11 23:59", True),
        ("2026-01-12 00:00", False),
    ],
)
def test_nights_and_weekends_are_open_to_the_minute(moment: str, is_open: bool) -> None:
    assert windows(NIGHTS).is_open(at(moment)) is is_open


def test_hours_over_midnight_belong_to_the_day_they_start_on() -> None:
    assert windows("Fri 22:00-04:00").is_open(at("2026-01-10 03:00"))
    assert not windows("Fri 22:00-04:00").is_open(at("2026-01-09 03:00"))


def test_a_holiday_counts_as_a_sunday() -> None:
    friday_noon = at("2026-12-25 12:00")
    assert not windows(NIGHTS).is_open(friday_noon)
    assert windows(NIGHTS, "2026-12-25").is_open(friday_noon)


def test_the_hours_are_those_of_the_time_zone() -> None:
    noon_in_zurich = at("2026-01-05 20:00")
    assert windows(NIGHTS).is_open(noon_in_zurich)
    assert not windows(NIGHTS, zone=ZoneInfo("America/New_York")).is_open(noon_in_zurich)


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
def test_the_hours_hold_when_the_clocks_change(day: str) -> None:
    hours = windows("daily 01:00-05:00")
    assert hours.is_open(at(f"{day} 04:30"))
    assert not hours.is_open(at(f"{day} 05:00"))


def test_it_tells_when_the_next_hours_start() -> None:
    assert windows(NIGHTS).opens_at(at("2026-01-05 10:00")) == at("2026-01-05 19:00")
    assert windows("Sun 03:00-04:00").opens_at(at("2026-01-05 10:00")) == at("2026-01-11 03:00")
    assert windows(NIGHTS).opens_at(at("2026-01-10 10:00")) == at("2026-01-10 10:00")


def test_no_hours_are_always_open() -> None:
    assert windows("").is_open(at("2026-01-05 10:00"))


@pytest.mark.parametrize(
    "text",
    ["Mon", "Mon 25:00-26:00", "Foo 10:00-11:00", "Mon 10:00-10:00", "Mon-Foo 1:00-2:00", "19-06"],
)
def test_hours_that_are_none_are_refused_with_the_part_that_is_wrong(text: str) -> None:
    with pytest.raises(ValueError, match=text.split()[0]):
        parse_hours(f"Sat 10:00-11:00, {text}")


def test_open_time_is_counted_back_over_closed_hours() -> None:
    monday_noon = at("2026-01-05 12:00")
    assert windows(NIGHTS).began(monday_noon, 6 * 3600) == at("2026-01-04 18:00")
    assert windows(NIGHTS).began(monday_noon, 30 * 3600) == at("2026-01-03 18:00")
    assert windows("Wed 00:00-12:00").began(monday_noon, 24 * 3600) == at("2025-12-24 00:00")
    assert windows("").began(monday_noon, 3600.0) == monday_noon - 3600.0
