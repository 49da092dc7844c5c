"""`pacstream create-dicomdir`: a folder's instances as a file-set for interchange media."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import click

from pacstream_cli.folder_jobs import (
    FOLDER,
    NOT_ALL,
    bar,
    check_writable,
    data_option,
    list_left_out,
    print_left_out,
    zone_of,
)
from pacstream_exporter.media.file_set import Summary, check_folders, create_file_set


@click.command("create-dicomdir")
@click.option(
    "--in_folder",
    "--in-folder",
    "-d",
    "source",
    type=FOLDER,
    required=True,
    help="the instances, in any layout",
)
@click.option(
    "--out_folder",
    "--out-folder",
    "-o",
    "out",
    type=FOLDER,
    required=True,
    help="the file-set; empty, new, or an earlier result of the same folder",
)
@data_option
@click.option("--json", "as_json", is_flag=True, help="the summary as JSON")
def create_dicomdir(source: Path, out: Path, data: Path | None, as_json: bool) -> None:
    """Copy the DICOM instances of a folder under media names, and list them in a DICOMDIR.

    Files are copied byte for byte; what the DICOMDIR needs and a file lacks is filled in the
    DICOMDIR only. Run it again to go on after an interruption, or to add instances. Exit code 0
    only if every instance is listed, 3 if one is not, 2 for wrong input.
    """
    source, out, zone = source.resolve(), out.resolve(), zone_of(data)
    check_folders(source, out)
    check_writable(out, zone)
    with bar("copying") as progress:
        summary = create_file_set([source], out, progress)
    listed = list_left_out(summary.left_out, zone, "create-dicomdir", source)
    if as_json:
        click.echo(json.dumps(as_dict(summary) | {"list": str(listed or "")}, indent=1))
    else:
        _print(summary, listed, out)
    sys.exit(0 if summary.is_whole else NOT_ALL)


def as_dict(summary: Summary) -> dict[str, object]:
    """For machines; without names of files."""
    return {
        "instances": summary.instances,
        "written": summary.written,
        "before": summary.before,
        "duplicates": summary.duplicates,
        "left_out": dict(Counter(one.reason for one in summary.left_out)),
        "filled": dict(summary.filled),
        "off_profile": dict(summary.off_profile),
    }


def _print(summary: Summary, listed: Path | None, out: Path) -> None:
    before = f", {summary.before} of them earlier" if summary.before else ""
    click.echo(f"{summary.instances} DICOM instances")
    click.echo(f"  listed      {summary.written}{before}")
    if summary.duplicates:
        click.echo(f"  duplicates  {summary.duplicates} (same content as another file)")
    for keyword, number in sorted(summary.filled.items()):
        click.echo(f"  filled in   {keyword} of {number} instances, in the DICOMDIR only")
    for syntax, number in sorted(summary.off_profile.items()):
        click.echo(
            f"note: {number} instances are in {syntax}, which no General Purpose media profile "
            "(PS3.11) has: some readers will not open them",
            err=True,
        )
    print_left_out(summary.left_out, listed)
    click.echo(f"file-set: {out}")
