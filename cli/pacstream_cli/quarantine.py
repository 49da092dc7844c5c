"""What lies in the quarantine: each file with its reason, its series, and the batches that miss it.

References are those of the logs (`pacstream.logs.ref`): digests of UIDs, useless without the
trusted zone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydicom import dcmread

from pacstream.archive import Archive
from pacstream.errors import InputError
from pacstream.logs import ref
from pacstream.settings import Settings
from pacstream_cli.ledger_book import LedgerBook

WITHHELD_NAME = re.compile(r"([0-9.]{1,64})-([0-9.]{1,64})(?:-[0-9a-f]{12})?\.dcm")
ASIDE_NAME = re.compile(r"([0-9.]{1,64})-[0-9a-f]{8}")
"""As de-identification and the receivers name them; whatever else lies there has a name only."""

WITHHELD, ASIDE = "de-identification", "receiving"
"""Who put it there: what was put aside when it came belongs to no batch."""

Key = tuple[str, str, str]
"""Series Instance UID, SOP Instance UID, reason."""


@dataclass(frozen=True)
class Entry:
    """One file. `batches`: from which the ledger knows it to be withheld for the reason; `since`:
    when it came, in seconds since 1970; `size` in bytes; `origin`: WITHHELD or ASIDE."""

    path: Path = field(repr=False)
    reason: str
    origin: str
    series_uid: str = field(repr=False)
    sop_instance_uid: str = field(repr=False)
    size: int
    since: float
    batches: tuple[str, ...] = ()

    @property
    def ref(self) -> str:
        return ref(self.sop_instance_uid)

    @property
    def series_ref(self) -> str:
        return ref(self.series_uid) if self.series_uid else ""

    @property
    def key(self) -> Key:
        return self.series_uid, self.sop_instance_uid, self.reason


def _folders(data: Path) -> list[Path]:
    try:
        return sorted(path for path in Archive(data).quarantine.iterdir() if path.is_dir())
    except FileNotFoundError:
        return []


def _entries_in(folder: Path) -> Iterator[Entry]:
    with os.scandir(folder) as files:
        for file in files:
            if file.name.startswith(".") or not file.is_file():
                continue
            path = Path(file.path)
            try:
                status = file.stat()
            except FileNotFoundError:
                continue  # released meanwhile
            origin, series_uid, uid = _identified(path)
            yield Entry(path, folder.name, origin, series_uid, uid, status.st_size, status.st_mtime)


def _identified(path: Path) -> tuple[str, str, str]:
    """Origin, series and instance. What was put aside when it came names its instance only."""
    match = WITHHELD_NAME.fullmatch(path.name)
    if match is not None:
        return WITHHELD, match[1], match[2]
    aside = ASIDE_NAME.fullmatch(path.name)
    return ASIDE, _series_in(path), aside[1] if aside else path.name


def _series_in(path: Path) -> str:
    """What the file says; empty if it can't be read."""
    try:
        head = dcmread(path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"])
        return str(head.get("SeriesInstanceUID") or "")
    except Exception:  # noqa: BLE001 - pydicom raises anything for what is no DICOM file
        return ""


def load(settings: Settings) -> list[Entry]:
    """Everything in quarantine, with the batches that the ledger names; by reason, series and
    instance. Raises InputError if the ledger's database can't be read."""
    found = [one for folder in _folders(settings.data) for one in _entries_in(folder)]
    series = sorted({one.series_uid for one in found if one.origin == WITHHELD})
    batches: dict[Key, tuple[str, ...]] = {}
    for (batch_id, series_uid, uid), reason in sorted(
        LedgerBook(settings).withheld(series).items()
    ):
        key = (series_uid, uid, reason)
        batches[key] = (*batches.get(key, ()), batch_id)
    named = [
        replace(one, batches=batches.get(one.key, ())) if one.origin == WITHHELD else one
        for one in found
    ]
    return sorted(named, key=lambda one: (one.reason, one.series_uid, one.path.name))


def selected(every: Sequence[Entry], refs: Sequence[str]) -> list[Entry]:
    """The entries that `refs` name, each once.

    A reference is of an instance or a series, which may be narrowed to a reason (`REF/ultrasound`),
    or a batch with a reason: then the entry has that batch only. Raises InvalidRefsError naming all
    that are wrong.
    """
    batches: dict[Path, set[str]] = {}
    problems: list[str] = []
    for text in refs:
        fitting = [(one, of) for one in every if (of := _meant(one, text)) is not None]
        if not fitting:
            problems.append(f"{text}: nothing in quarantine has this reference")
        for entry, of in fitting:
            batches.setdefault(entry.path, set()).update(of)
    if problems:
        raise InvalidRefsError("not all references can be found", problems)
    return [
        replace(one, batches=tuple(sorted(batches[one.path])))
        for one in every
        if one.path in batches
    ]


def _meant(entry: Entry, text: str) -> tuple[str, ...] | None:
    """The batches for which `text` means the entry; None if it does not."""
    name, _, reason = text.partition("/")
    if not name or reason not in ("", entry.reason):
        return None
    if name in (entry.ref, entry.series_ref):
        return entry.batches
    return (name,) if reason and name in entry.batches else None


class InvalidRefsError(InputError):
    """Nothing was done; `problems` has a line for each reference."""

    code = "bad_reference"

    def __init__(self, message: str, problems: Sequence[str]) -> None:
        super().__init__(message)
        self.problems = tuple(problems)
