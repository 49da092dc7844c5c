"""`pacstream add-karnak-tags`: code, album and day shift in the instances of a folder, in place."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from pacstream.errors import InputError
from pacstream_cli.folder_jobs import (
    FOLDER,
    NOT_ALL,
    bar,
    data_option,
    list_left_out,
    print_left_out,
    write_list,
    zone_of,
)
from pacstream_cli.id_mapping import MappingError, read_entries
from pacstream_exporter.karnak import (
    CREATOR,
    SUBJECT,
    FoldersWithoutCodeError,
    Summary,
    Tags,
    subject_folders,
    tag_folders,
    text_problem,
)

COMMAND = "add-karnak-tags"


class ShiftError(InputError):
    """`problems` has one line for each entry that is wrong."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(f"--day_shift: {len(problems)} problems, nothing was started")
        self.problems = list(problems)


@click.command(COMMAND)
@click.option(
    "--in_folder",
    "--in-folder",
    "-d",
    "root",
    type=FOLDER,
    required=True,
    help="holds the folders sub-*; their files are changed",
)
@click.option(
    "--new_ids",
    "--new-ids",
    "-n",
    type=FOLDER,
    required=True,
    help="codes: new_ids.json or CSV, an entry for each folder",
)
@click.option("--album_name", "--album-name", "-a", "album", required=True, help="the album")
@click.option(
    "--day_shift",
    "--day-shift",
    "-s",
    "shift",
    default="0",
    show_default=True,
    metavar="DAYS|FILE",
    help="a whole number for all, or day_shift.json",
)
@click.option("--creator", default=CREATOR, show_default=True, help="the private creator")
@data_option
@click.option("--json", "as_json", is_flag=True, help="the summary as JSON")
def add_karnak_tags(
    root: Path,
    new_ids: Path,
    album: str,
    shift: str,
    creator: str,
    data: Path | None,
    as_json: bool,
) -> None:
    """Write the elements that a Karnak gateway reads into all instances below `sub-*`, in place.

    Only these elements change; a file is replaced when its successor is durable. Run it again to
    go on after an interruption: what has its elements is not touched. Exit code 0 only if every
    instance has them, 3 if one could not get them, 2 for wrong input.
    """
    root, zone = root.resolve(), zone_of(data)
    try:
        wanted = prepare(root, new_ids, album, shift, creator)
    except FoldersWithoutCodeError as error:
        rows = [(name, "no entry") for name in error.folders]
        told = write_list(zone, f"{COMMAND}-problems", root, ("folder", "problem"), rows)
        error.problems.append(f"they are listed in {told}")
        raise
    with bar("tagging") as progress:
        summary = tag_folders(wanted, progress)
    if not summary.instances:
        raise InputError("there is no DICOM instance below the folders sub-* of --in_folder")
    listed = list_left_out(summary.left_out, zone, COMMAND, root)
    if as_json:
        click.echo(json.dumps(as_dict(summary) | {"list": str(listed or "")}, indent=1))
    else:
        _print(summary, listed)
    sys.exit(0 if summary.is_whole else NOT_ALL)


def prepare(root: Path, new_ids: Path, album: str, shift: str, creator: str) -> dict[Path, Tags]:
    """What each folder gets; all of it is checked before a file is opened. Raises InputError."""
    if not root.is_dir():
        raise InputError("--in_folder is no folder")
    for option, text in (("--album_name", album), ("--creator", creator)):
        if problem := text_problem(text):
            raise InputError(f"{option} {problem}")
    codes = read_codes(new_ids)
    shifts = read_shifts(shift)
    folders = subject_folders(root, codes)
    if not folders:
        raise InputError("--in_folder has no folder sub-*")
    lacking = [one.name for one in folders if one.name not in codes]
    if lacking:
        raise FoldersWithoutCodeError(lacking, ["each folder needs an entry in --new_ids"])
    if not isinstance(shifts, int):
        lacking = [one.name for one in folders if one.name not in shifts]
        if lacking:
            raise FoldersWithoutCodeError(lacking, ["each folder needs an entry in --day_shift"])
    _note_shared([codes[one.name] for one in folders])
    return {
        one: Tags(
            codes[one.name], album, shifts if isinstance(shifts, int) else shifts[one.name], creator
        )
        for one in folders
    }


def read_codes(path: Path) -> dict[str, str]:
    """The code of each folder name. An entry names a folder, or the ID that it is named for.

    Raises InputError; texts of the file are not quoted.
    """
    codes: dict[str, str] = {}
    problems = []
    for entry in read_entries(path):
        problem = text_problem(entry.pseudonym)
        plain = re.sub("[^0-9A-Za-z]+", "_", entry.name.strip().removeprefix(SUBJECT))
        for name in {entry.name.strip(), f"{SUBJECT}{plain}"}:
            if codes.setdefault(name, entry.pseudonym) != entry.pseudonym and not problem:
                problem = "another code for a folder that has one already"
        if problem:
            problems.append(f"{entry.place}: {problem}")
    if problems:
        raise MappingError(problems)
    return codes


def read_shifts(given: str) -> Mapping[str, int] | int:
    """One number for all folders, or a number for each. Raises InputError."""
    if re.fullmatch(r"[+-]?\d{1,6}", given, re.ASCII):
        return int(given)
    try:
        found = json.loads(Path(given).read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise InputError(
            f"--day_shift is no whole number, and no file that can be read ({type(error).__name__})"
        ) from None
    except ValueError:
        raise InputError("--day_shift is no JSON in UTF-8") from None
    if not isinstance(found, dict) or not found:
        raise InputError('--day_shift is no JSON object {"sub-<id>": days, ...}')
    texts = {name: str(days) for name, days in found.items() if not isinstance(days, bool)}
    wrong = [
        f"entry {number}: no whole number of days"
        for number, name in enumerate(found, start=1)
        if not re.fullmatch(r"[+-]?\d{1,6}", texts.get(name, ""), re.ASCII)
    ]
    if wrong:
        raise ShiftError(wrong)
    return {name: int(days) for name, days in texts.items()}


def _note_shared(codes: Sequence[str]) -> None:
    shared = sum(number > 1 for number in Counter(codes).values())
    if shared:
        click.echo(
            f"note: {shared} codes stand for several folders: to the gateway they are one patient",
            err=True,
        )


def as_dict(summary: Summary) -> dict[str, object]:
    """For machines; without names of files."""
    return {
        "instances": summary.instances,
        "tagged": summary.tagged,
        "before": summary.before,
        "left_out": dict(Counter(one.reason for one in summary.left_out)),
    }


def _print(summary: Summary, listed: Path | None) -> None:
    click.echo(f"{summary.instances} DICOM instances")
    click.echo(f"  tagged      {summary.tagged}")
    if summary.before:
        click.echo(f"  unchanged   {summary.before} (had the elements)")
    print_left_out(summary.left_out, listed)
