"""`python -m bench.hot_path`: where an instance's CPU time goes in the anonymizer, stage by stage.

Each stage is timed with the process's CPU clock, less the stages that run inside it. The timer
itself costs some microseconds a call, so shares are to be read, not sums.
"""

from __future__ import annotations

import argparse
import functools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.table import Table

from bench.rounds import CONSOLE, print_conditions
from bench.stage import BATCH, anonymize
from bench.stages import lay_out
from pacstream import durable
from pacstream.archive import Archive
from pacstream_anonymizer import deidentifier, gate, triage
from pacstream_anonymizer.gate import originals

STAGES: tuple[tuple[object, str, str], ...] = (
    (deidentifier, "read_original", "parse the original"),
    (deidentifier, "read_file_meta", "parse the original's file meta"),
    (deidentifier, "_check_kind", "rules that withhold"),
    (triage, "identity_of", "rules that withhold"),
    (deidentifier.Release, "_cleaned", "apply the profile"),
    (deidentifier, "serialize", "serialize"),
    (deidentifier, "write_file_meta", "serialize"),
    (originals.Originals, "known_of", "gate: read the original"),
    (gate, "judge", "gate: judge the release"),
    (gate.Gate, "check", "gate: the rest"),
    (durable.FileGroup, "_new_part", "make the file"),
    (deidentifier, "_write", "write it, copy pixels"),
    (durable, "start_write_back", "start write-back"),
    (durable.FileGroup, "commit", "flush and rename"),
    (deidentifier.Release, "add", "open, map, the rest"),
)
"""Where a function is, its name, and the stage that it belongs to."""


class Stopwatch:
    """CPU seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inner: list[float] = []

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any, **named: Any) -> Any:
            started = time.process_time()
            self._inner.append(0.0)
            try:
                return function(*args, **named)
            finally:
                taken = time.process_time() - started
                own = taken - self._inner.pop()
                self.seconds[stage] = self.seconds.get(stage, 0.0) + own
                if self._inner:
                    self._inner[-1] += taken

        return run


def measure(archive: Archive, modality: str) -> tuple[int, dict[str, float]]:
    """Instances, and CPU seconds by stage, for one modality's series."""
    orders = []
    for folder in sorted(archive.incoming.iterdir()):
        file = archive.read_order(folder.name)
        if file is not None and file.orders[BATCH].release_folder.endswith(modality):
            out = str(archive.root / "out")
            orders.append(file.orders[BATCH].model_copy(update={"out": out}))
            archive.write_order(orders[-1])
    watch = Stopwatch()
    for place, name, stage in STAGES:
        setattr(place, name, watch.timed(stage, getattr(place, name)))
    works = list(anonymize(archive, orders))
    works[0]()  # tables and dictionaries are read at the first use
    watch.seconds.clear()
    for work in works[1:]:
        work()
    released = len(list((archive.root / "out").rglob("*.dcm")))
    return released * (len(works) - 1) // len(works), watch.seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=640, help="half CT, half MR")
    parser.add_argument("--modality", choices=("CT", "MR"), default="CT")
    wishes = parser.parse_args()
    print_conditions("before")
    with tempfile.TemporaryDirectory(prefix="pacstream-bench-") as folder:
        archive = Archive(Path(folder) / "data")
        lay_out(archive, wishes.instances)
        count, seconds = measure(archive, wishes.modality)
    total = sum(seconds.values())
    table = Table(title=f"{count} {wishes.modality}: {total / count * 1e3:.2f} ms CPU each")
    for column in ("stage", "us", "share"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for stage, taken in sorted(seconds.items(), key=lambda pair: -pair[1]):
        table.add_row(stage, f"{taken / count * 1e6:.0f}", f"{taken / total:.0%}")
    CONSOLE.print(table)
    print_conditions("after")
    return 0


if __name__ == "__main__":
    main()
