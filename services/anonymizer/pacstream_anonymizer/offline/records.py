"""What only the trusted zone may know, as files: `DATA/offline/<project>/`.

mapping.csv        PatientID, IssuerOfPatientID, Pseudonym, DateShiftDays
mapper.json        PACSMAN's: {"<pseudonym>": "<patient ID>"}
date_offsets.csv   PACSMAN's: one line of days, in the order of mapping.csv
report-<job>.csv   every file of a folder and what became of it
problems.csv       patients who can't have a pseudonym
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from pacstream.archive import write_atomically
from pacstream_anonymizer.offline.book import Book, Entry, Job
from pacstream_anonymizer.offline.new_ids import Patient

PROBLEMS = "problems.csv"
COLUMNS = ("PatientID", "IssuerOfPatientID", "Pseudonym", "DateShiftDays")


def folder(data: Path, project: str) -> Path:
    return data / "offline" / project


def write_people(book: Book, data: Path, job: Job) -> None:
    """All patients of the project under the job's key."""
    people = book.people(job.project, job.key_id)
    place = folder(data, job.project)
    (place / PROBLEMS).unlink(missing_ok=True)
    rows = [(one.patient_id, one.issuer, one.pseudonym, one.shift_days) for one in people]
    write_atomically(place / "mapping.csv", _table(COLUMNS, rows))
    mapper = {one.pseudonym: one.patient_id for one in people}
    text = json.dumps(mapper, ensure_ascii=False, indent=1)
    write_atomically(place / "mapper.json", text.encode("utf-8", "surrogateescape"))
    offsets = ",".join(str(one.shift_days) for one in people)
    write_atomically(place / "date_offsets.csv", f"{offsets}\n".encode())


def write_report(data: Path, job: Job, name: str, entries: Iterable[Entry]) -> Path:
    """The path of the report: one line for each file of the folder."""
    target = folder(data, job.project) / f"report-{name}.csv"
    rows = [(one.file.path, one.outcome, one.reason, one.target) for one in entries]
    header = ("file", "outcome", "reason", "released_as")
    write_atomically(target, _table(header, sorted(rows)))
    return target


def write_problems(data: Path, project: str, refused: Sequence[tuple[Patient, str]]) -> Path:
    target = folder(data, project) / PROBLEMS
    rows = [(one.patient_id, one.issuer, problem) for one, problem in refused]
    write_atomically(target, _table(("PatientID", "IssuerOfPatientID", "problem"), rows))
    return target


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """A CSV in UTF-8; names of files that are no text keep their bytes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")
