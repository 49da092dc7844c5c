"""The column `new_ids` of a query table: the pseudonym that a row's patient gets in the release.

What the file itself shows is checked here: one patient with two pseudonyms, two patients with one.
The rest (which accession number is whose) only the PACS knows: `pacstream_ledger.subjects`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pacstream.pseudonyms import OWN_PSEUDONYM, PSEUDONYM

COLUMN = "new_ids"
IDENTIFYING = ("PatientID", "PatientName", "PatientBirthDate", "AccessionNumber")


@dataclass(frozen=True)
class QueryRow:
    """One query: `row` as a spreadsheet numbers it (the header is row 1), keys that are given."""

    row: int
    keys: dict[str, str]
    pseudonym: str = field(default="", repr=False)


def cell_problem(cell: str) -> str:
    """What is wrong with a cell that is not empty; empty if nothing is."""
    if not PSEUDONYM.fullmatch(cell):
        return "a pseudonym has 1 to 64 unaccented letters, digits, `_` and `-`: it names a folder"
    if OWN_PSEUDONYM.fullmatch(cell.upper()):
        return "has the form of pacstream's own pseudonyms (P and ten characters); choose another"
    return ""


def conflicts(rows: Sequence[QueryRow]) -> list[str]:
    """All that can't be, as problems that name rows; none where no row has a pseudonym."""
    if not any(row.pseudonym for row in rows):
        return []
    identifiers = {text.casefold() for row in rows for text in _identifiers(row.keys)}
    of_patient: dict[object, QueryRow] = {}
    of_pseudonym: dict[str, QueryRow] = {}
    problems: list[str] = []
    for row in rows:
        problem = _own_problem(row, identifiers)
        problem = problem or _two_pseudonyms(row, of_patient) or _two_patients(row, of_pseudonym)
        if problem:
            problems.append(f"row {row.row}, column {COLUMN}: {problem}")
    return problems


def _own_problem(row: QueryRow, identifiers: set[str]) -> str:
    if not row.pseudonym:
        return "is empty, while other rows have a pseudonym; fill it, or empty the whole column"
    if row.pseudonym.casefold() in identifiers:
        return "is a patient's ID, name, birth date or accession number in this file"
    return ""


def _identifiers(keys: Mapping[str, str]) -> Iterator[str]:
    for keyword in IDENTIFYING:
        yield from re.split(r"[\^= ]", keys.get(keyword, ""))
        yield keys.get(keyword, "")


def _two_pseudonyms(row: QueryRow, of_patient: dict[object, QueryRow]) -> str:
    for mark in _marks(row.keys):
        first = of_patient.setdefault(mark, row)
        if first.pseudonym and first.pseudonym != row.pseudonym:
            return f"another pseudonym than in row {first.row}, which means the same patient"
    return ""


def _two_patients(row: QueryRow, of_pseudonym: dict[str, QueryRow]) -> str:
    patient_id = single_value(row.keys, "PatientID")
    if not patient_id:
        return ""
    first = of_pseudonym.setdefault(row.pseudonym.casefold(), row)
    if first.keys["PatientID"] != patient_id:
        return f"the pseudonym of row {first.row} (capitals do not count), whose PatientID differs"
    return ""


def _marks(keys: Mapping[str, str]) -> Iterator[object]:
    """What two rows of the same patient may share, and rows of two patients do not."""
    yield frozenset(keys.items())
    for keyword in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID"):
        if value := single_value(keys, keyword):
            yield keyword, value
    if value := single_value(keys, "AccessionNumber"):
        yield "AccessionNumber", value, keys.get("PatientID", "")


def single_value(keys: Mapping[str, str], keyword: str) -> str:
    """The key's one value; empty if it may match several."""
    value = keys.get(keyword, "")
    return "" if re.search(r"[*?\\]", value) else value
