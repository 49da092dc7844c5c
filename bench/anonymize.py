"""`python -m bench.anonymize`: de-identification for itself, one process each, beside others."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.images import Modality, write_series
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
from bench.stages import order_of
from bench.tools import DCMANON, DICOGNITO, DICOM_ANONYMIZER, BenchError, installed
from pacstream.archive import Archive
from pacstream.keys import create_key

HERE = Path(__file__).resolve().parents[1]
OURS, TWO = "pacstream", "pacstream, 2 processes"
COPIED, COPIED_BY_TWO = "cp", "cp, 2 processes"
PEERS = {
    COPIED: "",
    "dicognito": DICOGNITO,
    "dicom-anonymizer": DICOM_ANONYMIZER,
    "dcmanon": DCMANON,
}
GOALS = (Goal(OURS, "dicognito", 4.0, "cpu"), Goal(TWO, OURS, 1.9))
CT_GOALS = (Goal(OURS, "dcmanon", 1.0, "cpu"),)
LIMIT = Goal(COPIED_BY_TWO, COPIED, 1.0)
"""What two processes gain here that only copy: nobody who writes as much can gain more."""


@dataclass(frozen=True)
class Job:
    """Images of one modality: `archives` and `folders` have half of them each, `whole` and `folder`
    all.

    Each run writes to a folder of its own, and none is removed before the job is over: ext4 without
    a journal walks over what was deleted in the last minute for each file that is made.
    """

    modality: Modality
    images: int
    whole: Archive
    archives: tuple[Archive, Archive]
    folder: Path
    folders: tuple[Path, Path]


def lay_out(root: Path, modality: Modality, images: int) -> Job:
    """The same two series as a plain folder, in one trusted zone, and in a zone each."""
    folder = root / "originals"
    whole = Archive(root / "whole")
    halves = (Archive(root / "half-1"), Archive(root / "half-2"))
    folders = []
    for number, half in enumerate(halves, start=1):
        written = write_series(folder, modality, images // 2, number=number)
        folders.append(written.folder)
        for archive in (whole, half):
            create_key(archive.keys, "bench")
            archive.write_order(order_of(written, number))
            for path, uid in zip(
                sorted(written.folder.iterdir()), written.sop_instance_uids, strict=True
            ):
                target = archive.instance_path(written.series_uid, uid)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.hardlink_to(path)
    return Job(modality, images // 2 * 2, whole, halves, folder, (folders[0], folders[1]))


def run_ours(archives: Sequence[Archive]) -> Taken:
    """The anonymizer's work, release gate and flushing included; a process for each archive."""
    commands = []
    for archive in archives:
        out = tempfile.mkdtemp(prefix="out-", dir=archive.root)
        commands.append([sys.executable, "-m", "bench.stage", "anonymizer", str(archive.root), out])
    return _together(commands)


def run_peer(engine: str, requirement: str, job: Job, folders: Sequence[Path]) -> Taken:
    """A process for each folder; together they are the whole job."""
    python = str(installed(requirement)) if requirement else sys.executable
    script = str(Path(__file__).with_name("peer.py"))
    commands, written = [], []
    for folder in folders:
        written.append(Path(tempfile.mkdtemp(prefix="released-", dir=job.folder.parent)))
        commands.append([python, script, engine, str(folder), str(written[-1])])
    taken = _together(commands)
    if sum(1 for folder in written for path in folder.glob("*.dcm")) != job.images:
        raise BenchError(f"{engine} has not written all images")
    return taken


def _together(commands: Sequence[Sequence[str]]) -> Taken:
    """Seconds of the slowest, and CPU seconds of all; starting does not count, and what somebody
    has written before is on the disk."""
    os.sync()
    running = [
        subprocess.Popen(
            command, cwd=HERE, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, errors="replace",
        )
        for command in commands
    ]  # fmt: skip
    taken = []
    for process in running:
        output, errors = process.communicate()
        if process.returncode:
            raise BenchError(f"{process.args!r} ends with {process.returncode}: {errors[-1000:]}")
        taken.append(Taken(**json.loads(output.splitlines()[-1])))
    return Taken(max(one.seconds for one in taken), sum(one.cpu for one in taken))


def contenders(job: Job, wanted: Sequence[str]) -> list[Contender]:
    field = [
        Contender(OURS, partial(run_ours, [job.whole])),
        Contender(TWO, partial(run_ours, job.archives)),
        Contender(COPIED_BY_TWO, partial(run_peer, COPIED, "", job, job.folders)),
        *(
            Contender(name, partial(run_peer, name, of, job, [job.folder]))
            for name, of in PEERS.items()
        ),
    ]
    return [one for one in field if not wanted or any(text in one.name for text in wanted)]


def _print_limit(jobs: Sequence[Sequence[Contender]]) -> None:
    ratios = [ratio for job in jobs if (ratio := LIMIT.ratio(job)) is not None]
    if ratios:
        each = ", ".join(f"{ratio:.2f}x" for ratio in ratios)
        CONSOLE.print(f"the machine: {COPIED_BY_TWO} is {each} as fast as {COPIED}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("CT", "MR"))
    parser.add_argument("--contenders", type=lambda text: text.split(","), default=[])
    wishes = parser.parse_args()
    print_conditions("before")
    jobs: dict[Modality, list[Contender]] = {}
    modalities: tuple[Modality, ...] = (wishes.only,) if wishes.only else ("CT", "MR")
    for modality in modalities:
        with tempfile.TemporaryDirectory(prefix="pacstream-bench-") as folder:
            job = lay_out(Path(folder), modality, wishes.instances)
            jobs[modality] = contenders(job, wishes.contenders)
            run_interleaved(jobs[modality], wishes.rounds)
            print_ratios(f"{modality}: {job.images} images", jobs[modality], "cp", job.images)
    met = print_goals(list(jobs.values()), GOALS)
    met &= print_goals([jobs["CT"]] if "CT" in jobs else [], CT_GOALS)
    _print_limit(list(jobs.values()))
    print_conditions("after")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
