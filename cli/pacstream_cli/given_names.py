"""`--new-ids` and `--pseudonyms` of `submit`: pseudonyms from a file or from the De-ID service, for
the rows of a query table.

    hmac          made with the project's key, the default
    file:PATH     new_ids.json or a CSV, as --new-ids PATH
    api:CONFIG    of the De-ID service: JSON with deid_URL and deid_token
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pacstream.errors import InputError
from pacstream_anonymizer.offline.new_ids import Entry, Patient, assign
from pacstream_cli.id_mapping import MappingError, read_mapping
from pacstream_cli.new_ids import QueryRow, conflicts, single_value
from pacstream_cli.queryfile import QueryFile


@dataclass(frozen=True)
class Source:
    """Where pseudonyms come from: `kind` is file or api, `path` the file or the configuration."""

    kind: str
    path: Path


def source_of(pseudonyms: str, new_ids: Path | None) -> Source | None:
    """None: the project's key makes them. Raises InputError."""
    kind, _, path = pseudonyms.partition(":")
    if new_ids is not None and pseudonyms:
        raise InputError("--new-ids and --pseudonyms exclude each other")
    if new_ids is not None:
        return Source("file", new_ids)
    if pseudonyms in ("", "hmac"):
        return None
    if kind not in ("file", "api") or not path:
        raise InputError("--pseudonyms: hmac, file:PATH, or api:CONFIG is expected")
    return Source(kind, Path(path))


def with_names(queries: QueryFile, source: Source, project: str = "") -> QueryFile:
    """The rows with the pseudonyms that the source gives their patients.

    Raises InputError, MappingError with all that is wrong: of the source, rows whose patient it has
    not or that name no single patient, two patients that would be called the same.
    """
    if any(row.pseudonym for row in queries.rows):
        raise InputError("pseudonyms come from the column new_ids or from --new-ids, not from both")
    rows, problems = _named(queries.rows, _entries(queries, source, project))
    problems = problems or conflicts(rows)
    if problems:
        raise MappingError(problems)
    return replace(queries, rows=tuple(rows))


def _entries(queries: QueryFile, source: Source, project: str) -> list[Entry]:
    if source.kind == "file":
        return read_mapping(source.path)
    from pacstream_cli.commands_pseudonyms import asked_codes

    patients = [single_value(row.keys, "PatientID").strip() for row in queries.rows]
    lacking = [row.row for row, one in zip(queries.rows, patients, strict=True) if not one]
    if lacking:
        problems = [
            f"row {row}: needs one whole PatientID: the service goes by it" for row in lacking
        ]
        raise MappingError(problems, "--pseudonyms")
    codes = asked_codes(source.path, None, project, patients)
    return [Entry(name, code, place="its answer") for name, code in codes.items()]


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
