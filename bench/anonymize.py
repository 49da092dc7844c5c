"""`python -m bench.anonymize`: de-identification for itself, one process each, beside others."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.images import Modality, write_series
from bench.rounds import (
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
PEERS = {
    "cp": "",
    "dicognito": DICOGNITO,
    "dicom-anonymizer": DICOM_ANONYMIZER,
    "dcmanon": DCMANON,
}
OURS, TWO = "pacstream", "pacstream, 2 processes"
GOALS = (Goal(OURS, "dicognito", 4.0, "cpu"), Goal(TWO, OURS, 1.9))
CT_GOALS = (Goal(OURS, "dcmanon", 1.0, "cpu"),)


@dataclass(frozen=True)
class Job:
    """Images of one modality: `archives` have half of them each, `whole` and `folder` all."""

    modality: Modality
    images: int
    whole: Archive
    archives: tuple[Archive, Archive]
    folder: Path


def lay_out(root: Path, modality: Modality, images: int) -> Job:
    """The same two series as a plain folder, in one trusted zone, and in a zone each."""
    folder = root / "originals"
    whole = Archive(root / "whole")
    halves = (Archive(root / "half-1"), Archive(root / "half-2"))
    for number, half in enumerate(halves, start=1):
        written = write_series(folder, modality, images // 2, number=number)
        for archive in (whole, half):
            create_key(archive.keys, "bench")
            archive.write_order(order_of(written, number))
            for path, uid in zip(
                sorted(written.folder.iterdir()), written.sop_instance_uids, strict=True
            ):
                target = archive.instance_path(written.series_uid, uid)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
    return Job(modality, images // 2 * 2, whole, halves, folder)


def run_ours(archives: Sequence[Archive]) -> Taken:
    """The anonymizer's work, release gate and flushing included; a process for each archive."""
    commands = []
    for archive in archives:
        out = archive.root / "out"
        shutil.rmtree(out, ignore_errors=True)
        commands.append(
            [sys.executable, "-m", "bench.stage", "anonymizer", str(archive.root), str(out)]
        )
    return _together(commands)


def run_peer(engine: str, requirement: str, job: Job) -> Taken:
    released = job.folder.with_name("released")
    shutil.rmtree(released, ignore_errors=True)
    released.mkdir()
    python = str(installed(requirement)) if requirement else sys.executable
    script = str(Path(__file__).with_name("peer.py"))
    taken = _together([[python, script, engine, str(job.folder), str(released)]])
    if sum(1 for path in released.iterdir() if path.suffix == ".dcm") != job.images:
        raise BenchError(f"{engine} has not written all images")
    return taken


def _together(commands: Sequence[Sequence[str]]) -> Taken:
    """Seconds of the slowest, and CPU seconds of all; starting does not count."""
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
        *(Contender(name, partial(run_peer, name, of, job)) for name, of in PEERS.items()),
    ]
    return [one for one in field if not wanted or any(text in one.name for text in wanted)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=200)
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
    print_conditions("after")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
