"""The file of `pacstream anonymize --new_ids`: whose pseudonym is which.

new_ids.json     PACSMAN's: {"sub-<id>": "<pseudonym>", ...}
CSV              two columns, `sub-<id>` or the ID, and the pseudonym; or a header that names
                 PatientID, new_ids (or Pseudonym), and IssuerOfPatientID if there is one:
                 DATA/offline/<project>/mapping.csv is such a file
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from pacstream.errors import InputError
from pacstream_anonymizer.offline.new_ids import SUBJECT, Entry, entry_problems

PATIENT_ID = frozenset({"patientid", "patient_id", "id", "subject"})
PSEUDONYM = frozenset({"new_ids", "new_id", "newid", "pseudonym", "newpseudonym", "code"})
ISSUER = frozenset({"issuerofpatientid", "issuer"})
DELIMITERS = ",;\t"


class MappingError(InputError):
    """`problems` has one line for each thing that is wrong, in the order of the file."""

    def __init__(self, problems: Sequence[str], where: str = "--new_ids") -> None:
        noun = "problem" if len(problems) == 1 else "problems"
        super().__init__(f"{where}: {len(problems)} {noun}, nothing was started")
        self.problems = list(problems)


def read_mapping(path: Path, where: str = "--new_ids") -> list[Entry]:
    """The entries of the file, which the option `where` names, as pseudonyms of a release. Raises
    InputError, with all that is wrong; values are not quoted."""
    entries = read_entries(path, where)
    problems = entry_problems(entries)
    if problems:
        raise MappingError(problems, where)
    return entries


def read_entries(path: Path, where: str = "--new_ids") -> list[Entry]:
    """The entries of the file, whatever they say. Raises InputError as `read_mapping` does."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{where} can't be read ({type(error).__name__})") from None
    except UnicodeDecodeError:
        raise InputError(f"{where} is no text in UTF-8") from None
    is_json = text.lstrip().startswith("{")
    entries = _of_json(text, where) if is_json else _of_csv(text, where)
    if not entries:
        raise InputError(f"{where} has no entry")
    return entries


def _of_json(text: str, where: str) -> list[Entry]:
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except json.JSONDecodeError as error:
        raise InputError(f"{where} is no JSON: line {error.lineno}") from None
    problems = [
        f"entry {number}: the pseudonym is no text"
        for number, (_, pseudonym) in enumerate(pairs, start=1)
        if not isinstance(pseudonym, str)
    ]
    if problems:
        raise MappingError(problems, where)
    return [
        Entry(name, pseudonym.strip(), place=f"entry {number}")
        for number, (name, pseudonym) in enumerate(pairs, start=1)
    ]


def _of_csv(text: str, where: str) -> list[Entry]:
    delimiter = max(DELIMITERS, key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        records = [(reader.line_num, record) for record in reader if any(record)]
    except csv.Error:
        raise InputError(f"{where}: line {reader.line_num}: quotes do not pair up") from None
    if not records:
        return []
    columns = _columns(records[0][1])
    if columns is None and not _is_other_header([record for _, record in records]):
        return _entries(records, (0, 1, None), where)
    return _entries(records[1:], columns or (0, 1, None), where)


def _is_other_header(records: Sequence[Sequence[str]]) -> bool:
    """The first line is the only one without `sub-`: a header of names that are not known here."""
    marked = [record[0].strip().startswith(SUBJECT) for record in records]
    return len(marked) > 1 and not marked[0] and all(marked[1:])


def _columns(header: Sequence[str]) -> tuple[int, int, int | None] | None:
    """Where ID, pseudonym and issuer stand; None if this is no header."""
    names = [cell.strip().lower() for cell in header]

    def place(known: frozenset[str]) -> int | None:
        return next((n for n, name in enumerate(names) if name in known), None)

    patient_id, pseudonym = place(PATIENT_ID), place(PSEUDONYM)
    if patient_id is None or pseudonym is None:
        return None
    return patient_id, pseudonym, place(ISSUER)


def _entries(
    records: Sequence[tuple[int, Sequence[str]]],
    columns: tuple[int, int, int | None],
    where: str,
) -> list[Entry]:
    patient_id, pseudonym, issuer = columns
    width = max(column for column in columns if column is not None) + 1
    entries: list[Entry] = []
    problems: list[str] = []
    for line, record in records:
        cells = [cell.strip() for cell in record]
        if len(cells) < width or not cells[patient_id] or not cells[pseudonym]:
            problems.append(f"line {line}: an ID and a pseudonym are expected")
            continue
        given = cells[issuer] if issuer is not None else ""
        entries.append(Entry(cells[patient_id], cells[pseudonym], given, f"line {line}"))
    if problems:
        raise MappingError(problems, where)
    return entries
