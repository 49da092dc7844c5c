"""`python -m bench.pipeline`: a batch from the PACS to de-identified DICOM and NIfTI, beside a
script of DCMTK, dicognito and dcm2niix, and beside PACSIFIER 1.0.0."""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import shutil
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rich.table import Table

from bench.images import Modality, WrittenSeries, write_series
from bench.line import AET, Broker, BusEar, Line, write_queries
from bench.processes import cpu_seconds, run_together
from bench.profiles import recorded, shares
from bench.receivers import OurReceiver, Receiver, started
from bench.rivals import Pacsifier
from bench.rounds import (
    CONSOLE,
    Contender,
    Goal,
    Taken,
    print_conditions,
    print_goals,
    print_ratios,
    run_interleaved,
    timed,
)
from bench.script import Script
from bench.senders import SCU, moved_by
from bench.timeline import Timeline
from bench.tools import BenchError, exit_on_sigterm
from demo.pacs import OrthancPacs, dcmtk_environment, free_port
from pacstream.messages import InstancesReceived
from pacstream_cli.stack import parse_replicas

OTHER, SHIPPED_SCU, BARE_AET = "PACSIFIER_SCU", "SCRIPT_SCU", "BARE"
OURS, BARE = "pacstream submit", "bare transfer"
SCRIPT, SCRIPT_TUNED = "script as shipped", "script, TCP_NODELAY=1"
PACSIFIER = "PACSIFIER 1.0.0"

FLAGS = ("--anonymize", "--project", "bench", "--convert")
MOVES = 2
"""C-MOVEs at once in the bare transfer: as many as pacstream has under way by default."""

GOALS = (Goal(OURS, SCRIPT_TUNED, 3.0), Goal(OURS, SCRIPT, 3.0), Goal(OURS, PACSIFIER, 20.0))
LIMIT = 1.15

SERIES: Mapping[Modality, int] = {"CT": 2, "MR": 3}
"""Of each patient: a study of each modality with so many series, all of the same length."""

FUNCTIONS = 12


@dataclass(frozen=True)
class Work:
    """The images that everyone fetches, and the CSV that asks for them."""

    series: Sequence[WrittenSeries]
    rows: Sequence[dict[str, str]]
    queries: Path

    @property
    def images(self) -> int:
        return sum(one.images for one in self.series)

    def of_first_patient(self, folder: Path) -> Work:
        first = self.rows[0]["PatientID"]
        rows = [row for row in self.rows if row["PatientID"] == first]
        series = [one for one in self.series if one.patient_id == first]
        return Work(series, rows, write_queries(folder / "sample.csv", rows))


def make_work(folder: Path, images: int, patients: int) -> Work:
    share = images // (patients * sum(SERIES.values()))
    series: list[WrittenSeries] = []
    rows: list[dict[str, str]] = []
    for patient in range(1, patients + 1):
        for modality, several in SERIES.items():
            write = partial(write_series, folder / "images", modality, share, patient=patient)
            series += [write(number=number) for number in range(1, several + 1)]
            rows.append({"PatientID": series[-1].patient_id, "Modality": modality})
    return Work(series, rows, write_queries(folder / "queries.csv", rows))


@dataclass
class Findings:
    """What the runs tell beyond their times: when each stage began and ended, in seconds after the
    start, and the CPU seconds of each service."""

    stages: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)

    def note(
        self, stages: Mapping[str, tuple[float, float]], services: Mapping[str, float]
    ) -> None:
        for name, span in stages.items():
            self.stages.setdefault(name, []).append(span)
        for name, seconds in services.items():
            self.cpu.setdefault(name, []).append(seconds)


