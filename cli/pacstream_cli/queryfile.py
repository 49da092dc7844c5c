"""The CSV of queries, checked as a whole before anything starts.

Messages name row, column and remedy, never what a cell holds.
"""

from __future__ import annotations

import csv
import difflib
import io
import re
from dataclasses import dataclass
from pathlib import Path

from pacstream.errors import InputError
from pacstream_cli.cells import problem_of
from pacstream_query.columns import BY_KEYWORD, NOT_SUPPORTED_YET

DELIMITERS = ",;\t"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
LINE_BREAK = re.compile(r"\s*[\r\n]+\s*")


class QueryFileError(InputError):
    """`problems` has one line for each thing that is wrong, in the order of the file."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        noun = "problem" if len(problems) == 1 else "problems"
        lines = "".join(f"\n  {problem}" for problem in problems)
        super().__init__(f"{path.name}: {len(problems)} {noun}, nothing was started{lines}")
        self.problems = problems


@dataclass(frozen=True)
class QueryRow:
    """One query: `row` as a spreadsheet numbers it (the header is row 1), keys that are given."""

    row: int
    keys: dict[str, str]


@dataclass(frozen=True)
class QueryFile:
    """The rows to ask, and what was made of the others."""

    rows: tuple[QueryRow, ...]
    notes: tuple[str, ...] = ()


def read_queries(path: Path) -> QueryFile:
    """Read and check a CSV in UTF-8, delimited by commas, semicolons or tabs.

    Raises InputError if there is nothing to read, else QueryFileError with all problems.
    """
    records = _records(path)
    header = _without_empty_tail([name.strip() for name in records[0]])
    problems = _header_problems(header)
    if not any(name in BY_KEYWORD for name in header):
        raise QueryFileError(path, problems)
    if len(records) == 1:
        raise QueryFileError(path, [*problems, "there are no rows below the header"])
    rows: list[QueryRow] = []
    notes: list[str] = []
    for number, record in enumerate(records[1:], start=2):
        row_problems = _too_many_cells(number, len(header), record)
        keys = _keys(number, header, record, row_problems, notes)
        if not keys and not row_problems:
            row_problems.append(f"row {number}: all cells are empty; remove the row")
        problems += row_problems
        rows.append(QueryRow(number, keys))
    if problems:
        raise QueryFileError(path, problems)
    return _merged(rows, notes)


def _records(path: Path) -> list[list[str]]:
    """All records with the header first; bytes that are not UTF-8 stay as lone surrogates."""
    content = _content(path)
    if content.startswith(UTF16_MARKS):
        raise InputError(f"{path}: is UTF-16; save it as CSV UTF-8")
    text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="surrogateescape")
    if not text.strip(" \t\r\n,;"):
        raise InputError(f"{path}: is empty; the first row must be a header of DICOM keywords")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    try:
        records = list(reader)
    except csv.Error:
        problem = f"line {reader.line_num}: quotes do not pair up, or a cell is far too long"
        raise QueryFileError(path, [problem]) from None
    while not records[-1]:
        records.pop()
    return records


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such query file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, not a CSV file") from None
    except OSError as error:
        raise InputError(f"{path}: can't be read ({type(error).__name__})") from None


def _delimiter(text: str) -> str:
    """The one that finds most known columns in the first line; a comma if that is a tie."""
    first_line = text.splitlines()[0]

    def known(delimiter: str) -> int:
        names = first_line.split(delimiter)
        return sum(name.strip().strip('"').strip() in BY_KEYWORD for name in names)

    return max(DELIMITERS, key=known)


def _without_empty_tail(names: list[str]) -> list[str]:
    """Spreadsheets write delimiters for columns that were emptied."""
    while names and not names[-1]:
        names = names[:-1]
    return names


def _header_problems(header: list[str]) -> list[str]:
    known = [name for name in header if name in BY_KEYWORD]
    if not known and not any(name in NOT_SUPPORTED_YET or _nearest(name) for name in header):
        # not quoted: without a header, the first row is a patient's
        return [f"row 1: no known column; the header names columns such as {_examples()}"]
    problems = []
    for position, name in enumerate(header, start=1):
        if not name:
            problems.append(f"row 1: column {position} has no name; name it or remove it")
        elif name in NOT_SUPPORTED_YET:
            problems.append(f"row 1, column {name}: {NOT_SUPPORTED_YET[name]}")
        elif name not in BY_KEYWORD:
            problems.append(f"row 1, column {_shown(name)}: {_unknown(name)}")
        elif header.index(name) < position - 1:
            problems.append(f"row 1, column {name}: is there twice; remove one")
    return problems


def _nearest(name: str) -> str:
    lower = {keyword.lower(): keyword for keyword in BY_KEYWORD}
    plain = re.sub(r"[\s_-]+", "", name.lower())
    near = difflib.get_close_matches(plain, lower, n=1, cutoff=0.7)
    return lower[near[0]] if near else ""


def _unknown(name: str) -> str:
    nearest = _nearest(name)
    return f"unknown column; did you mean {nearest}?" if nearest else "unknown column; remove it"


def _shown(name: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in name)[:40]


def _examples() -> str:
    return ", ".join(list(BY_KEYWORD)[:4])


def _too_many_cells(row: int, columns: int, record: list[str]) -> list[str]:
    if any(cell.strip() for cell in record[columns:]):
        return [
            f"row {row}: has {len(record)} cells, the header {columns}; "
            "quote a cell that holds the delimiter"
        ]
    return []


def _keys(
    row: int, header: list[str], record: list[str], problems: list[str], notes: list[str]
) -> dict[str, str]:
    keys = {}
    for name, raw in zip(header, record, strict=False):
        cell = LINE_BREAK.sub(" ", raw.strip())
        column = BY_KEYWORD.get(name)
        if not cell or column is None:
            continue
        keys[name] = cell
        if any("\udc80" <= char <= "\udcff" for char in cell):
            problem = "has bytes that are not UTF-8; save the file as CSV UTF-8"
        else:
            problem = problem_of(column, cell)
        if problem:
            problems.append(f"row {row}, column {name}: {problem}")
        if LINE_BREAK.search(raw.strip()):
            notes.append(f"row {row}, column {name}: a line break was read as a space")
    return keys


def _merged(rows: list[QueryRow], notes: list[str]) -> QueryFile:
    first: dict[frozenset[tuple[str, str]], QueryRow] = {}
    for row in rows:
        same = first.setdefault(frozenset(row.keys.items()), row)
        if same is not row:
            notes.append(f"row {row.row} is the same as row {same.row}: asked once")
    return QueryFile(tuple(first.values()), tuple(notes))
