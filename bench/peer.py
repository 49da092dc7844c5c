"""`python peer.py ENGINE ORIGINALS RELEASED`: one engine's work on a folder, in this process;
prints seconds and CPU seconds as JSON.

It is run by the Python of the engine's own environment, so it imports nothing of pacstream. The
first file is not timed: tables and dictionaries are read at the first use.
"""

import json
import resource
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

Work = Callable[[Path, Path], object]


def copy() -> Work:
    return shutil.copyfile


def dicognito() -> Work:
    import pydicom
    from dicognito.anonymizer import Anonymizer

    anonymizer = Anonymizer()

    def work(source: Path, target: Path) -> None:
        data_set = pydicom.dcmread(source)
        anonymizer.anonymize(data_set)
        data_set.save_as(target)

    return work


def dicom_anonymizer() -> Work:
    from dicomanonymizer import anonymize_dicom_file

    return lambda source, target: anonymize_dicom_file(str(source), str(target))


def dcmanon() -> Work:
    from dcmanon import Anonymizer

    anonymizer = Anonymizer()
    return lambda source, target: target.write_bytes(anonymizer.anonymize(str(source)))


ENGINES = {
    "cp": copy,
    "dicognito": dicognito,
    "dicom-anonymizer": dicom_anonymizer,
    "dcmanon": dcmanon,
}


def main() -> int:
    engine, originals, released = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    work = ENGINES[engine]()
    paths = sorted(path for path in originals.rglob("*") if path.is_file())
    work(paths[0], released / "first")
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    for number, path in enumerate(paths):
        work(path, released / f"{number:05d}.dcm")
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    json.dump({"seconds": seconds, "cpu": cpu}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
