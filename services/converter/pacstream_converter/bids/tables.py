"""Files about the data set: who takes part, what was acquired when, what is not to be validated."""

from __future__ import annotations

import contextlib
import csv
import datetime
import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dcm2niix

from pacstream import __version__
from pacstream.errors import InputError
from pacstream.pseudonyms import shifted_date
from pacstream_converter.bids import schema
from pacstream_converter.bids.book import Entry, State, write_if_changed, write_table
from pacstream_converter.bids.facts import Header
from pacstream_converter.bids.planning import Item

OLDEST = 89
"""Years; a release tells no greater age (BIDS recommends it, and so does 45 CFR 164.514)."""

AGE = re.compile(r"(\d{3})([DWMY])", re.ASCII)
DAYS = {"D": 1.0, "W": 7.0, "M": 30.436875, "Y": 365.2425}
SEXES = frozenset({"M", "F", "O"})
TIME = re.compile(r"(\d{2})(\d{2})?(\d{2})?(?:\.(\d{1,6}))?", re.ASCII)

PARTICIPANTS = {
    "age": {"Description": "Age at the first session", "Units": "year"},
    "sex": {
        "Description": "Sex as the images tell it (0010,0040)",
        "Levels": {"F": "female", "M": "male", "O": "other"},
    },
}
SCANS = {
    "acq_time": {
        "Description": "When the acquisition of the image began. In a release, dates are shifted, "
        "by the same number of days for all images of a participant."
    }
}

README = """\
# {title}

This data set follows the Brain Imaging Data Structure. pacstream {version} has made it of DICOM
images: dcm2niix converted them, and rules on header values gave each image its place.

- `sourcedata/products.tsv` says of each image which rule gave it its name, and what it was before.
- `sourcedata/unmatched/` has images that no rule knows.
- Images in `.bidsignore` have no place in BIDS, or lack something that it requires and that DICOM
  does not tell; the table says what.

This file and CHANGES are written once: they are yours to edit.
"""

BEGIN, END = "# written by pacstream: begin", "# written by pacstream: end"


def write_participants(root: Path, items: Sequence[Item]) -> None:
    """One row for each participant who has a folder. Columns and rows that others have added stay,
    and so do values that are there: an age is that at the first session that came.

    Raises InputError if the table can't be understood.
    """
    path = root / "participants.tsv"
    columns, rows = _read_table(path, ["participant_id", "age", "sex"])
    people: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        if (root / f"sub-{item.subject}").is_dir():
            people[f"sub-{item.subject}"].append(item)
    for name in sorted(people):
        row = rows.setdefault(name, {"participant_id": name})
        for column, value in _person(people[name]).items():
            if row.get(column, "n/a") == "n/a":
                row[column] = value
    if not rows:
        return  # the validator takes an empty table for a wrong one
    write_table(path, columns, ([row.get(one, "") for one in columns] for row in rows.values()))
    _write_json_once(path.with_suffix(".json"), PARTICIPANTS)


def _read_table(path: Path, columns: list[str]) -> tuple[list[str], dict[str, dict[str, str]]]:
    """The columns, ours among them, and the rows by the first column."""
    try:
        reader = csv.DictReader(path.read_text("utf-8").splitlines(), delimiter="\t")
        rows = {row[columns[0]]: row for row in reader}
    except FileNotFoundError:
        return columns, {}
    except (KeyError, UnicodeDecodeError, csv.Error):
        raise InputError(f"{path}: is no table with a column {columns[0]}") from None
    there = list(reader.fieldnames or ())
    return there + [one for one in columns if one not in there], rows


def _person(items: Sequence[Item]) -> dict[str, str]:
    told = [item for item in items if item.series.characteristics]
    ages = [age for item in told if (age := age_of(item.header)) is not None]
    sexes = {sex for item in told if (sex := item.header.first("PatientSex")) in SEXES}
    found: dict[str, str] = {}
    if ages:
        is_old = any(item.series.release for item in told) and min(ages) > OLDEST
        found["age"] = f"{OLDEST}+" if is_old else f"{min(ages):.4g}"
    if len(sexes) == 1:
        found["sex"] = sexes.pop()
    return found


def age_of(header: Header) -> float | None:
    """Years: from Patient's Age (0010,1010), else whole ones from the date of birth."""
    match = AGE.fullmatch(header.first("PatientAge"))
    if match:
        return round(int(match[1]) * DAYS[match[2]] / DAYS["Y"], 2)
    born, then = header.first("PatientBirthDate"), header.first("StudyDate")
    if not (re.fullmatch(r"\d{8}", born) and re.fullmatch(r"\d{8}", then) and born <= then):
        return None
    return int(then[:4]) - int(born[:4]) - (then[4:] < born[4:])


