"""Weekly hours in which a PACS may be asked for images.

    Mon-Fri 19:00-06:00, Sat-Sun 00:00-24:00

Hours that end before they start run into the next morning and belong to the day they start on.
A holiday counts as a Sunday.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SUNDAY = 6
DAY_MINUTES = 24 * 60
HOURS = re.compile(r"([a-z]{3,5})(?:-([a-z]{3}))? +(\d\d?):(\d\d)-(\d\d?):(\d\d)")


STEP_S = 600.0
FURTHEST_S = 60 * 86400.0


@dataclass(frozen=True)
class Hours:
    """Minutes after midnight on some days of the week (Monday is 0); `end` may pass midnight."""

    days: frozenset[int]
    start: int
    end: int


@dataclass(frozen=True)
class Windows:
    """No hours at all means: always open."""

    hours: tuple[Hours, ...]
    holidays: Collection[date]
    zone: tzinfo

    def is_open(self, now: float) -> bool:
        """`now`: seconds since the epoch."""
        if not self.hours:
            return True
        local = datetime.fromtimestamp(now, self.zone)
        minute = local.hour * 60 + local.minute
        today = local.date()
        yesterday = today - timedelta(days=1)
        return self._covers(today, minute) or self._covers(yesterday, minute + DAY_MINUTES)

    def opens_at(self, now: float) -> float:
        """`now` itself while open, else when the next hours start."""
        if self.is_open(now):
            return now
        today = datetime.fromtimestamp(now, self.zone).date()
        starts = (
            self._moment(today + timedelta(days=offset), hours.start)
            for offset in range(9)
            for hours in self._of_day(today + timedelta(days=offset))
        )
        return min(start for start in starts if start > now)

    def began(self, now: float, open_s: float) -> float:
        """Since when the hours have been open for `open_s` seconds, to ten minutes; closed hours do
        not count. Looks back for two months at most."""
        if not self.hours:
            return now - open_s
        moment = now
        while open_s > 0 and now - moment < FURTHEST_S:
            moment -= STEP_S
            open_s -= STEP_S if self.is_open(moment) else 0
        return moment

    def _covers(self, day: date, minute: int) -> bool:
        return any(hours.start <= minute < hours.end for hours in self._of_day(day))

    def _of_day(self, day: date) -> list[Hours]:
        weekday = SUNDAY if day in self.holidays else day.weekday()
        return [hours for hours in self.hours if weekday in hours.days]

    def _moment(self, day: date, minute: int) -> float:
        return datetime.combine(day, time(minute // 60, minute % 60), self.zone).timestamp()


def parse_hours(text: str) -> tuple[Hours, ...]:
    """Raises ValueError that quotes the part which is no window. Empty text: no hours."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return tuple(_parse_part(part) for part in parts)


def _parse_part(part: str) -> Hours:
    match = HOURS.fullmatch(part.lower())
    if match is None:
        raise ValueError(f"{part!r} is not like 'Mon-Fri 19:00-06:00'")
    first, last, *numbers = match.groups()
    start_hour, start_minute, end_hour, end_minute = (int(number) for number in numbers)
    start, end = start_hour * 60 + start_minute, end_hour * 60 + end_minute
    if start_minute > 59 or end_minute > 59 or start >= DAY_MINUTES or end > DAY_MINUTES:
        raise ValueError(f"{part!r} has an impossible time of day")
    if start == end:
        raise ValueError(f"{part!r} is empty: write 00:00-24:00 for a whole day")
    return Hours(_days(part, first, last), start, end if end > start else end + DAY_MINUTES)


def _days(part: str, first: str, last: str | None) -> frozenset[int]:
    if first == "daily" and last is None:
        return frozenset(range(7))
    if first not in DAYS or (last is not None and last not in DAYS):
        raise ValueError(f"{part!r} has an unknown day: Mon Tue Wed Thu Fri Sat Sun, or daily")
    start = DAYS.index(first)
    length = (DAYS.index(last or first) - start) % 7 + 1
    return frozenset((start + offset) % 7 for offset in range(length))
