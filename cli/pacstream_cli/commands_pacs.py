"""`pacstream doctor` and `pacstream plan`: what a PACS can do, and what a CSV would cost."""

from __future__ import annotations

import datetime
import json
import os
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from pacstream.archive import Archive
from pacstream.messages import Actions, PacsProfile
from pacstream.settings import Settings, load_settings
from pacstream_cli.commands_batch import one_query_file
from pacstream_cli.config import read_config
from pacstream_cli.doctor import Diagnosis, Place, examine
from pacstream_cli.plan import (
    CountedSources,
    PlannedRow,
    Sizes,
    Tally,
    known_sizes,
    pace_of,
    plan_rows,
    suspicious,
)
from pacstream_cli.profiles import Chosen, choose, path_of, write_findings
from pacstream_cli.stack import Stack, running_settings
from pacstream_cli.submission import Submission, Wishes, prepare_plan
from pacstream_query.associations import Associations

SCREEN = Console(highlight=False)
ERRORS = Console(stderr=True, highlight=False)

NOT_WELL = 1
LEVELS = ("STUDY", "SERIES", "IMAGE")
MARKS = {
    "ok": "[green]✓[/]",
    "wrong": "[bold red]✗[/]",
    "note": "[yellow]![/]",
    "untried": "[red]?[/]",
}

CONFIG = click.option(
    "--config",
    "-c",
    type=click.Path(path_type=Path),
    required=True,
    help="JSON with the PACS's and our own address and AE titles",
)


@click.command()
@CONFIG
@click.option(
    "--pacs-profile",
    "--profile",
    "pacs_profile",
    type=click.Path(path_type=Path),
    help="profile to write  [default: DATA/pacs/<called AE title>.toml]",
)
@click.option("--write/--no-write", default=True, help="write the findings as a PACS profile")
@click.option("--json", "as_json", is_flag=True, help="as JSON")
def doctor(config: Path, pacs_profile: Path | None, write: bool, as_json: bool) -> None:
    """Say what is wrong with PACS or machine.

    Tries out network, AE titles, presentation contexts, C-FIND, storage port, C-MOVE, C-GET, disk,
    clock and broker: asks some C-FINDs, and has one small series sent to our store SCP. Nothing of
    it is kept or shown. Exit code 0 only if all that is needed works.
    """  # fmt: skip
    settings = load_settings()
    place, chosen = _place(config, pacs_profile, settings)
    with ERRORS.status("examining"):
        diagnosis = examine(place, datetime.date.today())
    path = chosen.path or pacs_profile or path_of(settings.data, place.node.called_aet)
    written = write and bool(diagnosis.findings)
    if written:
        date = datetime.date.today().isoformat()
        write_findings(path, place.node, diagnosis.findings, date)
    view = _view(place, diagnosis, path if written else None)
    if as_json:
        click.echo(json.dumps(view, indent=1))
    else:
        _show(view, chosen.note)
    sys.exit(0 if diagnosis.passed else NOT_WELL)


def _place(config: Path, profile: Path | None, settings: Settings) -> tuple[Place, Chosen]:
    read = read_config(config)
    named = profile or read.profile
    new = named is not None and not named.exists()
    chosen = Chosen(path=named) if new else choose(settings.data, read.node(), named)
    stack = Stack(settings)
    running = stack.is_running()
    place = Place(
        config=read,
        node=chosen.file.applied_to(read.node()),
        settings=running_settings(settings),
        stack=running,
        own_broker=not running and not os.environ.get("PACSTREAM_AMQP_URL"),
    )
    return place, chosen


def _view(place: Place, diagnosis: Diagnosis, profile: Path | None) -> dict[str, Any]:
    node = place.node
    return {
        "pacs": {
            "address": node.address,
            "port": node.port,
            "called_aet": node.called_aet,
            "calling_aet": node.calling_aet,
        },
        "ok": diagnosis.passed,
        "wrong": [check.name for check in diagnosis.checks if check.state == "wrong"],
        "untried": [check.name for check in diagnosis.checks if check.state == "untried"],
        "checks": [
            {
                "name": check.name,
                "state": check.state,
                "needed": check.needed,
                "text": check.text,
            }
            for check in diagnosis.checks
        ],
        "keys": [
            {
                "level": key.level,
                "keyword": key.keyword,
                "matching": key.matching,
                "returned": key.returned,
            }
            for key in diagnosis.find.keys
        ],
        "findings": {finding.key: finding.value for finding in diagnosis.findings},
        "profile": None if profile is None else str(profile),
    }


