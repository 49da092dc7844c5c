"""`pacstream get-pseudonyms`: of the De-ID service, or of a file of one's own."""

from __future__ import annotations

import csv
import io
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from pacstream.durable import FileGroup
from pacstream.errors import InputError, RetryLaterError
from pacstream_anonymizer.offline.new_ids import Entry, Patient, assign, entry_problems
from pacstream_cli.deid_api import DeidService, read_deid_config
from pacstream_cli.id_mapping import MappingError, read_mapping
from pacstream_cli.new_ids import QueryRow, single_value
from pacstream_cli.queryfile import read_queries
from pacstream_cli.submission import folder_problem

PROJECT = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_. -]{0,63}", re.ASCII)
FARTHEST_DAYS = 30
LOG = "log_get_pseudonyms.csv"
FILE = click.Path(path_type=Path)


@click.command()
@click.option("--config", "-c", type=FILE, help="JSON with deid_URL and deid_token (mode de-id)")
@click.option("--queryfile", "-q", type=FILE, help="a table with the column PatientID")
@click.option(
    "--project_name",
    "--project-name",
    "-a",
    "project",
    required=True,
    help="as the service knows it; part of the files' names",
)
@click.option(
    "--out_directory",
    "--out-directory",
    "-d",
    "out",
    type=FILE,
    default=Path("data"),
    show_default=True,
    help="for the three files: keep them, they tell who is who",
)
@click.option(
    "--mode", "-m", type=click.Choice(["de-id", "custom"]), default="de-id", show_default=True
)
@click.option(
    "--mappingfile",
    "-mf",
    type=FILE,
    help="CSV of sub-<id> and pseudonym, with or without a header (mode custom)",
)
@click.option(
    "--shift-days",
    "--shift_days",
    is_flag=True,
    help="draw -30 to 30 days for each patient, never 0 (mode custom); else 0",
)
@click.option("--ca-file", type=FILE, help="certificates to trust instead of the usual ones")
def get_pseudonyms(
    config: Path | None, queryfile: Path | None, project: str, out: Path, mode: str,
    mappingfile: Path | None, shift_days: bool, ca_file: Path | None,
) -> None:  # fmt: skip
    """Write new_ids_<project>.json, day_shift_<project>.json and log_get_pseudonyms.csv: all of
    them, or none if one patient can't have a pseudonym."""
    if not PROJECT.fullmatch(project):
        raise InputError("--project_name: letters, digits, `_`, `-`, `.` and spaces, at most 64")
    if problem := folder_problem(out):
        raise InputError(f"--out_directory {out} {problem}")
    rows = patient_rows(queryfile) if queryfile else []
    if mode == "custom":
        if mappingfile is None:
            raise InputError("--mode custom needs --mappingfile")
        codes = custom_codes(read_mapping(mappingfile, "--mappingfile"), rows)
        shifts = kept_or_drawn(codes, out / f"day_shift_{project}.json", draw=shift_days)
    else:
        if config is None or not rows:
            raise InputError("--mode de-id needs --config and --queryfile")
        if mappingfile is not None or shift_days:
            raise InputError("--mappingfile and --shift-days are for --mode custom")
        codes, shifts = asked(config, ca_file, project, [patient for patient, _ in rows])
    write_files(out, project, rows, codes, shifts)
    click.echo(f"{len(codes)} pseudonyms: {out / f'new_ids_{project}.json'}")


def patient_rows(queryfile: Path) -> list[tuple[str, QueryRow]]:
    """Rows with their patient ID; those without are left out, as PACSIFIER does. Raises InputError
    for rows that may mean several patients, and if no row names one."""
    queries = read_queries(queryfile)
    problems, found = [], []
    for row in queries.rows:
        given = row.keys.get("PatientID", "")
        patient_id = single_value(row.keys, "PatientID").strip()
        if given and not patient_id:
            problems.append(f"row {row.row}: one whole PatientID is needed, without wildcards")
        elif patient_id:
            found.append((patient_id, row))
    if problems:
        raise MappingError(problems, "--queryfile")
    if not found:
        raise InputError("--queryfile: no row has a PatientID")
    return found


