"""What a cell of a query table may hold, by value representation (PS3.5 section 6.2).

Each check returns what is wrong and what to do, or an empty string. It never quotes the cell.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Sequence

from pacstream_query.columns import TEXT_VRS, UNDIVIDED_VRS, Column
from pacstream_query.matching import date_time_range, is_only_wildcards

LONGEST = {"AE": 16, "CS": 16, "LO": 64, "LT": 10240, "PN": 64, "SH": 16, "ST": 1024}
"""Characters of one value; the other text representations have no limit of their own."""
WHOLE_NUMBERS = {
    "IS": (-(2**31), 2**31 - 1),
    "SS": (-(2**15), 2**15 - 1),
    "SL": (-(2**31), 2**31 - 1),
    "SV": (-(2**63), 2**63 - 1),
    "US": (0, 2**16 - 1),
    "UL": (0, 2**32 - 1),
    "UV": (0, 2**64 - 1),
}
DECIMALS = ("DS", "FD", "FL")
LONGEST_DECIMAL_STRING = 16
DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
TIME = re.compile(r"([01]\d|2[0-3])(?:([0-5]\d)(?:([0-5]\d|60)(\.\d{1,6})?)?)?", re.ASCII)
DATE_TIME = re.compile(
    r"(\d{4})(0[1-9]|1[0-2])?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\.\d{1,6})?([+-]\d{4})?", re.ASCII
)
AGE = re.compile(r"\d{3}[DWMY]", re.ASCII)
SHORTENED_NUMBER = re.compile(r"\d([.,]\d+)?[eE]\+\d{1,3}", re.ASCII)
"""1.23E+15: how spreadsheets show, and then write, a number that is too long for them."""

IDENTIFIERS = re.compile(r".*(ID|IDs|Number|Numbers)")
"""Columns of identifiers, which may begin with zeros."""
LEAST_TO_COMPARE = 5
MOST_SHORTER = 0.4


def problem_of(column: Column, cell: str) -> str:
    """What is wrong with a cell that is not empty; empty if nothing is."""
    if is_only_wildcards(cell):
        return "only wildcards, which matches everything; leave the cell empty or be more specific"
    if any(not char.isprintable() for char in cell):
        return "has control characters; remove them"
    if SHORTENED_NUMBER.fullmatch(cell) and column.vr not in DECIMALS:
        return "a number that a spreadsheet has shortened (as 1.23E+15): format it as text there"
    check = CHECKS.get(column.vr)
    return check(cell) if check is not None else _text_problem(column, cell)


def _text_problem(column: Column, cell: str) -> str:
    longest = LONGEST.get(column.vr)
    undivided = column.vr in UNDIVIDED_VRS
    if "\\" in cell and not (column.multiple or undivided):
        return "has a backslash, which this attribute can't hold; make one row for each value"
    values = [cell] if undivided else cell.split("\\")
    if longest is not None and any(len(value) > longest for value in values):
        return f"longer than {longest} characters; shorten it, with * if need be"
    if column.vr in ("AE", "CS") and not cell.isascii():
        return "has letters that this attribute can't hold: unaccented ones only"
    if column.keyword == "Modality" and cell != cell.upper():
        return "codes are written in capitals, as MR"
    return ""


def _name_problem(cell: str) -> str:
    groups = cell.split("=")
    if "\\" in cell:
        return "has a backslash, which a name can't hold"
    if len(groups) > 3 or any(group.count("^") > 4 for group in groups):
        return "not a DICOM name: write Family^Given"
    if any(len(group) > LONGEST["PN"] for group in groups):
        return "a name of more than 64 characters; shorten it, with * if need be"
    return ""


def _uid_problem(cell: str) -> str:
    for uid in cell.split("\\"):
        if len(uid) > 64:
            return "a UID has at most 64 characters"
        if "*" in uid or "?" in uid:
            return "a UID takes no wildcards (PS3.4 section C.2.2.2); give it whole"
        if not re.fullmatch(r"[0-9]+(\.[0-9]+)+", uid):
            return "not a UID: digits and dots only"
    return ""


def _integer_problem(vr: str) -> Callable[[str], str]:
    least, most = WHOLE_NUMBERS[vr]

    def check(cell: str) -> str:
        if not re.fullmatch(r"[+-]?[0-9]{1,20}", cell) or (vr == "IS" and len(cell) > 12):
            return "must be one whole number, without wildcards"
        if not least <= int(cell) <= most:
            return f"must be one whole number from {least} to {most}"
        return ""

    return check


def _decimal_problem(cell: str) -> str:
    if not DECIMAL.fullmatch(cell) or len(cell) > LONGEST_DECIMAL_STRING:
        return "must be one number with a decimal point, at most 16 characters, without wildcards"
    return ""


def _age_problem(cell: str) -> str:
    if not AGE.fullmatch(cell):
        return "an age has three digits and D, W, M or Y, as 018M"
    return ""


def _date_problem(text: str) -> str:
    if not re.fullmatch(r"[0-9]{8}", text):
        return "a date has 8 digits, YYYYMMDD, without separators or wildcards"
    try:
        date = datetime.date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return "there is no such date; write YYYYMMDD"
    return "" if date.year >= 1900 else "a date before 1900"


def _time_problem(text: str) -> str:
    if not TIME.fullmatch(text):
        return "there is no such time; write HHMMSS, HHMM or HH, without colons or wildcards"
    return ""


def _date_time_problem(cell: str) -> str:
    ends = date_time_range(cell)
    for end in (cell,) if ends is None else ends:
        if end and not _is_date_time(end):
            return "there is no such date and time; write YYYYMMDDHHMMSS, or less of it"
    if ends is not None and all(ends) and ends[0][: len(ends[1])] > ends[1]:
        return "the range is reversed; write the earlier end first"
    return ""


def _is_date_time(text: str) -> bool:
    match = DATE_TIME.fullmatch(text)
    if match is None:
        return False
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    try:
        datetime.datetime(year, month or 1, day or 1, hour, minute, min(second, 59))
    except ValueError:
        return False
    return year >= 1900 and (match[7] is None or match[6] is not None)


def _range_problem(cell: str, problem_of_end: Callable[[str], str]) -> str:
    """A single value, or `low-high` with one end left out at most."""
    ends = cell.split("-")
    if len(ends) > 2 or not any(ends):
        return "not a value and not a range; a range is FROM-TO, FROM- or -TO"
    problem = next((found for end in ends if end and (found := problem_of_end(end))), "")
    if problem:
        return problem
    # 10:30 as an upper end covers 10:30:59, so 103010-1030 is no reversed range
    if len(ends) == 2 and all(ends) and ends[0][: len(ends[1])] > ends[1]:
        return "the range is reversed; write the earlier end first"
    return ""


CHECKS: dict[str, Callable[[str], str]] = {
    "UI": _uid_problem,
    "DA": lambda cell: _range_problem(cell, _date_problem),
    "TM": lambda cell: _range_problem(cell, _time_problem),
    "DT": _date_time_problem,
    "PN": _name_problem,
    "AS": _age_problem,
    **{vr: _integer_problem(vr) for vr in WHOLE_NUMBERS},
    **dict.fromkeys(DECIMALS, _decimal_problem),
}
"""By value representation; what is not here is text."""


def may_lose_zeros(column: Column) -> bool:
    """Identifiers are text, though they often look like numbers."""
    return column.vr in TEXT_VRS and IDENTIFIERS.fullmatch(column.keyword) is not None


def shorter_than_common(cells: Sequence[str]) -> tuple[int, list[int]]:
    """The common width of a column of digits, and the positions of the cells that are shorter.

    No positions where the column has other texts, too few cells, or no common width.
    """
    given = [cell for cell in cells if cell]
    if len(given) < LEAST_TO_COMPARE or not all(
        cell.isascii() and cell.isdigit() for cell in given
    ):
        return 0, []
    width = max(len(cell) for cell in given)
    shorter = [position for position, cell in enumerate(cells) if cell and len(cell) < width]
    return width, shorter if len(shorter) <= MOST_SHORTER * len(given) else []
