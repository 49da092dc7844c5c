"""A delivery from the first look at the folder to the report: threads, retries, journal."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path

from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_exponential

from pacstream.errors import InputError
from pacstream_exporter.delivery.carrier import Carrier
from pacstream_exporter.delivery.inventory import (
    UNREADABLE,
    Inventory,
    Item,
    digest_of,
    take_stock,
)
from pacstream_exporter.delivery.journal import KEPT, Journal, folder_of
from pacstream_exporter.delivery.outcome import (
    NOT_COMMITTED,
    NOT_LISTED,
    Delivery,
    Result,
    State,
    failed,
    summed,
)
from pacstream_exporter.delivery.report import write_report

LONGEST_PAUSE_S = 60.0
MISSING = frozenset({NOT_LISTED, NOT_COMMITTED})
"""The destination says that it has not what it took. It is asked again a moment later, because it
may index late; then the file is sent once more."""
GONE = frozenset(
    {"pacs_unreachable", "connection_timed_out", "association_aborted", "destination_unreachable"}
)
"""All files of a lot, and every try: the others are not tried any more."""


@dataclass(frozen=True)
class Wish:
    """What is wanted: `places`, folders or files, are delivered to `carrier`, which `name` names.
    There a file has the name that it has below `root`; without it, below its folder."""

    places: tuple[Path, ...]
    name: str
    carrier: Carrier
    data: Path
    """The trusted zone."""
    jobs: int = 2
    tries: int = 4
    """Of each file, for what time may cure."""
    pause_s: float = 2.0
    """Before the second try; then doubled."""
    root: Path | None = None
    from_the_start: bool = False
    """Whatever the journal says."""


def _always() -> bool:
    return True


@dataclass(frozen=True)
class Watcher:
    """`progress` is told files done and in all; `may_go_on` is asked between two files."""

    progress: Callable[[int, int], None] = field(default=lambda done, total: None)
    may_go_on: Callable[[], bool] = field(default=_always)


class _AgainError(Exception):
    """Some files of a lot may be tried again."""


def deliver(wish: Wish, watcher: Watcher | None = None) -> Result:
    """Deliver all files, verify them as asked, write the report.

    One bad file stops no other. Raises InputError if there is nothing to deliver or the
    destination refuses us; RetryLaterError if it can't be reached, or another run delivers there.
    """
    started = time.monotonic()
    stock = take_stock(wish.places, instances_only=wish.carrier.instances_only, root=wish.root)
    if not stock.items and not stock.broken:
        kind = "DICOM instance" if wish.carrier.instances_only else "file"
        raise InputError(f"there is no {kind} in the folder")
    wish.carrier.check()
    folder = folder_of(wish.data, wish.name)
    with Journal.opened(folder) as journal:
        run = _Run(wish, watcher or Watcher(), journal, stock)
        deliveries = run.all()
    sent = (run.sent_bytes, time.monotonic() - started)
    result = summed(wish.name, deliveries, stock.left_out, sent)
    return replace(result, report=write_report(folder, deliveries))


class _Run:
    def __init__(self, wish: Wish, watcher: Watcher, journal: Journal, stock: Inventory) -> None:
        self._wish = wish
        self._carrier = wish.carrier
        self._watcher = watcher
        self._journal = journal
        self._stock = stock
        self._digests: dict[str, str] = {}
        self._found: dict[Path, Delivery] = {}
        self._lock = threading.Lock()
        self._stopped = False
        self._gone = ""
        self.sent_bytes = 0

    def all(self) -> list[Delivery]:
        for item, reason in self._stock.broken:
            self._take(failed(item, reason))
        self._send([item for item in self._stock.items if not self._was_done(item)])
        self._verify()
        for once_more in (self._look_again, self._send):
            missing = [one.item for one in self._in(State.UNVERIFIED) if one.reason in MISSING]
            if not missing or self._stopped:
                break
            time.sleep(self._wish.pause_s)
            once_more(missing)
            self._verify()
        return [self._found[item.path] for item in self._everything()]

    def _everything(self) -> Iterable[Item]:
        for item in self._stock.items:
            if item.path not in self._found:
                self._take(Delivery(item, State.WAITING, "stopped"))
        return [*self._stock.items, *(item for item, _ in self._stock.broken)]

    def _was_done(self, item: Item) -> bool:
        """Whether the journal has the file with this content."""
        if self._wish.from_the_start or not self._journal.has(item.key):
            return False
        known = self._journal.known(item.key, self._digest(item))
        if known is None or known[0] is State.UNVERIFIED:
            return False
        state, evidence = known
        if state is State.DELIVERED and evidence in self._carrier.asked:
            self._take(Delivery(item, state, evidence=evidence, was_there=True), note=False)
        else:
            self._take(Delivery(item, State.SENT, was_there=True), note=False)
        return True

    def _look_again(self, items: Sequence[Item]) -> None:
        for item in items:
            self._take(Delivery(item, State.SENT))

    def _send(self, items: Sequence[Item]) -> None:
        with ThreadPoolExecutor(self._wish.jobs) as workers:
            lots = [
                workers.submit(self._send_lot, lot)
                for lot in self._carrier.lots(items, self._wish.jobs)
            ]
            try:
                for lot in as_completed(lots):
                    lot.result()
            except BaseException:
                self._stopped = True
                workers.shutdown(cancel_futures=True)
                raise

    def _send_lot(self, lot: Sequence[Item]) -> None:
        pending = [item for item in lot if self._has_digest(item)]
        left: list[Delivery] = []
        tries = Retrying(
            stop=stop_after_attempt(self._wish.tries),
            wait=wait_exponential(multiplier=self._wish.pause_s, max=LONGEST_PAUSE_S),
            retry=retry_if_exception_type(_AgainError),
        )
        try:
            for attempt in tries:
                with attempt:
                    left = self._try(pending)
                    pending = [one.item for one in left]
                    if pending:
                        raise _AgainError
        except RetryError:
            for one in left:
                self._take(replace(one, again=False))
            if len(left) == len(lot) and all(one.reason in GONE for one in left):
                self._gone = left[0].reason

    def _try(self, items: Sequence[Item]) -> list[Delivery]:
        """What is worth another try."""
        again: list[Delivery] = []
        if self._gone:
            for item in items:
                self._take(failed(item, self._gone))
            return again
        told = self._carrier.send(items)
        with contextlib.closing(told):
            while not self._is_stopped() and (one := next(told, None)) is not None:
                if one.again:
                    again.append(one)
                else:
                    self._take(one)
        self._journal.flush()
        return [] if self._stopped else again

    def _is_stopped(self) -> bool:
        if not self._stopped and not self._watcher.may_go_on():
            self._stopped = True
        return self._stopped

    def _verify(self) -> None:
        sent = self._in(State.SENT)
        if sent:
            for one in self._carrier.verify(sent):
                self._take(one)
            self._journal.flush()

    def _in(self, state: State) -> list[Delivery]:
        return [one for one in self._found.values() if one.state is state]

    def _take(self, delivery: Delivery, *, note: bool = True) -> None:
        item = delivery.item
        if delivery.state in KEPT and note:
            self._journal.note(delivery, self._digest(item))
        with self._lock:
            before = self._found.get(item.path)
            self._found[item.path] = delivery
            if delivery.state in KEPT and before is None and not delivery.was_there:
                self.sent_bytes += item.size
            total = len(self._stock.items) + len(self._stock.broken)
            self._watcher.progress(len(self._found), total)

    def _has_digest(self, item: Item) -> bool:
        """The content's digest is taken before it is sent: what the journal says is true."""
        try:
            self._digest(item)
        except OSError:
            self._take(failed(item, UNREADABLE))
            return False
        return True

    def _digest(self, item: Item) -> str:
        if item.key not in self._digests:
            self._digests[item.key] = digest_of(item.path)
        return self._digests[item.key]
