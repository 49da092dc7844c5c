"""A ledger alone, with a fake line around it and a bus that delivers in any order."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from pacstream.messages import Message, SeriesMoved, SeriesRequested
from pacstream_ledger import views
from pacstream_ledger.ledger import Ledger
from pacstream_ledger.scheduler import Scheduler
from pacstream_ledger.schema import open_database
from pacstream_ledger.throttle import Throttle
from tests.fakes.line import FakeLine


class Clock:
    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'ledger.db'}"


class Driven:
    """`where`: a folder for a SQLite database, or the URL of a database.

    `on_step` is called before each delivery with its number: a test cancels or pauses there.
    `at_once`: facts of one delivery, at most; they are recorded in one transaction.
    """

    def __init__(
        self,
        where: Path | str,
        line: FakeLine,
        *,
        seed: int = 0,
        repeat: bool = False,
        at_once: int = 1,
        throttle: Throttle | None = None,
        on_step: Callable[[int], None] | None = None,
        untried_limit_s: float = 24 * 3600.0,
    ) -> None:
        self.line = line
        self.clock = Clock()
        self.disk_is_low = False
        self.cancelled: list[str] = []
        self.kept: list[views.View] = []
        self.ledger = Ledger(
            open_database(sqlite_url(where) if isinstance(where, Path) else where),
            line.present,
            cancel=self._cancel,
            keep_view=self.kept.append,
            disk_is_low=lambda: self.disk_is_low,
            throttle=throttle or Throttle(moves=4),
            clock=self.clock,
        )
        self.scheduler = Scheduler(self.ledger, untried_limit_s=untried_limit_s)
        self.random = random.Random(seed)
        self.repeat = repeat
        self.at_once = at_once
        self.on_step = on_step
        self.under_way: set[tuple[str, str, int]] = set()
        self.most_under_way = 0

    def run(self) -> views.View:
        """Deliver messages in random order until nothing happens any more."""
        bus: list[Message] = self.line.submit()
        for step in range(5000):
            if self.on_step is not None:
                self.on_step(step)
            if not bus:
                self.clock.now += 60.0
            bus.extend(self.released())
            if not bus and self.report()["finished_at"] is not None:
                return self.report()
            if bus:
                self._deliver(bus)
            assert_conserved(self.report_or_none())
        raise AssertionError("the batch never finished")

    def submit(self, line: FakeLine | None = None) -> None:
        """The ledger knows all rows and series of the line's batch; nothing is released yet."""
        line = line or self.line
        for message in line.submit():
            self.ledger.record(message)
            for fact in line.answer(message):
                self.ledger.record(fact)

    def released(self) -> list[Message]:
        """What follows now; counts as sent."""
        self.scheduler.tick()
        messages: list[Message] = []
        while pending := self.ledger.outbox():
            messages += [one.message for one in pending]
            self.ledger.sent(pending[-1])
        self._watch(messages)
        return messages

    def unsent(self) -> list[Message]:
        """What has followed so far; stays unsent."""
        return [one.message for one in self.ledger.outbox()]

    def requested(self) -> list[str]:
        """The series that are released now."""
        return [
            message.order.series.series_uid
            for message in self.released()
            if isinstance(message, SeriesRequested)
        ]

    def end(self, series_uid: str, batch_id: str = "", **fields: object) -> None:
        """The last requested C-MOVE of a series ends as `fields` say; default: refused."""
        batch_id = batch_id or self.line.batch.batch_id
        with self.ledger.engine.connect() as db:
            order = self.ledger.order_row(db, batch_id, series_uid)
        assert order is not None
        key = {"batch_id": batch_id, "series_uid": series_uid, "round": order.round}
        self.ledger.record(SeriesMoved.model_validate({**key, **fields}))

    def report_or_none(self, batch_id: str = "") -> views.View | None:
        return views.batch_report(self.ledger.engine, batch_id or self.line.batch.batch_id)

    def report(self, batch_id: str = "") -> views.View:
        report = self.report_or_none(batch_id)
        assert report is not None
        return report

    def _cancel(self, batch_id: str) -> None:
        self.cancelled.append(batch_id)

    def _watch(self, messages: list[Message]) -> None:
        """How many C-MOVEs are asked for and not ended, at most."""
        for message in messages:
            if isinstance(message, SeriesRequested):
                uid = message.order.series.series_uid
                self.under_way.add((message.batch_id, uid, message.round))
        self.most_under_way = max(self.most_under_way, len(self.under_way))

    def _deliver(self, bus: list[Message]) -> None:
        facts: list[Message] = []
        for _ in range(min(self.at_once, len(bus))):
            message = bus.pop(self.random.randrange(len(bus)))
            bus.extend(self.line.answer(message))
            if isinstance(message, SeriesMoved):
                self.under_way.discard((message.batch_id, message.series_uid, message.round))
            if type(message) in self.ledger._handlers or message.topic == "query.requested":
                facts.append(message)
        if facts:
            self.ledger.record(*facts)
            if self.repeat and self.random.random() < 0.5:
                self.ledger.record(*facts)


def assert_conserved(report: views.View | None) -> None:
    """expected = done + withheld + failed + cancelled + pending, per series, row and batch."""
    if report is None:
        return
    counts = [series["instances"] for row in report["report"] for series in row["series"]]
    for one in [*counts, report["instances"]]:
        ends = ("done", "withheld", "failed", "cancelled", "pending")
        assert one["expected"] == sum(one[key] for key in ends)
    unique = {one["series_uid"]: one["instances"] for one in series_of(report).values()}
    for key, total in report["instances"].items():
        assert total == sum(one[key] for one in unique.values()), key


def series_of(report: views.View) -> dict[str, views.View]:
    return {one["series_uid"]: one for row in report["report"] for one in row["series"]}