def asked(
    config: Path, ca_file: Path | None, project: str, patient_ids: Sequence[str]
) -> tuple[dict[str, str], dict[str, int]]:
    """Pseudonyms and shifts by `sub-<id>`, of the De-ID service. Raises InputError."""
    codes = asked_codes(config, ca_file, project, patient_ids)
    service = DeidService(*read_deid_config(config), ca_file=ca_file)
    try:
        shifts = service.day_shifts(project, patient_ids)
    except RetryLaterError as error:
        raise InputError(f"{error}; nothing was written") from None
    return codes, {f"sub-{patient_id}": days for patient_id, days in shifts.items()}


def asked_codes(
    config: Path, ca_file: Path | None, project: str, patient_ids: Sequence[str]
) -> dict[str, str]:
    """Pseudonyms by `sub-<id>`. Raises InputError, also if they can't be used as they are."""
    service = DeidService(*read_deid_config(config), ca_file=ca_file)
    try:
        codes = service.pseudonyms(project, patient_ids)
    except RetryLaterError as error:
        raise InputError(f"{error}; nothing was written") from None
    named = {f"sub-{patient_id}": code for patient_id, code in codes.items()}
    problems = entry_problems(
        [Entry(name, code, place=f"patient {n}") for n, (name, code) in enumerate(named.items(), 1)]
    )
    if problems:
        raise MappingError(problems, "the De-ID service's answer")
    return named


def custom_codes(entries: Sequence[Entry], rows: Sequence[tuple[str, QueryRow]]) -> dict[str, str]:
    """By `sub-<id>`: of the patients of the query file, or of the whole mapping without one.

    Raises MappingError with the rows whose patient can't have a pseudonym.
    """
    if not rows:
        return {f"sub-{one.name.removeprefix('sub-')}": one.pseudonym for one in entries}
    patients = [Patient(patient_id) for patient_id, _ in rows]
    names, refused = assign(entries, dict.fromkeys(patients))
    reasons = dict(refused)
    problems = [
        f"row {row.row}: the patient {reasons[patient]}"
        for patient, (_, row) in zip(patients, rows, strict=True)
        if patient in reasons
    ]
    if problems:
        raise MappingError(problems, "--mappingfile")
    return {f"sub-{patient.patient_id}": names[patient] for patient in dict.fromkeys(patients)}


def kept_or_drawn(names: Mapping[str, str], earlier: Path, *, draw: bool) -> dict[str, int]:
    """Days by `sub-<id>`. What an earlier run has drawn stays: a patient has one shift."""
    if not draw:
        return dict.fromkeys(names, 0)
    kept = _earlier(earlier)
    return {name: kept.get(name) or _drawn() for name in names}


def _drawn() -> int:
    days = secrets.randbelow(2 * FARTHEST_DAYS) - FARTHEST_DAYS
    return days if days < 0 else days + 1


def _earlier(path: Path) -> dict[str, int]:
    try:
        content = json.loads(path.read_text("utf-8"))
        return {str(name): int(days) for name, days in content.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError):
        raise InputError(f"{path}: shifts of an earlier run that can't be read") from None


def write_files(
    out: Path,
    project: str,
    rows: Sequence[tuple[str, QueryRow]],
    codes: Mapping[str, str],
    shifts: Mapping[str, int],
) -> None:
    """None has its name before all are whole and durable. Raises InputError."""
    files = {
        f"new_ids_{project}.json": json.dumps(codes, ensure_ascii=False, indent=1),
        f"day_shift_{project}.json": json.dumps(shifts, ensure_ascii=False, indent=1),
        LOG: _log(rows, codes, shifts),
    }
    try:
        with FileGroup() as group:
            for name, text in files.items():
                with group.writing(out / name) as file:
                    file.write(text.encode("utf-8", "surrogateescape"))
            failed = group.commit()
    except OSError as error:
        raise InputError(f"{out}: can't be written ({type(error).__name__})") from None
    if failed:
        raise InputError(f"{out}: {len(failed)} of {len(files)} files could not be written")


def _log(
    rows: Sequence[tuple[str, QueryRow]], codes: Mapping[str, str], shifts: Mapping[str, int]
) -> str:
    """The query's columns, NewPseudonym, DayShift: a line for each row, else for each patient."""
    named = rows or [(name.removeprefix("sub-"), QueryRow(0, {})) for name in codes]
    columns = list(dict.fromkeys(["PatientID", *(key for _, row in named for key in row.keys)]))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, "NewPseudonym", "DayShift"])
    for patient_id, row in named:
        name = f"sub-{patient_id}"
        cells = [row.keys.get(column, "") for column in columns[1:]]
        writer.writerow([patient_id, *cells, codes[name], shifts[name]])
    return text.getvalue()
