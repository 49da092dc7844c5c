"""What the audit costs: the anonymizer's engine with and without it, in one run.

python -m bench.audit [--instances 256] [--rounds 5]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from bench import images
from pacstream.durable import FileGroup
from pacstream.pseudonyms import ProjectKey
from pacstream_anonymizer import triage
from pacstream_anonymizer.audit import Auditor
from pacstream_anonymizer.deidentifier import Release, read_original
from pacstream_anonymizer.shelf import shipped
from pacstream_anonymizer.triage import Wanted

GROUP = 64
KEY = ProjectKey(bytes(32))


def release(sources: list[Path], folder: Path, *, audited: bool) -> float:
    """Seconds for all instances, in groups as messages have them."""
    identity = triage.identity_of(read_original(sources[0].read_bytes()).elements)
    wanted = Wanted(identity.study_uid, identity.series_uid, identity.patient_id)
    profile = shipped("research")
    began = time.perf_counter()
    for start in range(0, len(sources), GROUP):
        auditor = Auditor(folder, "bench", "bench", KEY, profile)
        with FileGroup() as files:
            trail = auditor.touched if audited else None
            out = Release(
                wanted, KEY, lambda _: folder / "out", files, profile=profile, trail=trail
            )
            for source in sources[start : start + GROUP]:
                auditor.begin()
                result = out.add(source)
                if audited:
                    auditor.end(source.stem, result)
            files.commit()
        auditor.write()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    wanted = parser.parse_args()
    seconds: dict[bool, list[float]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        images.write_series(root / "in", "CT", wanted.instances, patient=0, number=0)
        sources = sorted(path for path in (root / "in").rglob("*") if path.is_file())
        for number in range(wanted.rounds):
            for audited in (True, False) if number % 2 else (False, True):
                folder = root / f"{number}-{audited}"
                seconds[audited].append(release(sources, folder, audited=audited))
        written = sum(path.stat().st_size for path in root.glob("*-True/audit/*/*"))
    without, with_it = (statistics.median(seconds[one]) for one in (False, True))
    print(f"{len(sources)} CT instances, {wanted.rounds} rounds, median")
    print(f"  without audit {len(sources) / without:6.0f} instances/s")
    print(
        f"  with audit    {len(sources) / with_it:6.0f} instances/s ({without / with_it:.2f} of it)"
    )
    print(f"  {written / len(sources) / wanted.rounds:.0f} bytes an instance")


if __name__ == "__main__":
    main()
