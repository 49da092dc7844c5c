"""`pacstream status`, `watch`, `report`: what the ledger knows."""

from __future__ import annotations

import sys
from collections.abc import Callable
from json import dumps
from pathlib import Path
from typing import TypeVar

import click
from rich.console import Console

from pacstream.archive import Archive
from pacstream.errors import InputError
from pacstream.settings import load_settings
from pacstream_cli import reporting
from pacstream_cli.client import RESTART_PATIENCE, LedgerClient, View
from pacstream_cli.stack import running_settings

CONSOLE = Console(highlight=False)
PRINTED = "-"

F = TypeVar("F", bound=Callable[..., object])


@click.command()
@click.argument("batch", required=False)
@click.option("--json", "as_json", is_flag=True, help="as JSON")
def status(batch: str | None, as_json: bool) -> None:
    """All batches, or one BATCH: its rows, series and instances by state."""
    client = _client()
    batches = [client.status(batch)] if batch else client.batches()
    if as_json:
        click.echo(dumps(batches[0] if batch else batches, indent=1))
        return
    CONSOLE.print(reporting.status_table(batches))


@click.command()
@click.argument("batch")
def watch(batch: str) -> None:
    """Live progress of BATCH until it has finished; exit code as `run`."""
    last = reporting.watch(_client(RESTART_PATIENCE), batch, CONSOLE)
    CONSOLE.print(f"batch {batch}: {reporting.state_of(last)}")
    sys.exit(reporting.exit_code(last))


def file_option(name: str, what: str) -> Callable[[F], F]:
    """`--csv` alone prints, `--csv FILE` writes."""
    return click.option(
        f"--{name}", is_flag=False, flag_value=PRINTED, default="", metavar="[FILE]", help=what
    )


@click.command()
@click.argument("batch")
@file_option("csv", "one line per row and series, printed or into FILE")
@file_option("json", "everything the ledger knows, printed; or the report, into FILE")
@click.option("--html", default="", metavar="FILE", help="a page for readers and printers")
@click.option(
    "--identified",
    is_flag=True,
    help="files with what the rows ask for, UIDs and folders; without it a FILE may be given away",
)
@click.option(
    "--mapping",
    default="",
    metavar="FOLDER",
    help="who is who: mapping.csv, and PACSMAN's mapper.json and date_offsets.csv",
)
def report(batch: str, csv: str, json: str, html: str, identified: bool, mapping: str) -> None:
    """What became of each row of BATCH, and why. Exit code 3 if not all was delivered."""
    from pacstream_cli.report_files import written_mapping, written_reports  # Jinja2, pydicom

    if [csv, json].count(PRINTED) > 1:
        raise InputError("--csv and --json exclude each other, unless they go into files")
    settings = running_settings(load_settings())
    view = LedgerClient(settings.ledger_http).report(batch)
    files = {"csv": csv, "json": json, "html": html}
    wanted = {kind: Path(name) for kind, name in files.items() if name not in ("", PRINTED)}
    written = written_reports(view, wanted, Archive(settings.data), identified=identified)
    if mapping:
        written += written_mapping(view, Path(mapping), Archive(settings.data))
    if PRINTED in (csv, json):
        _print_as(view, json == PRINTED)
    elif not written:
        reporting.print_report(view, CONSOLE)
    for path in written:
        click.echo(f"written: {path}", err=True)
    sys.exit(reporting.exit_code(view) if view["finished_at"] is not None else 0)


def _print_as(view: View, as_json: bool) -> None:
    if as_json:
        click.echo(dumps(view, indent=1))
    else:
        click.echo(reporting.report_csv(view), nl=False)


def _client(patience: int = 0) -> LedgerClient:
    return LedgerClient(running_settings(load_settings()).ledger_http, patience=patience)
