"""What an operator decides about the quarantine: checked as a whole, written down, then done."""

from __future__ import annotations

import getpass
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pacstream import __version__
from pacstream.archive import Archive, flush_folder
from pacstream.errors import PacstreamError
from pacstream.messages import DeidentifyRequested, Order
from pacstream.settings import Settings
from pacstream_anonymizer.decisions import Decision, Decisions, digest_of
from pacstream_cli.ledger_book import LedgerBook, Place
from pacstream_cli.quarantine import ASIDE, Entry, InvalidRefsError
from pacstream_cli.reasons import why_not

AT_ONCE = 64
"""Instances in one message: as many as a group commit of the store SCP has."""

LOOK_EVERY_S = 0.2


class QuarantineError(PacstreamError):
    code = "quarantine"


@dataclass(frozen=True)
class Pass:
    """One instance is let pass one rule, for the batch of `order`. Without an order it is no
    batch's: `pacstream anonymize` has withheld it, and its next run lets it pass."""

    entry: Entry
    order: Order | None
    content: str

    @property
    def place(self) -> Place:
        batch_id = self.order.batch_id if self.order else ""
        return batch_id, self.entry.series_uid, self.entry.sop_instance_uid


@dataclass(frozen=True)
class Outcome:
    """What has become of instances after a decision. `withheld`: the new reason of each that is
    held back all the same."""

    released: tuple[Place, ...]
    withheld: dict[Place, str]
    unheard: tuple[Place, ...]


def operator() -> str:
    """The user of this process, by name if there is one."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def passes_of(settings: Settings, entries: Sequence[Entry]) -> list[Pass]:
    """What a release of these entries comes to. Raises InvalidRefsError, with a line for each that
    can't be released; nothing is done yet."""
    archive, book = Archive(settings.data), LedgerBook(settings)
    orders = {
        (batch_id, series_uid): book.order(batch_id, series_uid)
        for batch_id, series_uid in {(b, one.series_uid) for one in entries for b in one.batches}
    }
    problems: list[str] = []
    found: list[Pass] = []
    for entry in entries:
        problem = _obstacle(archive, entry)
        if problem:
            problems.append(f"{entry.ref}/{entry.reason}: {problem}")
            continue
        content = _content(entry.path)
        wanted = [orders[batch_id, entry.series_uid] for batch_id in entry.batches]
        found += [Pass(entry, order, content) for order in wanted or [None]]
    if problems:
        raise InvalidRefsError("nothing is released: not all of it can be", problems)
    return found


def _obstacle(archive: Archive, entry: Entry) -> str:
    """Why an entry can't be released; empty if it can."""
    problem = why_not(entry.reason, entry.origin)
    if problem:
        return problem
    if not entry.batches:
        ordered = archive.series_folder(entry.series_uid).exists()
        return "the ledger knows no batch that misses it" if ordered else ""
    original = archive.instance_path(entry.series_uid, entry.sop_instance_uid)
    if not original.is_file():
        return "its original is not in incoming any more: submit the query again"
    if not original.samefile(entry.path) and digest_of(original) != digest_of(entry.path):
        return "another content of it is in incoming by now: submit the query again"
    return ""


def write_release(archive: Archive, passes: Sequence[Pass], by: str, why: str) -> None:
    """Durable on return: from now on the instances may pass. Raises QuarantineError."""
    at = _now()
    _append(
        archive,
        [
            Decision(
                at=at,
                by=by,
                why=why,
                decision="release",
                reason=one.entry.reason,
                batch_id=one.place[0],
                series_uid=one.entry.series_uid,
                sop_instance_uid=one.entry.sop_instance_uid,
                content=one.content,
                profile=one.order.profile if one.order else "",
                version=__version__,
            )
            for one in passes
        ],
    )


def requests_of(passes: Sequence[Pass]) -> Iterator[DeidentifyRequested]:
    """The messages that have the instances de-identified once more."""
    groups: dict[tuple[str, str], tuple[Order, set[str]]] = {}
    for one in passes:
        if one.order is not None:
            group = groups.setdefault(one.place[:2], (one.order, set()))
            group[1].add(one.entry.sop_instance_uid)
    for (batch_id, _), (order, instances) in groups.items():
        uids = sorted(instances)
        for first in range(0, len(uids), AT_ONCE):
            some = tuple(uids[first : first + AT_ONCE])
            yield DeidentifyRequested(batch_id=batch_id, order=order, instances=some)


def wait_for(
    settings: Settings,
    passes: Sequence[Pass],
    wait_s: float,
    sleep: Callable[[float], None] = time.sleep,
) -> Outcome:
    """Look into the ledger until it knows what has become of each instance, `wait_s` at most."""
    before = {one.place: one.entry.reason for one in passes}
    series = sorted({one.entry.series_uid for one in passes})
    book = LedgerBook(settings)
    deadline = time.monotonic() + wait_s
    while True:
        now = book.withheld(series)
        unheard = tuple(place for place, reason in before.items() if now.get(place) == reason)
        if not unheard or time.monotonic() >= deadline:
            break
        sleep(LOOK_EVERY_S)
    withheld = {place: now[place] for place in before if place in now and place not in unheard}
    released = tuple(place for place in before if place not in now)
    return Outcome(released, withheld, unheard)


def tidy(settings: Settings, entries: Sequence[Entry]) -> None:
    """Remove copies that no batch misses any more. One of a series on which a batch still works
    stays: it may be withheld from that one at this moment."""
    book = LedgerBook(settings)
    series = sorted({one.series_uid for one in entries})
    busy, withheld = book.pending(series), book.withheld(series)
    missed = {(place[1], place[2], reason) for place, reason in withheld.items()}
    for one in entries:
        if one.key not in missed and one.series_uid not in busy:
            one.path.unlink(missing_ok=True)


def drop(archive: Archive, entries: Sequence[Entry], by: str, why: str) -> None:
    """Write down and remove. Raises QuarantineError; then some may be gone, and all are written
    down."""
    at = _now()
    decisions = [
        Decision(
            at=at,
            by=by,
            why=why,
            decision="drop",
            reason=entry.reason,
            batch_id=batch_id,
            series_uid=entry.series_uid,
            sop_instance_uid=entry.sop_instance_uid,
            content=_content(entry.path),
            version=__version__,
        )
        for entry in entries
        for batch_id in entry.batches or ("",)
    ]
    _append(archive, decisions)
    try:
        for entry in entries:
            entry.path.unlink(missing_ok=True)
        for folder in {entry.path.parent for entry in entries}:
            flush_folder(folder)
    except OSError:
        raise QuarantineError("a file can't be removed from the quarantine") from None


def stays_in_incoming(archive: Archive, entry: Entry) -> bool:
    """Whether the very bytes of an entry lie in incoming, too."""
    if entry.origin == ASIDE:
        return False
    original = archive.instance_path(entry.series_uid, entry.sop_instance_uid)
    return original.is_file()


def _content(path: Path) -> str:
    try:
        return digest_of(path)
    except OSError:
        raise QuarantineError("a file of the quarantine can't be read") from None


def _append(archive: Archive, decisions: Sequence[Decision]) -> None:
    try:
        Decisions(archive.decisions).append(decisions)
    except OSError:
        raise QuarantineError("the decision can't be written down, so nothing is done") from None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
