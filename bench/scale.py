"""How stages scale with replicas on this machine, and what an instance costs bus and ledger.

python -m bench.scale [--replicas 1,2,4] [--instances 200] [--rounds 3]

Anonymizer and converter: so many processes at once, each with as many instances of its own. The
ledger has one writer: how many facts it takes, and what it keeps of them. `docs/scaling.md` uses
the figures; `bench.simulate` has them as constants.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from bench.facts import found, of_series, on_the_bus
from bench.rounds import CONSOLE, Taken, print_conditions
from bench.stages import HERE, lay_out
from bench.tools import BenchError
from pacstream.archive import Archive
from pacstream.messages import BatchFinished, Message, SeriesFound, SeriesRequested
from pacstream.settings import MOST_MOVES
from pacstream_ledger.ledger import Ledger
from pacstream_ledger.scheduler import Scheduler
from pacstream_ledger.schema import METADATA, open_database
from pacstream_ledger.throttle import Throttle

STAGES = ("anonymizer", "converter")


@dataclass(frozen=True)
class Rate:
    """Instances per second of all replicas together, and CPU milliseconds of one instance."""

    replicas: int
    per_second: float
    cpu_ms: float


def run_together(stage: str, archives: Sequence[Archive], images: int) -> Rate:
    """All at once; the slowest decides."""
    for archive in archives:
        shutil.rmtree(archive.root / "out", ignore_errors=True)
    started = [_start(stage, archive) for archive in archives]
    taken = [_ended(stage, process) for process in started]
    seconds, cpu = max(one.seconds for one in taken), sum(one.cpu for one in taken)
    every = images * len(archives)
    return Rate(len(archives), every / seconds, 1000 * cpu / every)


def _start(stage: str, archive: Archive) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "bench.stage", stage, str(archive.root), str(archive.root / "out")],
        cwd=HERE,
        env=dict(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _ended(stage: str, process: subprocess.Popen[str]) -> Taken:
    out, error = process.communicate()
    if process.returncode:
        raise BenchError(f"{stage}: {error[-2000:]}")
    return Taken(**json.loads(out))


def stages(root: Path, replicas: Sequence[int], instances: int, rounds: int) -> None:
    archives = [Archive(root / f"data-{number}") for number in range(max(replicas))]
    images = 0
    for archive in archives:
        images = lay_out(archive, instances)
    for stage in STAGES:
        rates: dict[int, list[Rate]] = {count: [] for count in replicas}
        for _ in range(rounds):
            for count in replicas:
                rates[count].append(run_together(stage, archives[:count], images))
        _print_rates(stage, rates)


def _print_rates(stage: str, rates: dict[int, list[Rate]]) -> None:
    table = Table(title=f"{stage}: {os.cpu_count()} cores", title_justify="left")
    for column in ("replicas", "instances/s", "times one", "CPU ms each"):
        table.add_column(column, justify="right")
    medians = {
        count: statistics.median(one.per_second for one in runs) for count, runs in rates.items()
    }
    for count, runs in rates.items():
        table.add_row(
            str(count),
            f"{medians[count]:.0f}",
            f"{medians[count] / medians[min(medians)]:.2f}",
            f"{statistics.median(one.cpu_ms for one in runs):.2f}",
        )
    CONSOLE.print(table)


def ledger(root: Path, series: int, instances: int) -> None:
    """Record all facts of a batch, in the groups in which they come, on SQLite."""
    path = root / "ledger.db"
    database = open_database(f"sqlite:///{path}")
    book = Ledger(database, lambda _: set(), throttle=Throttle(moves=MOST_MOVES))
    scheduler = Scheduler(book)
    facts = list(found(series, instances))
    series_found = {one.series.series_uid: one for one in facts if isinstance(one, SeriesFound)}
    began, cpu = time.perf_counter(), time.process_time()
    sent = _recorded(book, facts)
    while not isinstance(sent[-1] if sent else None, BatchFinished):
        scheduler.tick()
        requests = [one for one in _outbox(book) if isinstance(one, SeriesRequested)]
        if not requests:
            raise BenchError("the ledger asks for nothing, and the batch has not finished")
        uids = [one.order.series.series_uid for one in requests]
        came = [fact for uid in uids for fact in of_series(series_found[uid])]
        sent += [*requests, *_recorded(book, came)]
        facts += came
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    _print_ledger(book, path, series * instances, len(facts), seconds, cpu)
    messages, size = on_the_bus([*facts, *sent])
    CONSOLE.print(
        f"bus: {messages / (series * instances):.2f} messages and "
        f"{size / (series * instances):.0f} bytes an instance, "
        "each counted in every queue that gets it"
    )


def _print_ledger(
    book: Ledger, path: Path, every: int, facts: int, seconds: float, cpu: float
) -> None:
    with book.engine.connect() as db:
        rows = sum(
            db.exec_driver_sql(f"SELECT count(*) FROM {table.name}").scalar_one()
            for table in METADATA.sorted_tables
        )
        db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    table = Table(title=f"ledger: {every} instances, SQLite", title_justify="left")
    for column in ("facts/s", "instances/s", "CPU ms an instance", "rows each", "bytes each"):
        table.add_column(column, justify="right")
    table.add_row(
        f"{facts / seconds:.0f}",
        f"{every / seconds:.0f}",
        f"{1000 * cpu / every:.3f}",
        f"{rows / every:.2f}",
        f"{path.stat().st_size / every:.0f}",
    )
    CONSOLE.print(table)


def _recorded(book: Ledger, facts: Sequence[Message]) -> list[Message]:
    """What follows from the facts."""
    sent: list[Message] = []
    for start in range(0, len(facts), 100):
        book.record(*facts[start : start + 100])
        sent += _outbox(book)
    return sent


def _outbox(book: Ledger) -> list[Message]:
    sent: list[Message] = []
    while unsent := book.outbox():
        sent += [one.message for one in unsent]
        book.sent(unsent[-1])
    return sent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", default="1,2,4")
    parser.add_argument("--instances", type=int, default=200, help="of each replica")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--series", type=int, default=200, help="of the ledger's batch")
    parser.add_argument("--of-series", type=int, default=100, help="instances of each of them")
    wishes = parser.parse_args()
    replicas = sorted({int(word) for word in wishes.replicas.split(",")})
    print_conditions("before")
    with tempfile.TemporaryDirectory(prefix="pacstream-bench-") as folder:
        stages(Path(folder), replicas, wishes.instances, wishes.rounds)
        ledger(Path(folder), wishes.series, wishes.of_series)
    CONSOLE.print("CPU is the service's own process: without dcm2niix, broker and bus")
    print_conditions("after")
    return 0


if __name__ == "__main__":
    sys.exit(main())
