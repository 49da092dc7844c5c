"""The table of queries (CSV, .xlsx, .parquet), checked as a whole before anything starts.

Messages name row, column and remedy, never what a cell holds.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from pacstream_cli.cells import may_lose_zeros, problem_of, shorter_than_common
from pacstream_cli.new_ids import COLUMN, QueryRow, cell_problem, conflicts
from pacstream_cli.tables import QueryFileError, Table, read_table, rows_named
from pacstream_query.columns import (
    BY_KEYWORD,
    Column,
    NoKeyError,
    all_keywords,
    column_of,
    find_column,
)

__all__ = ["QueryFile", "QueryFileError", "QueryRow", "read_queries"]

LINE_BREAK = re.compile(r"\s*[\r\n]+\s*")


@dataclass(frozen=True)
class QueryFile:
    """The rows to ask, and what was made of the others."""

    rows: tuple[QueryRow, ...]
    notes: tuple[str, ...] = ()


def read_queries(path: Path) -> QueryFile:
    """Read and check a table: a CSV in UTF-8, delimited by commas, semicolons or tabs; the first
    sheet of an Excel workbook; a Parquet file.

    Keys are DICOM keywords, or eight hexadecimal digits for a tag without one. Raises InputError if
    there is nothing to read, else QueryFileError with all problems.
    """
    table = read_table(path, _is_column)
    header = _without_empty_tail([name.strip() for name in table.records[0]])
    problems = table.problems[1] + _header_problems(header)
    if not any(_is_column(name) for name in header):
        nothing = f"row 1: no column says what to look for, such as {_examples()}"
        raise QueryFileError(path, problems or [nothing])
    if len(table.records) == 1:
        raise QueryFileError(path, [*problems, "there are no rows below the header"])
    rows: list[QueryRow] = []
    notes = list(table.notes)
    for number, record in enumerate(table.records[1:], start=2):
        row_problems = table.problems[number] + _too_many_cells(number, len(header), record)
        keys = _keys(number, header, record, row_problems, notes)
        pseudonym = _pseudonym(number, header, record, row_problems)
        if not keys and not row_problems:
            row_problems.append(f"row {number}: all cells are empty; remove the row")
        problems += row_problems
        rows.append(QueryRow(number, keys, pseudonym))
    problems += _lost_zeros(rows, table, notes) + conflicts(rows)
    if problems:
        raise QueryFileError(path, problems)
    return _merged(rows, notes)


def _is_column(name: str) -> bool:
    try:
        return find_column(name) is not None
    except NoKeyError:
        return False


def _without_empty_tail(names: list[str]) -> list[str]:
    """Spreadsheets write delimiters for columns that were emptied."""
    while names and not names[-1]:
        names = names[:-1]
    return names


def _header_problems(header: list[str]) -> list[str]:
    if not any(_is_column(name) or name == COLUMN or _nearest(name) for name in header):
        # not quoted: without a header, the first row is a patient's
        return [f"row 1: no known column; the header names columns such as {_examples()}"]
    problems = []
    seen: set[str] = set()
    for position, name in enumerate(header, start=1):
        column, problem = _column_or_problem(name)
        keyword = COLUMN if name == COLUMN else column.keyword if column else ""
        if not name:
            problems.append(f"row 1: column {position} has no name; name it or remove it")
        elif not keyword:
            problems.append(f"row 1, column {_shown(name)}: {problem}")
        elif keyword in seen:
            problems.append(f"row 1, column {_shown(name)}: is there twice; remove one")
        else:
            seen.add(keyword)
    return problems


def _column_or_problem(name: str) -> tuple[Column | None, str]:
    try:
        column = find_column(name)
    except NoKeyError as error:
        return None, str(error)
    return (column, "") if column is not None else (None, _unknown(name))


def _nearest(name: str) -> str:
    """The keyword that was meant; of equally near ones PACSMAN's column. Empty if none is near."""
    plain = re.sub(r"[\s_-]+", "", name.lower())
    best = (0.0, "")
    for keywords, cutoff in ((tuple(BY_KEYWORD), 0.7), (all_keywords(), 0.85)):
        lower = {keyword.lower(): keyword for keyword in keywords}
        for near in difflib.get_close_matches(plain, lower, n=1, cutoff=cutoff):
            likeness = difflib.SequenceMatcher(None, near, plain).ratio()
            best = max(best, (likeness, lower[near]), key=lambda pair: pair[0])
    return best[1]


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
        column, _ = _column_or_problem(name) if cell else (None, "")
        if column is None:
            continue
        keys[column.keyword] = cell
        if any("\udc80" <= char <= "\udcff" for char in cell):
            problem = "has bytes that are not UTF-8 (Latin-1?); save the file as CSV UTF-8"
        else:
            problem = problem_of(column, cell)
        if problem:
            problems.append(f"row {row}, column {name}: {problem}")
        if LINE_BREAK.search(raw.strip()):
            notes.append(f"row {row}, column {name}: a line break was read as a space")
    return keys


def _pseudonym(row: int, header: list[str], record: list[str], problems: list[str]) -> str:
    cells = (cell.strip() for name, cell in zip(header, record, strict=False) if name == COLUMN)
    pseudonym = next(cells, "")
    problem = cell_problem(pseudonym) if pseudonym else ""
    if problem:
        problems.append(f"row {row}, column {COLUMN}: {problem}")
    return pseudonym


def _lost_zeros(rows: list[QueryRow], table: Table, notes: list[str]) -> list[str]:
    """Problems where cells were numbers, and so must have lost leading zeros; else notes."""
    problems = []
    lost = {column.keyword for name in table.numbers if (column := find_column(name))}
    lost |= table.numbers & {COLUMN}
    keywords = dict.fromkeys(keyword for row in rows for keyword in row.keys)
    cells = {
        keyword: [row.keys.get(keyword, "") for row in rows]
        for keyword in keywords
        if may_lose_zeros(column_of(keyword))
    }
    cells[COLUMN] = [row.pseudonym for row in rows]
    for keyword, column_cells in cells.items():
        width, positions = shorter_than_common(column_cells)
        if not positions:
            continue
        where = rows_named([rows[position].row for position in positions])
        text = f"column {keyword}: fewer than {width} digits in {where}"
        if keyword in lost:
            problems.append(f"{text}: leading zeros are lost; format the column as text, restore")
        else:
            notes.append(f"{text}: if a spreadsheet took leading zeros away, restore them as text")
    return problems


def _merged(rows: list[QueryRow], notes: list[str]) -> QueryFile:
    # the same keys with another pseudonym have been refused
    first: dict[frozenset[tuple[str, str]], QueryRow] = {}
    for row in rows:
        same = first.setdefault(frozenset(row.keys.items()), row)
        if same is not row:
            notes.append(f"row {row.row} is the same as row {same.row}: asked once")
    return QueryFile(tuple(first.values()), tuple(notes))
