"""What a CSV would bring and cost, by asking the PACS and fetching nothing.

Numbers of series and instances are the PACS's own. Bytes are estimated from what the archive holds
of a modality, else from a table; time from the PACS's throttle and the pace that `doctor` measured.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pacstream.archive import Archive
from pacstream.errors import InputError, RejectedError
from pacstream.messages import Actions, Batch, PacsNode, QueryAnswered, QueryRequested, SeriesFound
from pacstream.settings import Settings
from pacstream_cli.client import LedgerClient, LedgerUnreachableError
from pacstream_cli.profiles import Measured
from pacstream_cli.queryfile import QueryRow
from pacstream_query.associations import Associations
from pacstream_query.finder import Sources, find_series
from pacstream_query.identifiers import FindRequest
from pacstream_query.source import Outcome, Source, Take, never

SERIES_LIMIT = 5000
"""Series of a batch above which `submit` and `run` want --yes-over."""

EXACT_KEYS = ("PatientID", "AccessionNumber", "StudyInstanceUID", "SeriesInstanceUID")
"""A row that names one of these without a wildcard can't match much of a PACS."""

SUSPICIOUS_SERIES = 1000
SUSPICIOUS_FACTOR, SUSPICIOUS_LEAST = 20, 50
"""Times the median of the rows that match, but never fewer series than this."""

ASSUMED_INSTANCE_MS = 50.0
"""One instance by C-MOVE from a PACS as shipped, while nobody has measured it."""
SERIES_MS = 100.0
"""What a series costs besides its instances."""

TYPICAL_BYTES = {
    "CT": 530_000,
    "MR": 250_000,
    "PT": 60_000,
    "NM": 500_000,
    "US": 1_500_000,
    "CR": 9_000_000,
    "DX": 15_000_000,
    "MG": 28_000_000,
    "XA": 20_000_000,
    "RF": 10_000_000,
    "SC": 1_000_000,
    "OT": 1_000_000,
    "SR": 50_000,
    "PR": 30_000,
    "KO": 10_000,
    "SEG": 5_000_000,
    "RTSTRUCT": 3_000_000,
    "RTPLAN": 200_000,
    "RTDOSE": 20_000_000,
}
"""Bytes of one instance, a rough guess."""
OTHER_BYTES = 500_000

FOLDERS_SAMPLED, FILES_SAMPLED = 300, 20


@dataclass(frozen=True)
class PlannedSeries:
    """`instances` is None if the PACS does not tell; `here` is what lies in the archive."""

    study_uid: str
    series_uid: str
    modality: str
    instances: int | None
    here: int

    @property
    def missing(self) -> int:
        return max(0, (self.instances or 0) - self.here)


@dataclass(frozen=True)
class PlannedRow:
    """What one row matches; `reason` is why the answer can't be trusted, or empty."""

    row: int
    series: tuple[PlannedSeries, ...]
    reason: str = ""

    @property
    def studies(self) -> int:
        return len({one.study_uid for one in self.series})


@dataclass
class Tally:
    """Requests to the PACS by level, and what they took."""

    number: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def mean(self, level: str) -> float | None:
        return self.seconds[level] / self.number[level] if self.number[level] else None


@dataclass(frozen=True)
class _CountedSource:
    inner: Source
    tally: Tally

    def find(self, request: FindRequest, take: Take) -> Outcome:
        started = time.monotonic()
        try:
            return self.inner.find(request, take)
        finally:
            self.tally.number[request.level] += 1
            self.tally.seconds[request.level] += time.monotonic() - started


@dataclass(frozen=True)
class CountedSources:
    """Lends the sources of `inner` and counts what is asked of them."""

    inner: Sources
    tally: Tally = field(default_factory=Tally)

    @contextmanager
    def session(self, node: PacsNode, cancelled: Callable[[], bool] = never) -> Iterator[Source]:
        with self.inner.session(node, cancelled) as source:
            yield _CountedSource(source, self.tally)


