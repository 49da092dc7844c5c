"""`--new-ids FILE` of `submit`: pseudonyms from a file, for the rows of a query table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pacstream.errors import InputError
from pacstream_anonymizer.offline.new_ids import Entry, Patient, assign
from pacstream_cli.id_mapping import MappingError, read_mapping
from pacstream_cli.new_ids import QueryRow, conflicts, single_value
from pacstream_cli.queryfile import QueryFile


def with_names(queries: QueryFile, path: Path) -> QueryFile:
    """The rows with the pseudonyms that the file gives their patients.

    Raises InputError, MappingError with all that is wrong: of the file, rows whose patient it has
    not or that name no single patient, two patients that would be called the same.
    """
    if any(row.pseudonym for row in queries.rows):
        raise InputError("pseudonyms come from the column new_ids or from --new-ids, not from both")
    rows, problems = _named(queries.rows, read_mapping(path))
    problems = problems or conflicts(rows)
    if problems:
        raise MappingError(problems)
    return replace(queries, rows=tuple(rows))


def _named(rows: Sequence[QueryRow], entries: Sequence[Entry]) -> tuple[list[QueryRow], list[str]]:
    patients = {row.row: _patient(row) for row in rows}
    known = [one for one in dict.fromkeys(patients.values()) if one is not None]
    names, refused = assign(entries, known)
    reasons = dict(refused)
    named, problems = [], []
    for row in rows:
        patient = patients[row.row]
        if patient is None:
            problems.append(f"row {row.row}: needs one whole PatientID: --new-ids goes by it")
        elif patient in reasons:
            problems.append(f"row {row.row}: the patient {reasons[patient]}")
        else:
            named.append(replace(row, pseudonym=names[patient]))
    return named, problems


def _patient(row: QueryRow) -> Patient | None:
    patient_id = single_value(row.keys, "PatientID").strip()
    issuer = single_value(row.keys, "IssuerOfPatientID").strip()
    return Patient(patient_id, issuer) if patient_id else None
