"""What a cell of a query CSV may hold, by value representation (PS3.5 section 6.2).

Each check returns what is wrong and what to do, or an empty string. It never quotes the cell.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable

from pacstream_query.columns import Column

LONGEST = {"LO": 64, "SH": 16, "CS": 16, "PN": 64}
TIME = re.compile(r"([01]\d|2[0-3])(?:([0-5]\d)(?:([0-5]\d|60)(\.\d{1,6})?)?)?", re.ASCII)


def problem_of(column: Column, cell: str) -> str:
    """What is wrong with a cell that is not empty; empty if nothing is."""
    if set(cell) <= {"*", "?"}:
        return "only wildcards, which matches everything; leave the cell empty or be more specific"
    if any(not char.isprintable() for char in cell):
        return "has control characters; remove them"
    if column.vr == "UI":
        return _uid_problem(cell)
    if column.vr == "DA":
        return _range_problem(cell, _date_problem)
    if column.vr == "TM":
        return _range_problem(cell, _time_problem)
    if column.vr == "IS":
        return _integer_problem(cell)
    if column.vr == "PN":
        return _name_problem(cell)
    return _text_problem(column, cell)


def _text_problem(column: Column, cell: str) -> str:
    longest = LONGEST[column.vr]
    if "\\" in cell and column.keyword != "ImageType":
        return "has a backslash, which this attribute can't hold; make one row for each value"
    if any(len(value) > longest for value in cell.split("\\")):
        return f"longer than {longest} characters; shorten it, with * if need be"
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


def _integer_problem(cell: str) -> str:
    if not re.fullmatch(r"[+-]?[0-9]{1,11}", cell) or not -(2**31) <= int(cell) < 2**31:
        return "must be one whole number, without wildcards"
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