class Scene:
    """The PACS, the line and a second store SCP, all up; and what each contender does with them."""

    def __init__(self, folder: Path, work: Work, pacs: OrthancPacs, line: Line) -> None:
        self.folder = folder
        self.work = work
        self.pacs = pacs
        self.line = line
        self.config = line.write_config(pacs)
        self.findings = {name: Findings() for name in (OURS, SCRIPT_TUNED, SCRIPT)}

    def pacstream(self, findings: Findings) -> Taken:
        out = self._new_folder()
        self.line.forget_images()
        pids = {**self.line.pids(), "Orthanc (PACS)": self.pacs.pid}
        before = {name: cpu_seconds([pid]) for name, pid in pids.items()}
        children = _children_cpu()
        with Timeline(self.line.settings.amqp_url) as timeline:
            seconds = timed(lambda: self.line.batch(self.config, self.work.queries, out, *FLAGS))
        used = {name: cpu_seconds([pid]) - before[name] for name, pid in pids.items()}
        used["pacstream submit"] = _children_cpu() - children
        self._require(out / "release", "*.dcm", self.work.images)
        self._require(out / "release", "*.nii.gz", len(self.work.series))
        findings.note(timeline.stages(), used)
        return Taken(seconds, sum(used.values()) - used["Orthanc (PACS)"])

    def script(self, findings: Findings, script: Script) -> Taken:
        out = self._new_folder()
        pacs, children = cpu_seconds([self.pacs.pid]), _children_cpu()
        stages = script.run(self.work.rows, out)
        cpu = _children_cpu() - children
        self._require(out / "dicom", "*.*", self.work.images)
        self._require(out / "nifti", "*.nii.gz", len(self.work.series))
        used = {"programs": cpu, "Orthanc (PACS)": cpu_seconds([self.pacs.pid]) - pacs}
        findings.note(stages, used)
        return Taken(max(end for _, end in stages.values()), cpu)

    def bare(self, receiver: Receiver) -> Taken:
        receiver.expect(self.work.series)
        command, environ = moved_by(self.pacs), dcmtk_environment(nodelay=True)
        before, children = receiver.cpu(), _children_cpu()

        def move(series: WrittenSeries) -> None:
            run_together([command(receiver, [series])], environ)

        with ThreadPoolExecutor(MOVES) as pool:
            seconds = timed(lambda: list(pool.map(move, self.work.series)))
        receiver.settle(self.work.series)
        return Taken(seconds, receiver.cpu() - before + _children_cpu() - children)

    def pacsifier(self, pacsifier: Pacsifier) -> Taken:
        """The first patient's rows only; both times are multiplied up to all images."""
        sample, out = self.work.of_first_patient(self.folder), self._new_folder()
        children = _children_cpu()
        seconds = timed(lambda: pacsifier.fetch(sample.queries, out))
        cpu = _children_cpu() - children
        came = {path.name.partition(".")[2] for path in out.rglob("*.*")}
        missing = {uid for one in sample.series for uid in one.sop_instance_uids} - came
        if missing:
            raise BenchError(f"PACSIFIER left out {len(missing)} images")
        factor = self.work.images / sample.images
        return Taken(seconds * factor, cpu * factor)

    def profile(self, folder: Path) -> None:
        """One more run of ours, with py-spy on all services."""
        folder.mkdir(parents=True, exist_ok=True)
        services = self.line.services()
        with contextlib.ExitStack() as stack:
            for name, pid in services.items():
                stack.enter_context(recorded(folder / f"{name}.txt", pid, "raw", "--gil"))
            taken = self.pacstream(Findings())
        CONSOLE.print(f"with py-spy: {taken.seconds:.1f} s")
        for name in services:
            print_functions(name, folder / f"{name}.txt")

    def _new_folder(self) -> Path:
        out = self.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        return out

    @staticmethod
    def _require(folder: Path, pattern: str, wanted: int) -> None:
        count = sum(1 for path in folder.rglob(pattern) if path.is_file())
        if count != wanted:
            raise BenchError(f"{count} files {pattern}, not {wanted}")


