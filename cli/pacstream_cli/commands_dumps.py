"""`pacstream move-dumps`: info tables to a tree of their own."""

from __future__ import annotations

from pathlib import Path

import click

from pacstream_cli.folder_jobs import (
    FOLDER,
    bar,
    check_writable,
    data_option,
    write_list,
    zone_of,
)
from pacstream_cli.release_folders import refuse_release
from pacstream_exporter import dumps


@click.command("move-dumps")
@click.option(
    "--data_folder",
    "--data-folder",
    "-d",
    "source",
    type=FOLDER,
    required=True,
    help="has the tables: sub-*/ses-*/*.csv, and mapper.json",
)
@click.option(
    "--info_folder",
    "--info-folder",
    "-o",
    "target",
    type=FOLDER,
    required=True,
    help="gets them, at the same places below it",
)
@data_option
def move_dumps(source: Path, target: Path, data: Path | None) -> None:
    """Move info tables away from the images, or back: the same command with the folders swapped.

    Nothing is overwritten: tables that are in the target with another content are told, and
    nothing is moved. Run it again to go on after an interruption.
    """
    source, target, zone = source.resolve(), target.resolve(), zone_of(data)
    refuse_release(target, zone, "--info_folder", "info tables name patients")
    dumps.check_folders(source, target)
    check_writable(target)
    try:
        with bar("moving") as progress:
            summary = dumps.move_dumps(source, target, progress)
    except dumps.OccupiedError as error:
        rows = [(str(path),) for path in error.paths]
        listed = write_list(zone, "move-dumps", source, ("file",), rows)
        error.problems.append(f"they are listed in {listed}")
        raise
    click.echo(f"{summary.moved} files moved")
    if summary.there:
        click.echo(f"{summary.there} were there already, with the same content; the old ones went")
