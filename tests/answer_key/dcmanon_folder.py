"""Run in dcmanon's environment: each file of a folder for itself."""

import sys
from pathlib import Path

import dcmanon

originals, released = Path(sys.argv[1]), Path(sys.argv[2])
anonymizer = dcmanon.Anonymizer()
for path in sorted(originals.rglob("*")):
    if path.is_file():
        target = released / path.relative_to(originals)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.write_bytes(anonymizer.anonymize(str(path)))
        except Exception as error:  # noqa: BLE001 - what it can't do is what is measured
            sys.stderr.write(f"{type(error).__name__}\n")
