"""Run in dicognito's environment: each file of a folder for itself, all with one anonymizer; its
own command ends at the first file that it can't clean."""

import sys
from pathlib import Path

import pydicom
from dicognito.anonymizer import Anonymizer

originals, released = Path(sys.argv[1]), Path(sys.argv[2])
anonymizer = Anonymizer(seed="answer key")
for path in sorted(originals.rglob("*")):
    if path.is_file():
        try:
            data_set = pydicom.dcmread(path)
            anonymizer.anonymize(data_set)
            data_set.save_as(released / f"{data_set.SOPInstanceUID}.dcm")
        except Exception as error:  # noqa: BLE001 - what it can't do is what is measured
            sys.stderr.write(f"{type(error).__name__}\n")
