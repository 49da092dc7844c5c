"""Run in dcmanon's environment: each file of a folder for itself, under
a name that tells nothing."""

import sys
from pathlib import Path

import dcmanon

originals, released = Path(sys.argv[1]), Path(sys.argv[2])
anonymizer = dcmanon.Anonymizer()
for number, path in enumerate(sorted(originals.rglob("*"))):
    if path.is_file():
        target = released / f"{number:05d}.dcm"
        try:
            target.write_bytes(anonymizer.anonymize(str(path)))
        except Exception as error:  # noqa: BLE001 - what it can't do is what is measured
            sys.stderr.write(f"{type(error).__name__}\n")
