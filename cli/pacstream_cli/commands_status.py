"""`pacstream status`, `watch`, `report`: what the ledger knows."""

from __future__ import annotations

import json
import sys

import click
from rich.console import Console

from pacstream.errors import InputError
from pacstream.settings import load_settings
from pacstream_cli import reporting
from pacstream_cli.client import RESTART_PATIENCE, LedgerClient
from pacstream_cli.stack import running_settings

CONSOLE = Console(highlight=False)


@click.command()
@click.argument("batch", required=False)
@click.option("--json", "as_json", is_flag=True, help="as JSON")
def status(batch: str | None, as_json: bool) -> None:
    """All batches, or one BATCH: its rows, series and instances by state."""
    client = _client()
    batches = [client.status(batch)] if batch else client.batches()
    if as_json:
        click.echo(json.dumps(batches[0] if batch else batches, indent=1))
        return
    CONSOLE.print(reporting.status_table(batches))


@click.command()
@click.argument("batch")
def watch(batch: str) -> None:
    """Live progress of BATCH until it has finished; exit code as `run`."""
    last = reporting.watch(_client(RESTART_PATIENCE), batch, CONSOLE)
    CONSOLE.print(f"batch {batch}: {reporting.state_of(last)}")
    sys.exit(reporting.exit_code(last))


@click.command()
@click.argument("batch")
@click.option("--csv", "as_csv", is_flag=True, help="one line per row and series")
@click.option("--json", "as_json", is_flag=True, help="everything the ledger knows")
def report(batch: str, as_csv: bool, as_json: bool) -> None:
    """What became of each row of BATCH, and why. Exit code 3 if not all was delivered."""
    if as_csv and as_json:
        raise InputError("--csv and --json exclude each other")
    view = _client().report(batch)
    if as_json:
        click.echo(json.dumps(view, indent=1))
    elif as_csv:
        click.echo(reporting.report_csv(view), nl=False)
    else:
        reporting.print_report(view, CONSOLE)
    sys.exit(reporting.exit_code(view) if view["finished_at"] is not None else 0)


def _client(patience: int = 0) -> LedgerClient:
    return LedgerClient(running_settings(load_settings()).ledger_http, patience=patience)