def write_scans(
    root: Path,
    items: Sequence[Item],
    book: Mapping[str, Entry],
    touched: Collection[tuple[str, str]] = (),
) -> None:
    """For each session the table of its images: what is there stays, what moved is renamed.
    `touched` are sessions, by subject, of which images have gone."""
    times: dict[str, dict[str, str]] = defaultdict(dict)
    folders = set(touched)
    for item in items:
        entry = book[item.source]
        folders.add((entry.subject, entry.session))
        if entry.state == State.BIDS:
            times[f"{entry.subject}/{entry.session}"][_scan(entry)] = acq_time(item)
    here: dict[tuple[str, str], set[str]] = defaultdict(set)
    for entry in book.values():
        if entry.state == State.BIDS:
            here[entry.subject, entry.session].add(_scan(entry))
    for subject, session in sorted(folders):
        path = root / subject / session / f"{subject}_{session}_scans.tsv"
        columns, rows = _read_table(path, ["filename", "acq_time"])
        for name, time in times[f"{subject}/{session}"].items():
            rows.setdefault(name, {"filename": name})["acq_time"] = time
        rows = {name: row for name, row in rows.items() if name in here[subject, session]}
        if not rows:
            path.unlink(missing_ok=True)
            _remove_if_empty(path.parent)
            continue
        texts = ([rows[name].get(one, "") for one in columns] for name in sorted(rows))
        write_table(path, columns, texts)
        _write_json_once(root / "scans.json", SCANS)


def _remove_if_empty(session: Path) -> None:
    with contextlib.suppress(OSError):  # something is in it, or it is gone
        session.rmdir()
        session.parent.rmdir()


def _scan(entry: Entry) -> str:
    """Relative to the folder of the session."""
    return entry.target.split("/", 2)[2] + ".nii.gz"


def acq_time(item: Item) -> str:
    """As in the release: with a shifted date, or empty where it has none."""
    days, header = item.series.shift_days, item.header
    date = shifted_date(header.date, days) if days is not None else ""
    time = TIME.fullmatch(header.time)
    if not date or time is None:
        return ""
    fraction = f".{time[4].ljust(6, '0')}" if time[4] else ""
    moment = f"{date[:4]}-{date[4:6]}-{date[6:]}T{time[1]}:{time[2] or '00'}:{time[3] or '00'}"
    try:
        datetime.datetime.fromisoformat(moment)
    except ValueError:
        return ""
    return moment + fraction


def write_ignored(root: Path, entries: Iterable[Entry]) -> None:
    """What BIDS does not know, and what lacks something. Lines that others have added stay."""
    lines: set[str] = set()
    for entry in entries:
        if entry.state == State.BESIDE:
            lines.add(f"/sub-*/ses-*/{entry.target.split('/')[2]}")
        elif entry.state == State.INCOMPLETE:
            lines.add(f"/{entry.target}.*")
            if entry.target.endswith("_asl"):
                lines.add(f"/{entry.target.removesuffix('asl')}aslcontext.*")
    path = root / ".bidsignore"
    before = path.read_text("utf-8") if path.is_file() else ""
    others = re.sub(rf"{BEGIN}\n.*?{END}\n", "", before, flags=re.DOTALL)
    ours = "".join(f"{line}\n" for line in [BEGIN, *sorted(lines), END]) if lines else ""
    if before or ours:
        write_if_changed(path, (others + ours).encode())


def write_description(root: Path, title: str, today: str) -> None:
    """README and CHANGES only if there are none; of the description, the versions are ours.

    Raises InputError if dataset_description.json is no JSON object.
    """
    path = root / "dataset_description.json"
    told: dict[str, Any] = {"Name": title, "DatasetType": "raw"}
    if path.is_file():
        told = _read_description(path)
    others = [one for one in told.get("GeneratedBy", []) if one.get("Name") not in TOOLS]
    told |= {
        "BIDSVersion": schema.VERSION,
        "GeneratedBy": [*others, *({"Name": n, "Version": v} for n, v in TOOLS.items())],
    }
    write_if_changed(path, f"{json.dumps(told, indent=1, ensure_ascii=False)}\n".encode())
    _write_once(root / "README.md", README.format(title=title, version=__version__))
    _write_once(root / "CHANGES", f"1.0.0 {today}\n  - Made by pacstream {__version__}.\n")


TOOLS = {"pacstream": __version__, "dcm2niix": dcm2niix.__version__}


def _read_description(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text("utf-8"))
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise InputError(f"{path}: is no JSON object")
    return told


def _write_once(path: Path, text: str) -> None:
    if not path.exists() and not (path.name == "README.md" and path.with_suffix("").exists()):
        write_if_changed(path, text.encode())


def _write_json_once(path: Path, content: object) -> None:
    _write_once(path, f"{json.dumps(content, indent=1)}\n")
