"""Reads a table of text from CSV, Excel (.xlsx) or Parquet, as records with the header first.

Spreadsheets and data frames turn identifiers into numbers and dates: where a cell is no text any
more, it is read back as text if that loses nothing, with a note, or named as a problem.
"""

from __future__ import annotations

import csv
import datetime
import io
import re
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pacstream.errors import InputError
from pacstream_query.columns import NUMBER_VRS, NoKeyError, find_column

DELIMITERS = ",;\t"
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
WORKBOOK, OLD_WORKBOOK, PARQUET = b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"PAR1"
EXACT_DIGITS = 15
"""A spreadsheet's numbers have no more."""
NAMED_ROWS = 5


class QueryFileError(InputError):
    """`problems` has one line for each thing that is wrong, in the order of the file."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        noun = "problem" if len(problems) == 1 else "problems"
        lines = "".join(f"\n  {problem}" for problem in problems)
        super().__init__(f"{path.name}: {len(problems)} {noun}, nothing was started{lines}")
        self.problems = problems


@dataclass
class Table:
    """Records of text, the header first; what was changed, and what can't be read."""

    records: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    """By row, the header is row 1."""
    is_typed: bool = True
    """Cells had types, as in a workbook; those of a CSV are text."""
    numbers: set[str] = field(default_factory=set)
    """Columns with cells that were numbers: they have lost any leading zero."""


def read_table(path: Path, is_column: Callable[[str], bool]) -> Table:
    """The table in `path`; `is_column` tells a header's names, which tells a CSV's delimiter.

    Raises InputError if there is nothing to read, QueryFileError if it is no table.
    """
    content = _content(path)
    if content.startswith(OLD_WORKBOOK):
        raise InputError(f"{path}: is an old Excel file; save it as .xlsx or CSV UTF-8")
    if content.startswith(WORKBOOK):
        table = _workbook(path, content)
    elif content.startswith(PARQUET):
        table = _parquet(path, content)
    else:
        table = Table(_csv(path, content, is_column), is_typed=False)
    while table.records and _is_padding(table) and len(table.records) not in table.problems:
        table.records.pop()
    if not table.records or not any(cell.strip() for cell in table.records[0]):
        raise InputError(f"{path}: is empty; the first row must be a header of DICOM keywords")
    return table


def _is_padding(table: Table) -> bool:
    """Workbooks end in rows that only have a format; a CSV in line breaks, without delimiters."""
    last = table.records[-1]
    return not any(last) and (table.is_typed or len(last) <= 1)


def rows_named(rows: Sequence[int]) -> str:
    """`rows 3, 7 and 12`, with the number of those that are not named."""
    first = ", ".join(map(str, rows[:NAMED_ROWS]))
    more = f" and {len(rows) - NAMED_ROWS} more" if len(rows) > NAMED_ROWS else ""
    return f"{'row' if len(rows) == 1 else 'rows'} {first}{more}"


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such query file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, not a table of queries") from None
    except OSError as error:
        raise InputError(f"{path}: can't be read ({type(error).__name__})") from None


def _csv(path: Path, content: bytes, is_column: Callable[[str], bool]) -> list[list[str]]:
    """Bytes that are not UTF-8 stay as lone surrogates."""
    if content.startswith(UTF16_MARKS):
        raise InputError(f"{path}: is UTF-16; save it as CSV UTF-8")
    text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="surrogateescape")
    if not text.strip(" \t\r\n,;"):
        raise InputError(f"{path}: is empty; the first row must be a header of DICOM keywords")
    delimiter = _delimiter(text, is_column)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        return list(reader)
    except csv.Error:
        problem = f"line {reader.line_num}: quotes do not pair up, or a cell is far too long"
        raise QueryFileError(path, [problem]) from None


def _delimiter(text: str, is_column: Callable[[str], bool]) -> str:
    """The one that finds most known columns in the first line; a comma if that is a tie."""
    first_line = text.splitlines()[0]

    def known(delimiter: str) -> int:
        names = next(csv.reader([first_line], delimiter=delimiter))
        return sum(is_column(name.strip()) for name in names)

    return max(DELIMITERS, key=known)


