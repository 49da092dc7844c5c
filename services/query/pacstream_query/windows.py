"""Windows of StudyDate and StudyTime: what a query is split into when a PACS cuts answers short."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace

FIRST_DAY = datetime.date(1900, 1, 1)
"""Where halving starts; studies before it stay in the first window, which is open."""
LAST_SECOND = 24 * 3600 - 1


@dataclass(frozen=True)
class Window:
    """Studies from `first` to `last`, or, of a single day, from second `start` to second `end`.

    None as an end leaves it open.
    """

    first: datetime.date | None
    last: datetime.date | None
    start: int = 0
    end: int = LAST_SECOND

    @classmethod
    def of(cls, date_key: str, time_key: str) -> Window | None:
        """The window that keys of a row mean; None if they can't be split."""
        span = _seconds(time_key)
        if span is None:
            return None
        low, dash, high = date_key.partition("-")
        try:
            return cls(_date(low), _date(high if dash else low), *span)
        except ValueError:
            return None

    @property
    def is_part_of_a_day(self) -> bool:
        return self.first == self.last and (self.start, self.end) != (0, LAST_SECOND)

    def keys(self, time_key: str) -> dict[str, str]:
        """The C-FIND keys; `time_key` is the row's own, sent unless the window cuts it."""
        whole = _seconds(time_key) == (self.start, self.end)
        return {
            "StudyDate": _range(_digits(self.first), _digits(self.last)),
            "StudyTime": time_key if whole else _range(_clock(self.start), _clock(self.end)),
        }

    def halves(self, today: datetime.date) -> tuple[Window, Window] | None:
        """Two windows that hold together what this one holds, each study once.

        A single day is split by time. A second, and what lies before 1900 or after `today`, can't
        be split: None.
        """
        first = self.first or min(FIRST_DAY, self.last or FIRST_DAY)
        last = self.last or max(today, first)
        if first < last:
            middle = first + (last - first) // 2
            following = middle + datetime.timedelta(days=1)
            return replace(self, last=middle), replace(self, first=following)
        if self.last is None and self.first == today:
            following = today + datetime.timedelta(days=1)
            return replace(self, last=today), replace(self, first=following)
        if self.first is None or self.last is None or self.start == self.end:
            return None
        half = (self.start + self.end) // 2
        return replace(self, end=half), replace(self, start=half + 1)


def _date(text: str) -> datetime.date | None:
    if not text:
        return None
    return datetime.date(int(text[:4]), int(text[4:6]), int(text[6:8]))


def _digits(date: datetime.date | None) -> str:
    return "" if date is None else f"{date:%Y%m%d}"


def _range(low: str, high: str) -> str:
    return low if low == high else f"{low}-{high}"


def _clock(second: int) -> str:
    return f"{second // 3600:02}{second // 60 % 60:02}{second % 60:02}"


def _seconds(time_key: str) -> tuple[int, int] | None:
    """First and last second of a TM key; None if it goes below seconds."""
    if "." in time_key:
        return None
    low, dash, high = time_key.partition("-")
    high = high if dash else low
    start, end = low + "000000"[len(low) :], high + "235959"[len(high) :]
    return _second(start), min(_second(end), LAST_SECOND)


def _second(clock: str) -> int:
    return int(clock[:2]) * 3600 + int(clock[2:4]) * 60 + int(clock[4:6])
