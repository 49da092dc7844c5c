"""`python -m bench.receive`: our store SCP beside DCMTK's storescp, Orthanc and pynetdicom's."""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench.images import Modality, WrittenSeries, write_series
from bench.line import Broker, BusEar
from bench.processes import ended_children_cpu
from bench.profiles import make_picture, recorded
from bench.receivers import (
    FolderReceiver,
    OrthancReceiver,
    OurReceiver,
    Receiver,
    SinkReceiver,
    started,
)
from bench.rounds import (
    CONSOLE,
    Contender,
    Goal,
    Taken,
    print_conditions,
    print_goals,
    print_ratios,
    run_interleaved,
)
from bench.senders import SCU, Commands, dcmsend, moved_by, send, storescu
from bench.tools import exit_on_sigterm
from demo.pacs import OrthancPacs, Pacs
from pacstream.messages import InstancesReceived

STORESCP, SHIPPED = "storescp, TCP_NODELAY=1", "storescp as shipped"
BYTES = "storescp +B -pdu 131072"
ORTHANC, PYNETDICOM = "Orthanc", "pynetdicom storescp"
OURS, DURABLE, TWO = "pacstream", "pacstream, durable_ack", "pacstream, 2 workers"
UNANNOUNCED = "pacstream, no events"
SINK = "a sink: storescp +B --ignore"

SENDERS = ("storescu", "dcmsend", "c-move")
ASSOCIATIONS = (1, 4)
FLAME_S = 10.0

SENDERS_OF_FOUR = 4
GOALS = (
    Goal(OURS, STORESCP, 0.9, "cpu"),
    Goal(OURS, PYNETDICOM, 5.0, "cpu"),
    Goal(OURS, PYNETDICOM, 5.0),
    Goal(OURS, UNANNOUNCED, 0.85, "cpu"),
    Goal(OURS, UNANNOUNCED, 0.85),
)
GOALS_WITH_FOUR = (Goal(TWO, STORESCP, 1.3),)


@dataclass(frozen=True)
class Job:
    """Some images from one kind of sender over so many associations."""

    modality: Modality
    series: Sequence[WrittenSeries]
    sender: str
    command: Commands
    associations: int
    senders_cpu: dict[str, list[float]] = field(default_factory=dict)
    """CPU seconds of the senders' processes by receiver, in the order of the runs."""

    @property
    def title(self) -> str:
        several = f"{self.associations} association{'s' * (self.associations > 1)}"
        images = sum(one.images for one in self.series)
        return f"{images} {self.modality} images, {self.sender}, {several}"

    def run(self, receiver: Receiver) -> Taken:
        receiver.expect(self.series)
        before, others = receiver.cpu(), ended_children_cpu()
        seconds = send(self.command, receiver, self.series, self.associations)
        self.senders_cpu.setdefault(receiver.name, []).append(ended_children_cpu() - others)
        receiver.settle(self.series)
        return Taken(seconds, receiver.cpu() - before)


def receivers(folder: Path, amqp_url: str, ear: BusEar[InstancesReceived]) -> list[Receiver]:
    """All contenders; storescp forks for each association, else it would take one at a time."""
    dcmtk = ["storescp", "--fork", "-dhl"]
    pynetdicom = [sys.executable, "-m", "pynetdicom", "storescp"]
    ours = partial(OurReceiver, folder=folder, amqp_url=amqp_url, ear=ear)
    field: list[Receiver] = [
        FolderReceiver(STORESCP, "TUNED", folder, dcmtk, nodelay=True),
        FolderReceiver(SHIPPED, "SHIPPED", folder, dcmtk),
        FolderReceiver(
            BYTES, "BYTES", folder, [*dcmtk, "+B", "-pdu", "131072"], nodelay=True
        ),
        SinkReceiver(
            SINK, "SINK", folder, [*dcmtk, "+B", "--ignore", "-pdu", "131072"], nodelay=True
        ),
        OrthancReceiver(ORTHANC, "ORTHANC_SCP", folder, (SCU, "ORTHANC")),
        FolderReceiver(PYNETDICOM, "PYNETDICOM", folder, pynetdicom),
        ours(OURS, "OURS"),
        ours(UNANNOUNCED, "UNANNOUNCED", module="bench.unannounced", announces=False),
        ours(TWO, "TWO", store_workers="2"),
        ours(DURABLE, "DURABLE", durable_ack="true"),
    ]  # fmt: skip
    return field