@dataclass
class _Reading:
    """Cells of a typed table on their way to text."""

    table: Table
    exact_integers: bool
    header: list[str] = field(default_factory=list)
    changed: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(list))

    def take(self, row: int, cells: Sequence[object], formats: Sequence[str]) -> None:
        pairs = zip(cells, formats, strict=True)
        record = [self.text(row, n, cell, form) for n, (cell, form) in enumerate(pairs)]
        if row == 1:
            self.header = [name.strip() for name in record]
        self.table.records.append(record)

    def name(self, position: int) -> str:
        """The column's name, or where it is."""
        return self.header[position] if position < len(self.header) else f"{position + 1}"

    def text(self, row: int, position: int, cell: object, form: str) -> str:
        name = self.name(position)
        if cell is None or isinstance(cell, str):
            return cell or ""
        if isinstance(cell, bool) or not isinstance(
            cell, int | float | datetime.date | datetime.time
        ):
            self.refuse(row, name, "is neither text, number nor date; format the column as text")
            return ""
        if isinstance(cell, datetime.date | datetime.time):
            self.changed[name, "dates or times"].append(row)
            return _moment_text(cell)
        return self._number_text(row, name, cell, form)

    def _number_text(self, row: int, name: str, cell: float, form: str) -> str:
        if isinstance(cell, float) and not cell.is_integer():
            self.changed[name, "numbers"].append(row)
            return repr(cell)
        digits = str(int(cell))
        if len(digits) > EXACT_DIGITS and not (self.exact_integers and isinstance(cell, int)):
            self.refuse(row, name, "a number of more than 15 digits, of which the last are lost")
            return ""
        if re.fullmatch("0{2,}", form):
            return digits.zfill(len(form))
        self.changed[name, "numbers"].append(row)
        self.table.numbers.add(name)
        return digits

    def refuse(self, row: int, name: str, problem: str) -> None:
        self.table.problems[row].append(f"row {row}, column {name}: {problem}")

    def end(self) -> Table:
        for (name, kind), rows in self.changed.items():
            if kind == "numbers" and _is_number(name):
                continue
            self.table.notes.append(
                f"column {name}: {kind}, not text, in {rows_named(rows)}: read as text"
            )
        return self.table


def _is_number(name: str) -> bool:
    try:
        column = find_column(name)
    except NoKeyError:
        return False
    return column is not None and column.vr in {*NUMBER_VRS, "DA"}


def _moment_text(moment: datetime.date | datetime.time) -> str:
    """As DICOM writes it: DA, TM, or DT if a date has a time of day."""
    if isinstance(moment, datetime.time):
        return f"{moment:%H%M%S}"
    if isinstance(moment, datetime.datetime) and moment.time() != datetime.time():
        return f"{moment:%Y%m%d%H%M%S}"
    return f"{moment:%Y%m%d}"


def _workbook(path: Path, content: bytes) -> Table:
    """The first sheet that has cells; the others are noted."""
    import openpyxl

    try:
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
    except (zipfile.BadZipFile, KeyError, ValueError, OSError):
        raise InputError(f"{path}: is no Excel workbook that can be read") from None
    reading = _Reading(Table(), exact_integers=False)
    filled = [sheet for sheet in book.worksheets if _has_cells(sheet.iter_rows(max_row=50))]
    if len(filled) > 1:
        reading.table.notes.append(f"only the first of {len(filled)} sheets was read")
    for row, cells in enumerate(filled[0].iter_rows() if filled else (), start=1):
        values, formats = [], []
        for position, cell in enumerate(cells):
            is_error = cell.data_type == "e"
            if is_error:
                reading.refuse(
                    row, reading.name(position), "an error of the spreadsheet; repair it"
                )
            values.append(None if is_error else cell.value)
            formats.append(str(cell.number_format or ""))
        reading.take(row, values, formats)
    return reading.end()


def _has_cells(rows: Iterable[Iterable[object]]) -> bool:
    return any(getattr(cell, "value", None) is not None for row in rows for cell in row)


def _parquet(path: Path, content: bytes) -> Table:
    import pyarrow
    import pyarrow.parquet

    try:
        frame = pyarrow.parquet.read_table(pyarrow.BufferReader(content))
    except (pyarrow.ArrowException, OSError):
        raise InputError(f"{path}: is no Parquet file that can be read") from None
    # an index that pandas has written as a column of its own is no key
    names = [name for name in frame.column_names if not name.startswith("__index_level_")]
    reading = _Reading(Table(), exact_integers=True)
    reading.take(1, names, [""] * len(names))
    columns = [_without_nan(frame.column(name).to_pylist()) for name in names]
    for row, cells in enumerate(zip(*columns, strict=True), start=2):
        reading.take(row, cells, [""] * len(names))
    return reading.end()


def _without_nan(cells: list[object]) -> list[object]:
    """pandas writes a missing number as NaN, the only value that differs from itself."""
    return [None if cell != cell else cell for cell in cells]