def plan_rows(
    queries: Iterable[QueryRequested], sources: Sources, archive: Archive
) -> Iterator[PlannedRow]:
    """One planned row for each query, as soon as the PACS has answered it.

    Series whose number of instances the PACS does not tell are listed instance by instance; once
    that was needed, all further rows are. Raises as `find_series`.
    """
    lists = False
    for query in queries:
        lists = lists or not query.batch.pacs.profile.counts
        row = _planned(query, sources, archive, lists=lists)
        if not lists and any(one.instances is None for one in row.series):
            lists = True
            row = _planned(query, sources, archive, lists=True)
        yield row


def _planned(
    query: QueryRequested, sources: Sources, archive: Archive, *, lists: bool
) -> PlannedRow:
    batch = query.batch.model_copy(update={"actions": Actions(save=lists)})
    series: dict[str, PlannedSeries] = {}
    reason = ""
    for fact in find_series(query.model_copy(update={"batch": batch}), sources):
        if isinstance(fact, SeriesFound):
            series[fact.series.series_uid] = _series(fact, archive)
        elif isinstance(fact, QueryAnswered):
            reason = fact.reason
    return PlannedRow(query.row, tuple(series.values()), reason)


def _series(fact: SeriesFound, archive: Archive) -> PlannedSeries:
    held = archive.instances(fact.series.series_uid)
    here = len(held & set(fact.expected)) if fact.expected else len(held)
    count = fact.expected_count
    return PlannedSeries(
        fact.series.study_uid,
        fact.series.series_uid,
        fact.series.modality,
        count,
        here if count is None else min(here, count),
    )


def suspicious(rows: Sequence[PlannedRow], limit: int | None) -> set[int]:
    """The rows that match suspiciously much: over `limit` series or, without one, over 1000 or 20
    times the median of the rows that match anything."""
    sizes = [len(row.series) for row in rows if row.series]
    if limit is None and sizes:
        relative = max(SUSPICIOUS_FACTOR * statistics.median(sizes), SUSPICIOUS_LEAST)
        limit = int(min(SUSPICIOUS_SERIES, relative))
    return {row.row for row in rows if limit is not None and len(row.series) > limit}


# Bytes


@dataclass(frozen=True)
class Sizes:
    """Bytes of one instance by modality: `known` from the archive, else a table."""

    known: dict[str, float]

    def of(self, series: Iterable[PlannedSeries]) -> int:
        """The estimated bytes of what is still to be fetched."""
        return round(sum(one.missing * self._each(one.modality) for one in series))

    def guessed(self, series: Iterable[PlannedSeries]) -> set[str]:
        """The modalities for which the table was used."""
        return {one.modality for one in series if one.missing and one.modality not in self.known}

    def _each(self, modality: str) -> float:
        return self.known.get(modality, TYPICAL_BYTES.get(modality, OTHER_BYTES))


def known_sizes(archive: Archive) -> Sizes:
    """The mean bytes of an instance, from a sample of what the archive holds."""
    totals: dict[str, list[int]] = defaultdict(list)
    folders = archive.incoming.iterdir() if archive.incoming.is_dir() else iter(())
    for _, folder in zip(range(FOLDERS_SAMPLED), folders, strict=False):
        modality = _modality(archive, folder.name)
        if not modality:
            continue
        files = (path for path in folder.glob("*.dcm") if not path.name.startswith("."))
        sampled = zip(range(FILES_SAMPLED), files, strict=False)
        totals[modality] += [path.stat().st_size for _, path in sampled]
    return Sizes({name: statistics.mean(sizes) for name, sizes in totals.items() if sizes})


def _modality(archive: Archive, series_uid: str) -> str:
    try:
        order = archive.read_order(series_uid)
    except RejectedError:
        return ""  # a damaged order file is the ledger's matter; a sample does without it
    modalities = [one.series.modality for one in order.orders.values()] if order else []
    return modalities[0] if modalities else ""


