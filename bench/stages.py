"""`python -m bench.stages --against FOLDER`: what anonymizer and converter take for an instance,
here and in another version of pacstream, side by side."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from bench.images import Modality, WrittenSeries, write_series
from bench.rounds import CONSOLE, Contender, Taken, print_conditions, print_ratios, run_interleaved
from bench.stage import BATCH
from bench.tools import BenchError
from pacstream.archive import Archive
from pacstream.keys import create_key
from pacstream.messages import Actions, Order, Series

HERE = Path(__file__).resolve().parents[1]
STAGES = ("anonymizer", "converter")
ROOTS = ("shared", "services/anonymizer", "services/converter")


def lay_out(archive: Archive, images: int) -> int:
    """Originals with their orders, as the store SCP leaves them: two CT and two MR series; how many
    instances."""
    create_key(archive.keys, "bench")
    count = 0
    modalities: tuple[Modality, ...] = ("CT", "MR", "CT", "MR")
    for number, modality in enumerate(modalities, start=1):
        folder = archive.root / "images"
        written = write_series(folder, modality, images // 4, number=number)
        archive.write_order(order_of(written, number))
        for path, uid in zip(
            sorted(written.folder.iterdir()), written.sop_instance_uids, strict=True
        ):
            path.rename(archive.instance_path(written.series_uid, uid))
        count += written.images
    return count


def order_of(series: WrittenSeries, number: int) -> Order:
    """The order under which a series was retrieved, for the batch BATCH."""
    return Order(
        batch_id=BATCH,
        series=Series(
            study_uid=series.study_uid,
            series_uid=series.series_uid,
            patient_id=series.patient_id,
            study_date="20240311",
            study_time="101500",
        ),
        actions=Actions(anonymize=True, convert=True),
        project="bench",
        out=str(series.folder),
        subject="sub-bench",
        session="ses-bench",
        folder=f"{number:05d}-{series.modality}",
        release_folder=f"{number:05d}-{series.modality}",
    )


def run(stage: str, version: Path, archive: Archive) -> Taken:
    out = archive.root / "out"
    shutil.rmtree(out, ignore_errors=True)
    path = os.pathsep.join(str(version / root) for root in ROOTS)
    done = subprocess.run(
        [sys.executable, "-m", "bench.stage", stage, str(archive.root), str(out)],
        env={**os.environ, "PYTHONPATH": path},
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"{stage} in {version}: {done.stderr[-2000:]}")
    return Taken(**json.loads(done.stdout))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", type=Path, help="a checkout of another version")
    parser.add_argument("--instances", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    wishes = parser.parse_args()
    print_conditions("before")
    with tempfile.TemporaryDirectory(prefix="pacstream-bench-") as folder:
        archive = Archive(Path(folder) / "data")
        images = lay_out(archive, wishes.instances)
        versions = [HERE] + ([wishes.against.resolve()] if wishes.against else [])
        for stage in STAGES:
            field = [Contender(str(v), partial(run, stage, v, archive)) for v in versions]
            run_interleaved(field, wishes.rounds)
            print_ratios(f"{stage}: {images} images", field, str(versions[-1]), images)
    CONSOLE.print("CPU is the service's own process: without dcm2niix, broker and bus")
    print_conditions("after")
    return 0


if __name__ == "__main__":
    sys.exit(main())
