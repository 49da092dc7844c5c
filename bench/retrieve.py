"""`python -m bench.retrieve`: C-MOVE from Orthanc, beside PACSIFIER 1.0.0 and DCMTK."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from bench.line import AET, BusEar, Line, write_queries
from bench.processes import cpu_seconds, ended_children_cpu
from bench.rivals import Dcmtk, Pacsifier, images_below
from bench.rounds import (
    CONSOLE,
    Contender,
    Goal,
    Taken,
    print_conditions,
    print_goals,
    print_table,
    run_interleaved,
    timed,
)
from bench.tools import BenchError, exit_on_sigterm
from demo.pacs import OrthancPacs, Pacs, free_port
from pacstream.messages import SeriesMoved
from pacstream_cli.fake_pacs.datasets import make_series

SCU, OTHER = "BENCH_SCU", "PACSIFIER_SCU"
OURS, MOVE = "pacstream submit --save", "pacstream's C-MOVE"
PACSIFIER, PACSIFIER_TUNED = "PACSIFIER 1.0.0 as shipped", "PACSIFIER 1.0.0, TCP_NODELAY=1"
LOOP, LOOP_TUNED = "findscu/movescu loop as shipped", "findscu/movescu loop, TCP_NODELAY=1"
MOVESCU, MOVESCU_TUNED = "movescu for itself as shipped", "movescu for itself, TCP_NODELAY=1"


class Job:
    """Some series of one PACS, fetched by everyone in turn, each time into an empty folder."""

    def __init__(
        self, folder: Path, name: str, patients: int, instances: int, rows_of_pixels: int
    ) -> None:
        self.folder = folder / name
        self.folder.mkdir(parents=True)
        self.images = patients * instances
        self.paths: list[Path] = []
        self.series: list[tuple[str, str]] = []
        self.rows: list[dict[str, str]] = []
        for patient in range(patients):
            series = make_series(
                f"{name}{patient:03d}", f"Bench^{name}", "", "", "MR", instances, rows_of_pixels
            )
            for number, instance in enumerate(series):
                path = self.folder / f"{patient}-{number}.dcm"
                instance.save_as(path, enforce_file_format=True)
                self.paths.append(path)
            first = series[0]
            self.series.append((str(first.StudyInstanceUID), str(first.SeriesInstanceUID)))
            self.rows.append({"PatientID": str(first.PatientID), "Modality": "MR"})
        self.queries = write_queries(self.folder / "queries.csv", self.rows)
        self._runs = 0

    def timed(self, fetch: Callable[[Path], object]) -> float:
        """Seconds of `fetch` into a new folder. Raises BenchError if images are missing there."""
        self._runs += 1
        out = self.folder / f"out-{self._runs}"
        seconds = timed(lambda: fetch(out))
        count = images_below(out)
        if count != self.images:
            raise BenchError(f"{count} images came, not {self.images}")
        return seconds


def rivals(job: Job, pacs: Pacs, ports: dict[str, int]) -> list[Contender]:
    field = []
    for name, nodelay in ((PACSIFIER, False), (PACSIFIER_TUNED, True)):
        pacsifier = Pacsifier(pacs, OTHER, ports[OTHER], nodelay=nodelay)
        fetch = _into(job, partial(pacsifier.fetch, job.queries))
        field.append(Contender(name, fetch, once=not nodelay))
    for name, nodelay in ((LOOP, False), (LOOP_TUNED, True)):
        dcmtk = Dcmtk(pacs, SCU, ports[SCU], nodelay=nodelay)
        fetch = _into(job, partial(dcmtk.fetch, job.rows))
        field.append(Contender(name, fetch, once=not nodelay))
    return field


def movescu_alone(job: Job, pacs: Pacs, ports: dict[str, int]) -> list[Contender]:
    """C-MOVE without any C-FIND: the series' UIDs are known."""
    field = []
    for name, nodelay in ((MOVESCU, False), (MOVESCU_TUNED, True)):
        dcmtk = Dcmtk(pacs, SCU, ports[SCU], nodelay=nodelay)

        fetch = _into(job, partial(_move_all, dcmtk, job))
        field.append(Contender(name, fetch, once=not nodelay))
    return field


def _move_all(dcmtk: Dcmtk, job: Job, out: Path) -> None:
    for study_uid, series_uid in job.series:
        dcmtk.move(study_uid, series_uid, out / series_uid)


def ours(job: Job, line: Line, config: Path, ear: BusEar[SeriesMoved]) -> list[Contender]:
    """The whole batch, with the CPU time of broker, services and command; and of the same runs,
    what the retrieve service's C-MOVEs took."""
    moves: list[float] = []

    def fetch(out: Path) -> None:
        line.batch(config, job.queries, out, "--save")

    def cpu() -> float:
        return cpu_seconds(line.pids().values()) + ended_children_cpu()

    def run() -> Taken:
        line.forget_images()
        ear.heard()
        before = cpu()
        seconds = job.timed(fetch)
        moves.append(sum(moved.seconds for moved in ear.heard()))
        return Taken(seconds, cpu() - before)

    return [Contender(OURS, run), Contender(MOVE, lambda: moves[-1], note="of the same runs")]


def _into(job: Job, fetch: Callable[[Path], object]) -> Callable[[], float]:
    return lambda: job.timed(fetch)


def measure(
    job: Job, line: Line, pacs: Pacs, ports: dict[str, int], rounds: int
) -> Sequence[Contender]:
    CONSOLE.print(f"{job.folder.name}: loading {job.images} images into Orthanc (as shipped)")
    pacs.load(job.paths)
    ear = BusEar(line.settings.amqp_url, SeriesMoved)
    try:
        field = [
            *ours(job, line, line.write_config(pacs), ear),
            *movescu_alone(job, pacs, ports),
            *rivals(job, pacs, ports),
        ]
        run_interleaved(field, rounds)
    finally:
        ear.close()
    return field


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("patients", "series"), help="one of the two jobs")
    parser.add_argument("--pixels", type=int, default=128, help="rows and columns of an image")
    wishes = parser.parse_args()
    exit_on_sigterm()
    print_conditions("before")
    met = True
    with tempfile.TemporaryDirectory(prefix="pacstream-bench-") as name:
        folder = Path(name)
        ports = {aet: free_port() for aet in (AET, SCU, OTHER)}
        destinations = {aet: ("127.0.0.1", port) for aet, port in ports.items()}
        with (
            OrthancPacs(folder / "orthanc", destinations) as pacs,
            Line(folder, ports[AET]) as line,
        ):
            if wishes.only != "series":
                job = Job(folder, "PATIENTS", 20, 10, wishes.pixels)
                field = measure(job, line, pacs, ports, wishes.rounds)
                print_table("20 patients x 1 series x 10 images", field, OURS, job.images)
                met &= print_goals([field], [Goal(OURS, PACSIFIER, 20.0)])
            if wishes.only != "patients":
                job = Job(folder, "SERIES", 1, 1000, wishes.pixels)
                field = measure(job, line, pacs, ports, wishes.rounds)
                print_table("1 series x 1000 images", field, OURS, job.images)
                met &= print_goals([field], [Goal(MOVE, MOVESCU_TUNED, 1.0)])
    print_conditions("after")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
