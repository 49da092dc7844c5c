"""Which product became which file: a table in the data set, so that what has a name keeps it.

It is written before the first file it names, and holds names of products, rules and files only.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields
from enum import StrEnum
from pathlib import Path, PurePosixPath

from pacstream.archive import write_atomically
from pacstream.errors import InputError

BOOK = PurePosixPath("sourcedata/products.tsv")
UNMATCHED = PurePosixPath("sourcedata/unmatched")

STEM = re.compile(r"(sub-[0-9A-Za-z]+)/(ses-[0-9A-Za-z]+)/[0-9A-Za-z]+/[0-9A-Za-z_-]+", re.ASCII)
LEFT = re.compile(
    rf"{re.escape(str(UNMATCHED))}/(sub-[0-9A-Za-z]+)/(ses-[0-9A-Za-z]+)/[^/\0]+", re.ASCII
)


class State(StrEnum):
    """What a product became: a part of the data set; a file beside it that BIDS has no name for; a
    file that lacks what BIDS requires, and is ignored until it has it; a file that no rule knows.
    """

    BIDS = "bids"
    BESIDE = "beside"
    INCOMPLETE = "incomplete"
    UNMATCHED = "unmatched"


@dataclass(frozen=True)
class Entry:
    """`source` is the product's name before, `target` its path in the data set, both without
    extension; `missing` names what an incomplete one lacks."""

    source: str
    target: str
    state: str
    rule: str = ""
    missing: str = ""

    @property
    def subject(self) -> str:
        return self._parts[0]

    @property
    def session(self) -> str:
        return self._parts[1]

    @property
    def _parts(self) -> tuple[str, str]:
        match = LEFT.fullmatch(self.target) or STEM.fullmatch(self.target)
        if match is None:
            raise ValueError("a target is no path of a data set")
        return match[1], match[2]


COLUMNS = tuple(one.name for one in fields(Entry))


def read_book(root: Path) -> dict[str, Entry]:
    """The entries by source; none if there is no table yet.

    Raises InputError if somebody has changed it so that it can't be understood.
    """
    path = root / BOOK
    try:
        rows = list(csv.DictReader(path.read_text("utf-8").splitlines(), delimiter="\t"))
        entries = [Entry(**{name: _cell(row[name]) for name in COLUMNS}) for row in rows]
        for number, entry in enumerate(entries, start=2):
            if not (LEFT.fullmatch(entry.target) or STEM.fullmatch(entry.target)):
                raise InputError(f"{path}: line {number}: `target` is no path of this data set")
    except FileNotFoundError:
        return {}
    except (KeyError, TypeError, ValueError, csv.Error):
        raise InputError(
            f"{path}: is not the table that pacstream wrote: put it back, or take another folder"
        ) from None
    return {entry.source: entry for entry in entries}


def _cell(text: str) -> str:
    return "" if text == "n/a" else text


def write_book(root: Path, entries: Mapping[str, Entry]) -> None:
    rows = (astuple(entries[source]) for source in sorted(entries))
    write_table(root / BOOK, COLUMNS, rows)


def write_table(path: Path, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """A table as BIDS wants it: tabs, a header, `n/a` for nothing. Written if it changes."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([value or "n/a" for value in row])
    write_if_changed(path, text.getvalue().encode())


def write_if_changed(path: Path, content: bytes) -> None:
    if not path.is_file() or path.read_bytes() != content:
        write_atomically(path, content)
