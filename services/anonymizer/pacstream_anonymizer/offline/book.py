"""What has been planned and done, in the trusted zone: `DATA/offline/book.db`.

A job is one pair of folders. Before the first file of a job is written, the book says where each is
to go; after a file is durable, what became of it. So the next run goes on, and knows which files of
a folder that is de-identified in place are results.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pacstream.errors import InputError
from pacstream_anonymizer.offline.inventory import File

PLANNED, RELEASED, WITHHELD, DUPLICATE, OTHER = (
    "planned",
    "released",
    "withheld",
    "duplicate",
    "other",
)

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    job TEXT PRIMARY KEY, source BLOB, out BLOB, project TEXT, rules TEXT, layout TEXT,
    key_id TEXT);
CREATE TABLE IF NOT EXISTS patients (
    project TEXT, key_id TEXT, patient_id TEXT, issuer TEXT, pseudonym TEXT, given INTEGER,
    shift_days INTEGER, PRIMARY KEY (project, key_id, patient_id, issuer));
CREATE TABLE IF NOT EXISTS folders (
    job TEXT, folder BLOB, owner TEXT, PRIMARY KEY (job, owner), UNIQUE (job, folder));
CREATE TABLE IF NOT EXISTS files (
    job TEXT, path BLOB, size INTEGER, mtime_ns INTEGER, outcome TEXT, reason TEXT, target BLOB,
    target_size INTEGER, target_mtime_ns INTEGER, PRIMARY KEY (job, path));
CREATE INDEX IF NOT EXISTS targets ON files (job, target);
"""
"""Paths are BLOBs: a file system's names need not be text."""


@dataclass(frozen=True)
class Entry:
    """What became, or is to become, of a file. `target` is relative to the output folder, and the
    size and time of what lies there are those when it was written."""

    file: File
    outcome: str
    reason: str = ""
    target: str = field(default="", repr=False)
    target_size: int = 0
    target_mtime_ns: int = 0


@dataclass(frozen=True)
class Person:
    """A patient of a project; `given` if the user gave the pseudonym."""

    patient_id: str = field(repr=False)
    issuer: str = field(repr=False)
    pseudonym: str
    given: bool
    shift_days: int


@dataclass(frozen=True)
class Job:
    """What is fixed when a job first runs."""

    project: str
    rules: str
    layout: str
    key_id: str


class Book:
    """One process at a time works on a job; several may work on several."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._db = sqlite3.connect(folder / "book.db", timeout=60, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(SCHEMA)

    def close(self) -> None:
        self._db.close()

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """All that the block writes is durable when it ends, or nothing of it."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextlib.contextmanager
    def alone(self, job: str) -> Iterator[None]:
        """Raises InputError if another process works on the job. A dead one's lock is gone."""
        with (self._folder / f"{job}.lock").open("wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError("another pacstream is at work on these folders") from None
            yield

    def job(self, job: str) -> Job | None:
        found = self._db.execute(
            "SELECT project, rules, layout, key_id FROM jobs WHERE job = ?", (job,)
        ).fetchone()
        return Job(*found) if found else None

    def add_job(self, job: str, source: Path, out: Path, what: Job) -> None:
        self._db.execute(
            "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                job,
                os.fsencode(source),
                os.fsencode(out),
                what.project,
                what.rules,
                what.layout,
                what.key_id,
            ),
        )

    def outputs(self) -> list[Path]:
        """The output folders of all jobs: what is in them may be given away."""
        rows = self._db.execute("SELECT DISTINCT out FROM jobs")
        return [Path(os.fsdecode(out)) for (out,) in rows]

    def people(self, project: str, key_id: str) -> list[Person]:
        """In the order of their IDs."""
        rows = self._db.execute(
            "SELECT patient_id, issuer, pseudonym, given, shift_days FROM patients "
            "WHERE project = ? AND key_id = ? ORDER BY patient_id, issuer",
            (project, key_id),
        )
        return [Person(i, issuer, name, bool(given), days) for i, issuer, name, given, days in rows]

    def add_people(self, project: str, key_id: str, people: Iterable[Person]) -> None:
        self._db.executemany(
            "INSERT OR IGNORE INTO patients VALUES (?, ?, ?, ?, ?, ?, ?)",
            ((project, key_id, *dataclasses.astuple(one)) for one in people),
        )

    def series_folder(self, job: str, owner: str, parent: str, name: str) -> str:
        """The folder of a series: `name` below `parent`, or `name_2`, ...: nobody else's."""
        found = self._db.execute(
            "SELECT folder FROM folders WHERE job = ? AND owner = ?", (job, owner)
        ).fetchone()
        if found:
            return os.fsdecode(found[0])
        number, folder = 1, f"{parent}/{name}"
        while self._is_taken(job, folder):
            number += 1
            folder = f"{parent}/{name}_{number}"
        self._db.execute("INSERT INTO folders VALUES (?, ?, ?)", (job, os.fsencode(folder), owner))
        return folder

    def _is_taken(self, job: str, folder: str) -> bool:
        query = "SELECT 1 FROM folders WHERE job = ? AND folder = ?"
        return self._db.execute(query, (job, os.fsencode(folder))).fetchone() is not None

    def entries(self, job: str) -> dict[str, Entry]:
        """What is known of the job's files, by path."""
        rows = self._db.execute(
            "SELECT path, size, mtime_ns, outcome, reason, target, target_size, target_mtime_ns "
            "FROM files WHERE job = ? ORDER BY path",
            (job,),
        )
        found: dict[str, Entry] = {}
        for path, size, mtime_ns, outcome, reason, target, *lies in rows:
            file = File(os.fsdecode(path), size, mtime_ns)
            found[file.path] = Entry(file, outcome, reason, os.fsdecode(target), *lies)
        return found

    def write(self, job: str, entries: Iterable[Entry]) -> None:
        self._db.executemany(
            "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            ((job, *_file_columns(one.file), *_outcome_columns(one)) for one in entries),
        )

    def drop(self, job: str, paths: Iterable[str]) -> None:
        """Forget files that are not there any more."""
        self._db.executemany(
            "DELETE FROM files WHERE job = ? AND path = ?",
            ((job, os.fsencode(path)) for path in paths),
        )


def _file_columns(file: File) -> tuple[bytes, int, int]:
    return os.fsencode(file.path), file.size, file.mtime_ns


def _outcome_columns(entry: Entry) -> tuple[str, str, bytes, int, int]:
    target = os.fsencode(entry.target)
    return entry.outcome, entry.reason, target, entry.target_size, entry.target_mtime_ns