def jobs(
    folder: Path, pacs: Pacs, modalities: Sequence[Modality], senders: Sequence[str], images: int
) -> Iterator[Job]:
    commands = {"storescu": storescu, "dcmsend": dcmsend, "c-move": moved_by(pacs)}
    for modality in modalities:
        share = -(-images // SENDERS_OF_FOUR)
        series = [
            write_series(folder / "images", modality, share, number=number)
            for number in range(1, SENDERS_OF_FOUR + 1)
        ]
        pacs.load(path for one in series for path in sorted(one.folder.iterdir()))
        for sender in senders:
            for associations in ASSOCIATIONS:
                yield Job(modality, series, sender, commands[sender], associations)


def measure(job: Job, field: Sequence[Receiver], rounds: int) -> list[Contender]:
    CONSOLE.print(job.title)
    contenders = [
        Contender(one.name, partial(job.run, one), once=one.name == SHIPPED) for one in field
    ]
    run_interleaved(contenders, rounds)
    print_ratios(job.title, contenders, STORESCP, sum(one.images for one in job.series))
    return contenders


def warm_up(job: Job, field: Sequence[Receiver]) -> None:
    """First associations import, connect and compile; they are no one's speed."""
    few = Job(job.modality, job.series[:1], job.sender, job.command, 1)
    for receiver in field:
        if receiver.name != SHIPPED:
            few.run(receiver)


def draw_flame_graph(path: Path, job: Job, receiver: Receiver) -> None:
    """Of the receiver while it takes the job's images again and again."""
    with recorded(path, receiver.pids[0], "flamegraph", longest_s=FLAME_S) as is_recording:
        while is_recording():
            job.run(receiver)
    make_picture(path, f"store SCP: {job.title}")
    CONSOLE.print(f"{path}: {path.stat().st_size / 1000:.0f} kB, {job.title}")


def judge(measured: Sequence[tuple[Job, Sequence[Contender]]]) -> bool:
    CONSOLE.print("Over all jobs (geometric means):")
    all_jobs = [field for _, field in measured]
    with_four = [field for job, field in measured if job.associations == SENDERS_OF_FOUR]
    met = print_goals(all_jobs, GOALS)
    print_bound([(job, field) for job, field in measured if job.associations == SENDERS_OF_FOUR])
    return print_goals(with_four, GOALS_WITH_FOUR) and met


def print_bound(with_four: Sequence[tuple[Job, Sequence[Contender]]]) -> None:
    """What the goal for two workers can come to on these cores, which the senders share."""
    ratios = [
        ratio for _, ran in with_four if (ratio := Goal(SINK, STORESCP, 1.0).ratio(ran)) is not None
    ]
    if not ratios:
        return
    CONSOLE.print(
        f"bound: the senders into a sink that only answers reach "
        f"{statistics.geometric_mean(ratios):.2f}x the wall rate of {STORESCP} "
        f"({min(ratios):.2f}-{max(ratios):.2f} over {len(ratios)} jobs with four associations)"
    )
    for job, ran in with_four:
        for one in ran:
            if one.name in (SINK, STORESCP, TWO) and job.sender != "c-move":
                sending = statistics.median(job.senders_cpu[one.name])
                CONSOLE.print(
                    f"  {job.title}, {one.name}: wall {one.median:.2f} s, CPU of the senders "
                    f"{sending:.2f} s, of the receiver {one.median_of('cpu'):.2f} s",
                    style="dim",
                )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--instances", type=int, default=300, help="images in each run")
    parser.add_argument("--only", choices=("CT", "MR"), help="one of the two kinds of images")
    parser.add_argument("--sender", choices=SENDERS, help="one of the senders")
    parser.add_argument("--contenders", default="", help="only those with one of these texts, a,b")
    parser.add_argument("--flame", type=Path, metavar="FILE.svg", help="flame graph of pacstream")
    return parser.parse_args()


def chosen(field: Sequence[Receiver], texts: str) -> list[Receiver]:
    wanted = [text for text in texts.split(",") if text]
    return [one for one in field if not wanted or any(text in one.name for text in wanted)]


def main() -> int:
    wishes = parse_arguments()
    exit_on_sigterm()
    print_conditions("before")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pacstream-bench-")))
        amqp_url = stack.enter_context(Broker(folder / "broker"))
        ear = stack.enter_context(contextlib.closing(BusEar(amqp_url, InstancesReceived)))
        field = chosen(receivers(folder, amqp_url, ear), wishes.contenders)
        places = {one.aet: ("127.0.0.1", one.port) for one in field}
        pacs = stack.enter_context(
            OrthancPacs(folder / "pacs", places, clients=[SCU], nodelay=True)
        )
        stack.enter_context(started(field))
        modalities: list[Modality] = [wishes.only] if wishes.only else ["CT", "MR"]
        senders = [wishes.sender] if wishes.sender else list(SENDERS)
        measured: list[tuple[Job, Sequence[Contender]]] = []
        for job in jobs(folder, pacs, modalities, senders, wishes.instances):
            if not measured:
                warm_up(job, field)
            measured.append((job, measure(job, field, wishes.rounds)))
        if wishes.flame:
            [ours] = [one for one in field if one.name == OURS]
            draw_flame_graph(wishes.flame, measured[0][0], ours)
        met = judge(measured)
    print_conditions("after")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
