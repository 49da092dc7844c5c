"""`pacstream extract-reports`: structured reports of a folder as text and JSON."""

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
from pacstream_cli.release_folders import refuse_release
from pacstream_exporter.reports import extract
from pacstream_exporter.reports.extract import Summary

COMMAND = "extract-reports"


@click.command(COMMAND)
@click.option(
    "--in_folder",
    "--in-folder",
    "-d",
    "source",
    type=FOLDER,
    required=True,
    help="has the reports, in any layout, among other files",
)
@click.option(
    "--out_folder",
    "--out-folder",
    "-o",
    "out",
    type=FOLDER,
    help="gets <SOPInstanceUID>.txt and .json, which identify  [default: reports in the trusted "
    "zone]",
)
@data_option
@click.option("--json", "as_json", is_flag=True, help="the summary as JSON")
def extract_reports(source: Path, out: Path | None, data: Path | None, as_json: bool) -> None:
    """Write the whole content of each structured report, of any class, as text and as JSON.

    Reports identify: no release folder is taken for the output. Exit code 0 only if every report
    was read, 3 if one was not, 2 for wrong input.
    """
    zone = zone_of(data)
    source, out = source.resolve(), (out or zone / "reports").resolve()
    refuse_release(out, zone, "--out_folder", "reports name patients")
    extract.check_folders(source, out)
    check_writable(out, zone)
    with bar("reading") as progress:
        summary = extract.extract_reports(source, out, progress)
    listed = list_left_out(summary.left_out, zone, COMMAND, source)
    if as_json:
        click.echo(json.dumps(as_dict(summary) | {"list": str(listed or "")}, indent=1))
    else:
        _print(summary, listed, out)
    sys.exit(0 if summary.is_whole else NOT_ALL)


def as_dict(summary: Summary) -> dict[str, object]:
    """For machines; without names of files."""
    return {
        "reports": summary.reports,
        "written": summary.written,
        "before": summary.before,
        "duplicates": summary.duplicates,
        "others": summary.others,
        "left_out": dict(Counter(one.reason for one in summary.left_out)),
    }


def _print(summary: Summary, listed: Path | None, out: Path) -> None:
    before = f", {summary.before} of them earlier" if summary.before else ""
    click.echo(f"{summary.reports} structured reports")
    click.echo(f"  written     {summary.written}{before}")
    if summary.duplicates:
        click.echo(f"  duplicates  {summary.duplicates} (same content as another file)")
    click.echo(f"  skipped     {summary.others} other instances")
    print_left_out(summary.left_out, listed)
    click.echo(f"texts (identified): {out}")
