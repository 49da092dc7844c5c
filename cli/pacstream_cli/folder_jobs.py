"""What commands that work through a folder have in common: a bar, counts, and a list of the files
of which nothing was made.

The list names files, and files are named for patients, so it goes to the trusted zone.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pacstream.archive import write_atomically
from pacstream.errors import InputError
from pacstream.settings import load_settings
from pacstream_cli.submission import folder_problem
from pacstream_exporter.folder import LeftOut

NOT_ALL = 3
FOLDER = click.Path(path_type=Path)

data_option = click.option(
    "--data",
    type=FOLDER,
    metavar="FOLDER",
    help="the trusted zone, for lists of files  [default: PACSTREAM_DATA, or .pacstream]",
)


def zone_of(data: Path | None) -> Path:
    return (data or load_settings().data).resolve()


def check_writable(*folders: Path) -> None:
    """Raises InputError."""
    for folder in folders:
        problem = folder_problem(folder)
        if problem:
            raise InputError(f"{folder} {problem}")


@contextlib.contextmanager
def bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, and the function that moves it."""
    console = Console(stderr=True)
    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as shown:
        task = shown.add_task("", total=None)

        def progress(done: int, total: int) -> None:
            shown.update(task, completed=done, total=total)

        yield progress


def print_left_out(left_out: Sequence[LeftOut], listed: Path | None) -> None:
    """Numbers by reason, and where the files are listed by name."""
    numbers = Counter((not one.is_loss, one.reason, one.detail) for one in left_out)
    for (no_instance, reason, detail), number in sorted(numbers.items()):
        kind = "no instance" if no_instance else "left out"
        click.echo(f"  {kind:<12}{number} {reason}{f' ({detail})' if detail else ''}")
    if listed:
        click.echo(f"files left out (identified): {listed}")


def list_left_out(
    left_out: Sequence[LeftOut], data: Path, command: str, folder: Path
) -> Path | None:
    """The list's path; None if every file was used."""
    if not left_out:
        return None
    rows = [(one.path, one.reason, one.detail) for one in left_out]
    return write_list(data, command, folder, ("file", "reason", "detail"), rows)


def write_list(
    data: Path, command: str, folder: Path, header: Sequence[str], rows: Sequence[tuple[str, ...]]
) -> Path:
    """`DATA/offline/<command>-<folder's digest>.csv`: one for each command and folder."""
    mark = hashlib.blake2s(os.fsencode(folder), digest_size=8).hexdigest()
    target = data / "offline" / f"{command}-{mark}.csv"
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(sorted(rows))
    write_atomically(target, text.getvalue().encode("utf-8", "surrogateescape"))
    return target