def _show(view: dict[str, Any], note: str) -> None:
    pacs = view["pacs"]
    SCREEN.print(
        f"{pacs['called_aet']} at {pacs['address']}:{pacs['port']}, "
        f"called by {pacs['calling_aet']}",
        soft_wrap=True,
        markup=False,
    )
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for check in view["checks"]:
        table.add_row(MARKS[check["state"]], check["name"], escape(check["text"]))
    SCREEN.print(table)
    if note:
        SCREEN.print(note, soft_wrap=True, markup=False)
    if view["profile"]:
        SCREEN.print(f"profile: {view['profile']}", soft_wrap=True, markup=False)
    for word in ("wrong", "untried"):
        if view[word]:
            SCREEN.print(f"{word}: {', '.join(view[word])}", soft_wrap=True, markup=False)
    if view["ok"]:
        SCREEN.print("all that is needed works")


@click.command()
@click.argument("query", required=False, type=click.Path(path_type=Path))
@click.option("--queryfile", "-q", type=click.Path(path_type=Path), help="the queries")
@CONFIG
@click.option(
    "--pacs-profile",
    "--profile",
    "pacs_profile",
    type=click.Path(path_type=Path),
    help="PACS profile  [default: DATA/pacs/<called AE title>.toml, if any]",
)
@click.option(
    "--pacsman-names", is_flag=True, help="PatientName as PACSMAN reads it: *LASTWORD in capitals"
)
@click.option(
    "--suspicious",
    type=click.IntRange(0),
    metavar="N",
    help="call out rows of more than N series  [default: 1000, or 20 x the median]",
)
@click.option("--json", "as_json", is_flag=True, help="as JSON")
def plan(
    query: Path | None,
    queryfile: Path | None,
    suspicious: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Dry run: what QUERY.csv would bring.

    Asks the PACS and fetches nothing: matches per row, what is here already, bytes and time. Rows
    with no match, and rows that match suspiciously much, are called out.
    """  # fmt: skip
    settings = running_settings(load_settings())
    wishes = Wishes(
        queryfile=one_query_file(query, queryfile), out=Path(), actions=Actions(), **options
    )
    submission = prepare_plan(wishes, settings.data)
    for note in filter(None, (*submission.queries.notes, submission.profile.note)):
        click.echo(f"note: {note}", err=True)
    planned = _planned(submission, settings)
    view = _plan_view(planned, submission, settings, suspicious)
    if as_json:
        click.echo(json.dumps(view, indent=1))
    else:
        _show_plan(view)


def _planned(submission: Submission, settings: Settings) -> tuple[list[PlannedRow], Tally]:
    inner = Associations(settings.dimse_timeout_s)
    sources = CountedSources(inner)
    rows = plan_rows(submission.messages(), sources, Archive(settings.data))
    total = submission.batch.rows
    try:
        shown = track(
            rows, "asking the PACS", total, console=ERRORS, disable=not ERRORS.is_terminal
        )
        return list(shown), sources.tally
    finally:
        inner.close()


def _plan_view(
    planned: tuple[list[PlannedRow], Tally],
    submission: Submission,
    settings: Settings,
    suspicious_limit: int | None,
) -> dict[str, Any]:
    rows, tally = planned
    many = suspicious(rows, suspicious_limit)
    sizes = known_sizes(Archive(settings.data))
    pace = pace_of(settings, submission.batch, submission.profile.file.measured)
    unique = {one.series_uid: one for row in rows for one in row.series}.values()
    fetched = [one for one in unique if one.instances is None or one.missing]
    missing, size = sum(one.missing for one in fetched), sizes.of(unique)
    return {
        "rows": [_row_view(row, sizes, many) for row in rows],
        "total": {
            "rows": len(rows),
            "rows_without_match": [row.row for row in rows if not row.series],
            "rows_suspicious": sorted(many),
            "studies": len({one.study_uid for one in unique}),
            "series": len(unique),
            "instances": sum(one.instances or 0 for one in unique),
            "series_of_unknown_size": sum(one.instances is None for one in unique),
            "here": sum(one.here for one in unique),
            "to_fetch": missing,
            "bytes": size,
            "seconds": round(pace.seconds(len(fetched), missing, size), 1),
        },
        "estimates": {
            "bytes_guessed_for": sorted(sizes.guessed(unique)),
            "moves": pace.moves,
            "instance_ms": pace.instance_ms,
            "instance_ms_measured": pace.measured,
            "window": pace.window,
        },
        "requests": {level: tally.number[level] for level in LEVELS},
        "image_level_to_come": _image_level(submission.batch.pacs.profile, tally, len(unique)),
    }


def _row_view(row: PlannedRow, sizes: Sizes, many: set[int]) -> dict[str, Any]:
    remarks = [row.reason] if row.reason else []
    remarks += [] if row.series else ["no_match"]
    remarks += ["suspiciously_many"] if row.row in many else []
    unknown = any(one.instances is None for one in row.series)
    return {
        "row": row.row,
        "studies": row.studies,
        "series": len(row.series),
        "instances": sum(one.instances or 0 for one in row.series),
        "here": sum(one.here for one in row.series),
        "bytes": sizes.of(row.series),
        "remarks": remarks + (["instances_unknown"] if unknown else []),
    }


def _image_level(profile: PacsProfile, tally: Tally, series: int) -> dict[str, float]:
    """What `submit` asks besides: the instances of each series, once."""
    number = series if profile.image_level else 0
    each = tally.mean("IMAGE") or tally.mean("SERIES") or 0.0
    return {"requests": number, "seconds": round(number * each, 1)}


def _show_plan(view: dict[str, Any]) -> None:
    table = Table(box=None)
    columns = ("row", "studies", "series", "instances", "here", "size", "remark")
    for column in columns:
        table.add_column(column, justify="left" if column == "remark" else "right")
    for row in view["rows"]:
        numbers = [str(row[column]) for column in columns[:5]]
        remark = ", ".join(row["remarks"]).replace("_", " ")
        mark = f"[bold yellow]{escape(remark)}[/]" if remark else ""
        table.add_row(*numbers, _size(row["bytes"]), mark)
    SCREEN.print(table)
    for line in _plan_lines(view):
        SCREEN.print(line, soft_wrap=True, markup=False)


def _plan_lines(view: dict[str, Any]) -> list[str]:
    total, estimates, later = view["total"], view["estimates"], view["image_level_to_come"]
    guessed = ", ".join(estimates["bytes_guessed_for"])
    how = f"sizes guessed for {guessed}" if guessed else "sizes as in the archive"
    pace = "measured" if estimates["instance_ms_measured"] else "assumed"
    asked = ", ".join(f"{level} {number}" for level, number in view["requests"].items())
    lines = [
        f"{total['series']} series of {total['studies']} studies, {total['instances']} instances, "
        f"{total['here']} of them here",
        f"to fetch: {total['to_fetch']} instances, about {_size(total['bytes'])} ({how}), "
        f"about {_span(total['seconds'])} ({estimates['moves']} C-MOVEs at once, "
        f"{estimates['instance_ms']:g} ms an instance, {pace})",
        f"asked now: {asked}; `submit` asks IMAGE level {later['requests']} times more, "
        f"about {_span(later['seconds'])}",
    ]
    if estimates["window"]:
        lines.append(f"open hours of the PACS, not counted in: {estimates['window']}")
    if total["series_of_unknown_size"]:
        lines.append(f"{total['series_of_unknown_size']} series whose instances it does not tell")
    for key, words in (
        ("rows_without_match", "rows with no match"),
        ("rows_suspicious", "rows that match suspiciously much"),
    ):
        if total[key]:
            lines.append(f"{words}: {', '.join(map(str, total[key]))}")
    return lines


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _span(seconds: float) -> str:
    for limit, divisor, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.0f} {unit}"
    return f"{seconds / 86400:.1f} days"