# Time


@dataclass(frozen=True)
class Pace:
    """How fast series may come: the throttle of the PACS, and what an instance takes."""

    moves: int
    instance_ms: float
    measured: bool = False
    series_per_minute: float | None = None
    instances_per_second: float | None = None
    bytes_per_second: float | None = None
    window: str = ""
    pause_every: int = 0
    pause_s: float = 0.0

    def seconds(self, series: int, instances: int, size: int) -> float:
        """For all that is to be fetched, in open hours."""
        work = (instances * self.instance_ms + series * SERIES_MS) / 1000 / self.moves
        slowest = max(
            work,
            60 * series / self.series_per_minute if self.series_per_minute else 0.0,
            instances / self.instances_per_second if self.instances_per_second else 0.0,
            size / self.bytes_per_second if self.bytes_per_second else 0.0,
        )
        pauses = max(0, series - 1) // self.pause_every if self.pause_every else 0
        return slowest + pauses * self.pause_s


def pace_of(settings: Settings, batch: Batch, measured: Measured) -> Pace:
    """The current throttle of the batch's PACS if the ledger tells it, else the defaults."""
    limits = _limits(settings.ledger_http, batch.pacs)
    return Pace(
        moves=int(limits.get("moves") or settings.pacs_concurrency),
        instance_ms=measured.instance_ms or ASSUMED_INSTANCE_MS,
        measured=measured.instance_ms is not None,
        series_per_minute=limits.get("series_per_minute"),
        instances_per_second=limits.get("instances_per_second"),
        bytes_per_second=limits.get("bytes_per_second"),
        window=str(limits.get("window") or ""),
        pause_every=batch.batch_size,
        pause_s=batch.batch_wait_s,
    )


def _limits(ledger: str, node: PacsNode) -> dict[str, Any]:
    """The PACS's limits; empty without a ledger: a plan needs no services."""
    name = f"{node.called_aet}@{node.address}:{node.port}"
    try:
        known = LedgerClient(ledger, timeout_s=3.0).throttles()
    except LedgerUnreachableError:
        return {}
    found = [one["limits"] for one in known or [] if one["pacs"] == name]
    return dict(found[0]) if found else {}


# The guard of submit and run


def is_broad(keys: dict[str, str]) -> bool:
    """Whether a row names no patient, accession, study or series exactly."""
    return not any(key in keys and not set(keys[key]) & set("*?") for key in EXACT_KEYS)


def check_size(
    batch: Batch, rows: Sequence[QueryRow], yes_over: int | None, settings: Settings
) -> None:
    """Raises InputError if the batch matches more series than are allowed.

    The PACS is only asked where that may be: for all rows if `yes_over` is given or there are more
    rows than series allowed, else for the broad ones. It is asked at STUDY and SERIES level.
    """
    limit = SERIES_LIMIT if yes_over is None else yes_over
    counted = (
        rows
        if yes_over is not None or len(rows) > limit
        else [row for row in rows if is_broad(row.keys)]
    )
    sources = Associations(settings.dimse_timeout_s)
    try:
        over = _exceeds(batch, counted, limit, sources)
    finally:
        sources.close()
    if over:
        raise InputError(
            f"the rows match more than {limit} series: look at them with `pacstream plan`, then "
            "allow as many as you mean with --yes-over N"
        )


def _exceeds(batch: Batch, rows: Iterable[QueryRow], limit: int, sources: Sources) -> bool:
    plain = batch.model_copy(update={"actions": Actions()})
    found: set[str] = set()
    for row in rows:
        for fact in find_series(QueryRequested(batch=plain, row=row.row, keys=row.keys), sources):
            if isinstance(fact, SeriesFound):
                found.add(fact.series.series_uid)
            if len(found) > limit:
                return True
    return False
