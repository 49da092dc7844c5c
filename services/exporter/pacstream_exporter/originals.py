"""The originals of a complete series, copied to where the user works on them."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path

from pacstream.archive import PART_SUFFIX, Archive, flush_folder, replacing
from pacstream.errors import RejectedError
from pacstream.logs import ref
from pacstream.messages import Order
from pacstream.results import originals_folder, output_errors
from pacstream_exporter.disk import copy_file, same_content
from pacstream_exporter.layout import instance_names


def export_originals(order: Order, instances: Iterable[str], archive: Archive) -> int:
    """Make the series folder hold exact copies of `instances`; the number of them.

    A new folder appears whole or not at all. In one that is there, instances that are missing or
    differ are replaced one by one, and files that are not ours stay. Raises RejectedError
    `original_missing` or `output_not_writable`, RetryLaterError `disk`, ZoneError.
    """
    series_uid = order.series.series_uid
    target = originals_folder(order)
    names = instance_names(order.series.modality, instances)
    sources = {names[uid]: archive.instance_path(series_uid, uid) for uid in names}
    if not all(source.is_file() for source in sources.values()):
        raise RejectedError("an original is not in the archive", code="original_missing")
    with output_errors():
        if target.is_dir():
            _bring_up_to_date(target, sources)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            _fill_new_folder(target, sources, ref(series_uid))
            for folder in target.parents[:3]:
                flush_folder(folder)
    return len(sources)


def _bring_up_to_date(target: Path, sources: Mapping[str, Path]) -> None:
    for name, source in sources.items():
        if not same_content(source, target / name):
            with replacing(target / name) as part:
                copy_file(source, part)


def _fill_new_folder(target: Path, sources: Mapping[str, Path], owner: str) -> None:
    # What a killed process left. Should it be alive after all, it fails, retries, finds the folder.
    for remains in target.parent.glob(f".{owner}-*{PART_SUFFIX}"):
        shutil.rmtree(remains, ignore_errors=True)
    part = target.with_name(f".{owner}-{uuid.uuid4().hex}{PART_SUFFIX}")
    part.mkdir()
    try:
        for name, source in sources.items():
            copy_file(source, part / name)
        # All copies first: the disk writes the early ones back while the late ones are copied.
        for name in sources:
            _flush_file(part / name)
        flush_folder(part)
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _flush_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