def _children_cpu() -> float:
    """User and system time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def contenders(scene: Scene, receiver: Receiver, ports: Mapping[str, int]) -> list[Contender]:
    pacs, notes = scene.pacs, scene.findings
    tuned = Script(pacs, SCU, ports[SCU], nodelay=True)
    shipped = Script(pacs, SHIPPED_SCU, ports[SHIPPED_SCU], nodelay=False)
    pacsifier = Pacsifier(pacs, OTHER, ports[OTHER], nodelay=False)
    patients = len({one.patient_id for one in scene.work.series})
    return [
        Contender(OURS, partial(scene.pacstream, notes[OURS])),
        Contender(BARE, partial(scene.bare, receiver)),
        Contender(SCRIPT_TUNED, partial(scene.script, notes[SCRIPT_TUNED], tuned)),
        Contender(SCRIPT, partial(scene.script, notes[SCRIPT], shipped), once=True),
        Contender(
            PACSIFIER, partial(scene.pacsifier, pacsifier), once=True,
            note=f"retrieval only; 1 of {patients} patients, extrapolated",
        ),
    ]  # fmt: skip


def print_findings(name: str, findings: Findings, images: int) -> None:
    table = Table(title=f"{name}: seconds after the start", title_justify="left", min_width=60)
    for column in ("stage", "first", "last"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for stage, spans in findings.stages.items():
        first, last = (statistics.median(moments) for moments in zip(*spans, strict=True))
        table.add_row(stage, f"{first:.2f}", f"{last:.2f}")
    CONSOLE.print(table)
    table = Table(
        title=f"{name}: CPU seconds per 1,000 instances", title_justify="left", min_width=60
    )
    table.add_column("service")
    table.add_column("CPU s", justify="right")
    for service, seconds in findings.cpu.items():
        table.add_row(service, f"{statistics.median(seconds) * 1000 / images:.2f}")
    CONSOLE.print(table)


def print_functions(name: str, path: Path) -> None:
    """Where a service's CPU time goes: the functions that cost most themselves, then pacstream's
    own with all that they call."""
    found = shares(path)
    ours = sorted((s for s in found if "(pacstream" in s.function), key=lambda s: -s.whole)
    table = Table(title=f"{name}: share of the samples that hold the GIL", title_justify="left")
    for column in ("function", "itself", "with callees"):
        table.add_column(column, justify="left" if column == "function" else "right")
    for share in found[:FUNCTIONS]:
        table.add_row(share.function, f"{share.itself:.1%}", f"{share.whole:.1%}")
    table.add_section()
    for share in ours[:FUNCTIONS]:
        table.add_row(share.function, f"{share.itself:.1%}", f"{share.whole:.1%}")
    CONSOLE.print(table)


def print_limit(field: Sequence[Contender], findings: Findings) -> None:
    medians = {one.name: one.median for one in field if one.seconds}
    if BARE not in medians or OURS not in medians:
        return
    cores = os.cpu_count() or 1
    cpu = sum(statistics.median(seconds) for seconds in findings.cpu.values())
    CONSOLE.print(
        f"{OURS} takes {medians[OURS] / medians[BARE]:.2f}x the {BARE}; wanted {LIMIT:g}x where "
        "the anonymizer has cores of its own. Not judged: here PACS, broker and all services "
        f"share {cores} cores, and their {cpu:.1f} CPU s alone take {cpu / cores:.1f} s on them, "
        f"{cpu / cores / medians[BARE]:.2f}x the {BARE}."
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--instances", type=int, default=2000)
    parser.add_argument("--patients", type=int, default=4)
    parser.add_argument(
        "--replicas", type=parse_replicas, default="", help="of services, as `pacstream up` has it"
    )
    parser.add_argument("--contenders", default="", help="only those with one of these texts, a,b")
    parser.add_argument(
        "--profile", type=Path, metavar="FOLDER", help="py-spy on all services in one more run"
    )
    return parser.parse_args()


def chosen(field: Sequence[Contender], texts: str) -> list[Contender]:
    wanted = [text for text in texts.split(",") if text]
    return [one for one in field if not wanted or any(text in one.name for text in wanted)]


def main() -> int:
    wishes = parse_arguments()
    exit_on_sigterm()
    print_conditions("before")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pacstream-bench-")))
        work = make_work(folder, wishes.instances, wishes.patients)
        amqp_url = stack.enter_context(Broker(folder / "broker"))
        ear = stack.enter_context(contextlib.closing(BusEar(amqp_url, InstancesReceived)))
        receiver = OurReceiver("store SCP", BARE_AET, folder, amqp_url, ear)
        ports = {aet: free_port() for aet in (AET, SCU, SHIPPED_SCU, OTHER)}
        ports[BARE_AET] = receiver.port
        places = {aet: ("127.0.0.1", port) for aet, port in ports.items()}
        pacs = stack.enter_context(OrthancPacs(folder / "orthanc", places))
        CONSOLE.print(f"loading {work.images} images into Orthanc (as shipped)")
        pacs.load(path for one in work.series for path in sorted(one.folder.iterdir()))
        stack.enter_context(started([receiver]))
        line = Line(folder, ports[AET], wishes.replicas)
        scene = Scene(folder, work, pacs, stack.enter_context(line))
        field = chosen(contenders(scene, receiver, ports), wishes.contenders)
        run_interleaved(field, wishes.rounds)
        if wishes.profile:
            scene.profile(wishes.profile)
    print_ratios(f"{work.images} images from Orthanc", field, OURS, work.images)
    for name in (one.name for one in field if one.name in scene.findings):
        print_findings(name, scene.findings[name], work.images)
    met = print_goals([field], GOALS)
    print_limit(field, scene.findings[OURS])
    print_conditions("after")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
