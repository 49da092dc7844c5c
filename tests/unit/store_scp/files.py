"""Real instances: the files of pydicom and pydicom-data that say which instance they hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pydicom.data
from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from pacstream.archive import UID
from tests.fakes.upper_layer import Instance
from tests.unit.store_scp.scp import data_set_of

PYDICOM = Path(pydicom.data.__file__).parent
FOLDERS = (PYDICOM, PYDICOM.parent.parent / "data_store")
"""pydicom's own look-up would fetch what is missing from the internet."""


class SeriesKeys(NamedTuple):
    study_uid: str
    series_uid: str


class RealFile(NamedTuple):
    path: Path
    keys: SeriesKeys
    instance: Instance
    """The data set as it lies in the file."""


def real_files() -> Iterator[RealFile]:
    for path in sorted(path for folder in FOLDERS for path in folder.rglob("*.dcm")):
        try:
            dataset = dcmread(path, stop_before_pixels=True)
            meta = dataset.file_meta
            keys = SeriesKeys(str(dataset.StudyInstanceUID), str(dataset.SeriesInstanceUID))
            uid = str(dataset.SOPInstanceUID)
            syntax = str(meta.TransferSyntaxUID)
        except (InvalidDicomError, AttributeError):
            continue  # made to be broken, or no instance
        honest = meta.get("MediaStorageSOPInstanceUID") == uid
        if honest and all(UID.fullmatch(part) for part in (uid, *keys)):
            instance = Instance(str(dataset.SOPClassUID), uid, syntax, data_set_of(path))
            yield RealFile(path, keys, instance)


def distinct(files: Iterable[RealFile]) -> list[RealFile]:
    """Of files that hold one instance in several transfer syntaxes the first."""
    return list({file.instance.sop_instance: file for file in reversed(list(files))}.values())
