"""Where the instances lie that a batch has delivered: the release, if there is one, else the
originals in the user's folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from pacstream.archive import Archive, inside
from pacstream.batch_action import Task
from pacstream.errors import RejectedError
from pacstream.keys import load_key
from pacstream.manifest import SeriesResult
from pacstream.pseudonyms import ProjectKey, release_series_folder, subject_of
from pacstream.results import originals_folder
from pacstream_exporter.issuers import issuers_of


@dataclass(frozen=True)
class Delivered:
    """A series folder; `code` is the pseudonym of its patient, empty for originals."""

    folder: Path = field(repr=False)
    code: str = ""


def delivered_folders(task: Task) -> list[Delivered]:
    """The folders of all series, each once, in the order of the batch.

    Raises RejectedError `instances_missing` if fewer files are there than were delivered, and
    those of `load_key`; ZoneError.
    """
    keys = cache(lambda project, key_id: load_key(task.archive.keys, project, key_id))
    found: dict[Path, Delivered] = {}
    for series in task.manifest.series:
        if series.order.actions.anonymize:
            key = keys(series.order.project, series.order.key_id)
            places = list(_released(series, key, task.archive)) if series.released else []
            expected = series.released
        else:
            places = [Delivered(originals_folder(series.order))] if series.exported else []
            expected = int(series.exported)
        if sum(_files(one.folder) for one in places) < expected:
            raise RejectedError("files of the batch are gone", code="instances_missing")
        found |= {one.folder: one for one in places}
    return list(found.values())


def _released(series: SeriesResult, key: ProjectKey, archive: Archive) -> Iterator[Delivered]:
    """One folder for each issuer that the instances name: who they are is a patient of his own."""
    order = series.order
    # Without an issuer, too: the originals may be gone.
    for issuer in sorted({"", *issuers_of(archive, order.series.series_uid)}):
        folder = inside(Path(order.out), release_series_folder(order, key, issuer))
        if folder.is_dir():
            yield Delivered(folder, subject_of(order, issuer).name(key))


def _files(folder: Path) -> int:
    if not folder.is_dir():
        return 0
    return sum(path.is_file() and not path.name.startswith(".") for path in folder.iterdir())
