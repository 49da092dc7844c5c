"""`python -m bench.query`: a CSV of 1,000 rows against Orthanc, beside a findscu loop."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.line import AET, Line, write_queries
from bench.rivals import Dcmtk
from bench.rounds import (
    CONSOLE,
    Contender,
    Goal,
    print_conditions,
    print_goals,
    print_table,
    run_interleaved,
    timed,
)
from bench.tools import BenchError, exit_on_sigterm
from demo.pacs import OrthancPacs, Pacs, free_port
from pacstream.messages import Actions, Batch, PacsNode, QueryAnswered, QueryRequested
from pacstream_cli.fake_pacs.datasets import make_series
from pacstream_query.associations import Associations
from pacstream_query.finder import find_series

SCU = "BENCH_SCU"
BATCH, FINDER = "pacstream submit --info", "pacstream's finder"
NODELAY, SHIPPED = "findscu loop, TCP_NODELAY=1", "findscu loop as shipped"


def make_images(folder: Path, rows: int) -> tuple[list[Path], list[dict[str, str]]]:
    """One small study a row, and the rows that ask for them."""
    folder.mkdir(parents=True)
    paths, queries = [], []
    for number in range(rows):
        date = f"20{10 + number % 12:02d}{1 + number // 12 % 12:02d}{1 + number // 144 % 28:02d}"
        [instance] = make_series(
            f"BENCH{number // 2:05d}", f"Bench^Patient {number // 2}", instances=1, rows=8,
            seed=number, study_date=date, accession_number=f"B{number}",
        )  # fmt: skip
        paths.append(folder / f"{number}.dcm")
        instance.save_as(paths[-1], enforce_file_format=True)
        queries.append({"PatientID": str(instance.PatientID), "StudyDate": date})
    return paths, queries


def asked_by_finder(pacs: Pacs, queries: Sequence[Mapping[str, str]]) -> Iterator[QueryRequested]:
    batch = Batch(
        batch_id="bench", rows=len(queries), submitted_at="2026-01-01T00:00:00+00:00",
        pacs=PacsNode(address=pacs.address, port=pacs.port, called_aet=pacs.aet, calling_aet=SCU),
        destination=AET, actions=Actions(info=True), out="out",
    )  # fmt: skip
    for number, keys in enumerate(queries, 2):
        yield QueryRequested(batch=batch, row=number, keys=dict(keys))


def run_finder(pacs: Pacs, queries: Sequence[Mapping[str, str]]) -> None:
    associations = Associations(30.0)
    try:
        for query in asked_by_finder(pacs, queries):
            facts = list(find_series(query, associations))
            last = facts[-1]
            if not isinstance(last, QueryAnswered) or not last.series or last.reason:
                raise BenchError(f"row {query.row} was not answered")
    finally:
        associations.close()


def run_loop(dcmtk: Dcmtk, queries: Sequence[Mapping[str, str]], of: int) -> float:
    """Seconds for `of` rows, from a sample of them."""
    started = time.perf_counter()
    for row in queries:
        if not dcmtk.find(row):
            raise BenchError("findscu found nothing")
    return (time.perf_counter() - started) * of / len(queries)


def contenders(
    line: Line, pacs: Pacs, queries: list[dict[str, str]], sample: int, folder: Path
) -> list[Contender]:
    csv_file, config = write_queries(folder / "queries.csv", queries), line.write_config(pacs)
    rows = len(queries)
    some = queries[:: max(1, rows // sample)][:sample]
    note = "" if len(some) == rows else f"{len(some)} rows, extrapolated"
    numbers = iter(range(1000))

    def run_batch() -> float:
        out = folder / f"out-{next(numbers)}"
        return timed(lambda: line.batch(config, csv_file, out, "--info"))

    tuned, shipped = (Dcmtk(pacs, SCU, free_port(), nodelay=nodelay) for nodelay in (True, False))
    return [
        Contender(BATCH, run_batch),
        Contender(FINDER, lambda: timed(lambda: run_finder(pacs, queries))),
        Contender(NODELAY, lambda: run_loop(tuned, some, rows), note=note),
        Contender(SHIPPED, lambda: run_loop(shipped, some, rows), note=note),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--sample", type=int, default=100, help="rows that findscu is timed on")
    parser.add_argument("--rounds", type=int, default=3)
    wishes = parser.parse_args()
    exit_on_sigterm()
    print_conditions("before")
    with tempfile.TemporaryDirectory(prefix="pacstream-bench-") as name:
        folder = Path(name)
        paths, queries = make_images(folder / "images", wishes.rows)
        store_port = free_port()
        destinations = {AET: ("127.0.0.1", store_port)}
        with (
            OrthancPacs(folder / "orthanc", destinations, clients=[SCU]) as pacs,
            Line(folder, store_port) as line,
        ):
            CONSOLE.print(f"loading {len(paths)} images into Orthanc (as shipped)")
            pacs.load(paths)
            field = contenders(line, pacs, queries, wishes.sample, folder)
            run_interleaved(field, wishes.rounds)
    print_table(f"{wishes.rows} CSV rows, Orthanc as shipped", field, BATCH, wishes.rows)
    met = print_goals([field], [Goal(BATCH, NODELAY, 5.0), Goal(FINDER, NODELAY, 5.0)])
    print_conditions("after")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
