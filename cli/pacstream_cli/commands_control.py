"""`pacstream throttle show|set`, `pause`, `resume`, `cancel`, `priority`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime

import click
from rich.console import Console
from rich.table import Table

from pacstream.errors import InputError
from pacstream.settings import load_settings
from pacstream_cli.client import LedgerClient, View
from pacstream_cli.stack import running_settings

CONSOLE = Console(highlight=False)

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]i?)?b?(?:/s)?", re.IGNORECASE)
NO_LIMIT = "none"
"""What to write for a limit that is to be lifted."""

RATES = ("series_per_minute", "instances_per_second", "bytes_per_second")


@click.group()
def throttle() -> None:
    """The limits that protect a PACS: they hold over all replicas and survive a restart."""


@throttle.command()
@click.option("--pacs", default="", help="only this one")
@click.option("--json", "as_json", is_flag=True, help="as JSON")
def show(pacs: str, as_json: bool) -> None:
    """The limits of each PACS, what it bears now, its breaker, and why nothing is released."""
    views = [one for one in _client().throttles() if pacs in ("", *names_of(one))]
    if as_json:
        click.echo(json.dumps(views, indent=1))
    elif not views:
        click.echo("the ledger knows no PACS yet: submit a batch, or set limits by name")
    else:
        CONSOLE.print(throttle_table(views))


@throttle.command("set")
@click.option("--pacs", default="", help="AE title, or AETITLE@address:port")
@click.option("--moves", type=int, help="C-MOVEs at once")
@click.option("--series-per-minute", help="a number, or none")
@click.option("--instances-per-second", help="a number, or none")
@click.option("--bytes-per-second", help="e.g. 50MB, or none")
@click.option("--window", help='e.g. "Mon-Fri 19:00-06:00, Sat-Sun 00:00-24:00"; always: none')
@click.option(
    "--holiday", multiple=True, help="YYYY-MM-DD, counts as a Sunday; give all of them, or none"
)
@click.option("--time-zone", help="of window and holidays, e.g. Europe/Zurich")
@click.option("--breaker-failures", type=int, help="in a row, then the breaker opens")
@click.option("--breaker-pause", "breaker_pause_s", type=float, help="first pause in seconds")
@click.option("--latency-factor", type=float, help="slower than usual by this: it opens; 0: never")
def set_limits(pacs: str, **options: object) -> None:
    """Change limits of a PACS. What is not named stays. It holds within seconds."""
    limits = limits_of(options)
    if not limits:
        raise InputError("name at least one limit: `pacstream throttle set --help` lists them")
    CONSOLE.print(throttle_table([_client().set_throttle(pacs, limits)]))


def limits_of(options: Mapping[str, object]) -> View:
    """The options that were given, as the ledger takes them. Raises InputError."""
    limits: View = {name: value for name, value in options.items() if value not in (None, ())}
    for name in RATES:
        if name in limits:
            limits[name] = rate_of(name, str(limits[name]))
    if str(limits.get("window", "")).strip().lower() in (NO_LIMIT, "always"):
        limits["window"] = ""
    if "holiday" in limits:
        holidays = limits.pop("holiday")
        limits["holidays"] = [] if holidays == (NO_LIMIT,) else list(holidays)
    return limits


def rate_of(name: str, text: str) -> float | None:
    """A number, with a unit where it is of bytes; None for no limit. Raises InputError."""
    text = text.strip()
    if text.lower() == NO_LIMIT:
        return None
    match = SIZE.fullmatch(text)
    if match is None or (name != "bytes_per_second" and not re.fullmatch(r"[\d.]+", text)):
        raise InputError(f"--{name.replace('_', '-')}: {text!r} is no such number")
    return float(match[1]) * UNITS[(match[2] or "").lower()]


def names_of(view: View) -> tuple[str, str]:
    """What one may call a PACS: its key, or its AE title."""
    key = str(view["pacs"])
    return key, key.partition("@")[0]


def throttle_table(views: list[View]) -> Table:
    table = Table(title="limits")
    for column in ("PACS", "limits", "now", "breaker", "held"):
        table.add_column(column)
    for one in views:
        table.add_row(one["pacs"], _limits(one), _now(one), _breaker(one), held_text(one["hold"]))
    return table


def _limits(view: View) -> str:
    limits = view["limits"]
    lines = [f"{limits['moves']} C-MOVEs at once"]
    lines += [_rate(name, limits[name]) for name in RATES if limits[name]]
    if limits["window"]:
        lines.append(f"{limits['window']} ({limits['time_zone']})")
    if limits["holidays"]:
        lines.append("holidays " + ", ".join(limits["holidays"]))
    return "\n".join(lines)


def _rate(name: str, value: float) -> str:
    if name == "bytes_per_second":
        return f"{value / 10**6:g} MB per second"
    return f"{value:g} {name.replace('_', ' ')}"


def _now(view: View) -> str:
    last = view["last_minute"]
    return (
        f"{view['moving']} C-MOVEs\nlast minute: {last['series']} series,"
        f" {last['instances']} instances"
    )


def _breaker(view: View) -> str:
    breaker = view["breaker"]
    text = str(breaker["state"]).replace("_", "-")
    if breaker["reason"]:
        text += f": {breaker['reason']}"
    if breaker["until"] is not None:
        text += f" until {_clock(breaker['until'])}"
    return text


def held_text(hold: View | None) -> str:
    """Why nothing is released, and until when if that is known; empty if something is."""
    if hold is None:
        return ""
    until = "" if hold["until"] is None else f" until {_clock(hold['until'])}"
    return str(hold["reason"]).replace("_", " ") + until


def _clock(moment: float) -> str:
    return datetime.fromtimestamp(moment).astimezone().strftime("%a %H:%M:%S")


@click.command()
@click.argument("batch")
def pause(batch: str) -> None:
    """Release nothing more of BATCH. What is under way goes on."""
    _client().control(batch, "pause")
    click.echo(f"batch {batch}: paused; `pacstream resume {batch}` goes on")


@click.command()
@click.argument("batch")
def resume(batch: str) -> None:
    """Go on with a paused BATCH."""
    _client().control(batch, "resume")
    click.echo(f"batch {batch}: running")


@click.command()
@click.argument("batch")
def cancel(batch: str) -> None:
    """End BATCH now. What is complete stays; what is under way is cancelled at the PACS."""
    status = _client().control(batch, "cancel")
    series = status["series"]
    ended = ", ".join(f"{count} {state}" for state, count in sorted(series.items()))
    click.echo(f"batch {batch}: cancelled; series: {ended or 'none'}")


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("batch")
@click.argument("number", type=click.IntRange(-9, 9))
def priority(batch: str, number: int) -> None:
    """Give BATCH the priority NUMBER, -9 to 9: each step doubles its share of the PACS."""
    _client().control(batch, "priority", priority=number)
    click.echo(f"batch {batch}: priority {number}")


def _client() -> LedgerClient:
    return LedgerClient(running_settings(load_settings()).ledger_http)
