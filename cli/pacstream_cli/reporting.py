"""What the user sees of a batch: bars while it runs, a table per row when it has ended."""

from __future__ import annotations

import csv
import io
import time
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from pacstream_cli.client import LedgerClient, View
from pacstream_exporter.batch_report.content import row_state

DELIVERED, NOT_DELIVERED = 0, 3
"""Exit codes of a finished batch."""

REPORT_COLUMNS = (
    "row",
    "row_state",
    "series_uid",
    "modality",
    "state",
    "reason",
    "evidence",
    "expected",
    "received",
    "done",
    "withheld",
    "failed",
    "cancelled",
    "pending",
    "conversion",
    "remark",
    "folder",
    "missing",
)


ENDED_ROWS = ("answered", "no_match", "failed", "cancelled")


class RateColumn(ProgressColumn):
    """Steps a second, over the last half minute."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s", style="progress.data.speed")


def stages(status: View) -> list[tuple[str, int, int]]:
    """The stages that this batch has, each with what is done and what is known to come."""
    rows, series, instances = status["rows"], status["series"], status["instances"]
    actions = status["actions"]
    known = sum(series.values())
    answered = sum(rows.get(state, 0) for state in ENDED_ROWS)
    found: list[tuple[str, int, int]] = [("rows answered", answered, rows["submitted"])]
    if actions["save"] or actions["anonymize"] or actions["convert"]:
        found.append(("instances received", instances["received"], instances["expected"]))
    if actions["anonymize"]:
        treated = instances["done"] + instances["withheld"]
        found.append(("instances de-identified", treated, instances["expected"]))
    if actions["convert"]:
        found.append(("series converted", status["converted"], known))
    if actions["save"]:
        found.append(("series saved", status["exported"], known))
    steps = status["afterwards"]
    if steps:
        ended = sum(one["state"] not in ("waiting", "running") for one in steps)
        found.append(("batch actions", ended, len(steps)))
    found.append(("series ended", known - series.get("pending", 0), known))
    return found


def watch(client: LedgerClient, batch_id: str, console: Console, interval_s: float = 0.5) -> View:
    """Show progress until the batch has finished; returns its last status."""
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bars: dict[str, Any] = {}
        said = ""
        while True:
            status = client.status(batch_id)
            for name, done, total in stages(status):
                if name not in bars:
                    bars[name] = progress.add_task(name, total=None)
                progress.update(bars[name], completed=done, total=total or None)
            if not console.is_terminal:
                said = _say_if_new(console, status, said)
            if status["finished_at"] is not None:
                return status
            time.sleep(interval_s)


def _say_if_new(console: Console, status: View, said: str) -> str:
    """Without a terminal: a line whenever rows or series have moved on."""
    steps = stages(status)
    key = " ".join(f"{done}/{total}" for name, done, total in steps if "instances" not in name)
    held = held_text(status)
    key += held
    if key != said:
        line = ", ".join(f"{name} {done}/{total}" for name, done, total in steps)
        line += f" (held: {held})" if held else ""
        console.print(f"  {line}", soft_wrap=True)
    return key


STATUS_COLUMNS = (
    "batch",
    "file",
    "state",
    "priority",
    "rows",
    "series",
    "instances",
    "withheld",
    "failed",
)


def status_table(batches: list[View]) -> Table:
    table = Table(title="batches")
    for column in STATUS_COLUMNS:
        table.add_column(column, overflow="fold", no_wrap=column == "batch")
    for one in batches:
        instances, rows, series = one["instances"], one["rows"], one["series"]
        answered = rows["submitted"] - rows.get("waiting", 0)
        known = sum(series.values())
        table.add_row(
            one["batch_id"],
            one["name"],
            state_of(one),
            str(one["priority"]),
            f"{answered}/{rows['submitted']}",
            f"{known - series.get('pending', 0)}/{known}",
            f"{instances['done']}/{instances['expected']}",
            str(instances["withheld"]),
            str(instances["failed"]),
        )
    return table


def state_of(status: View) -> str:
    """In words, with why nothing goes on if that is so."""
    if status["finished_at"] is not None:
        if status["control"] == "cancelled":
            return "cancelled"
        return "delivered" if status["delivered"] else "finished, not all delivered"
    if status["control"] == "cancelled":
        return "being cancelled"
    held = held_text(status)
    if status["control"] == "paused":
        return "paused"
    return f"running, held: {held}" if held else "running"


def held_text(status: View) -> str:
    """Why nothing of a batch is released now; empty if something is, or nothing waits."""
    held = status.get("held")
    return str(held["reason"]).replace("_", " ") if held else ""


def exit_code(status: View) -> int:
    return DELIVERED if status["delivered"] else NOT_DELIVERED


def print_report(report: View, console: Console) -> None:
    """A line for each row, then what was not delivered and why, then where the results are."""
    table = Table(title=f"batch {report['batch_id']} ({report['name']}): {state_of(report)}")
    counted = ["expected", "done", "withheld", "failed"]
    counted += [key for key in ("cancelled", "pending") if report["instances"].get(key)]
    for column in ("row", "state", "series", *counted, "remark"):
        words = column in ("state", "remark")
        table.add_column(column, justify="left" if words else "right", overflow="fold")
    for row in report["report"]:
        counts = [sum(one["instances"][key] for one in row["series"]) for key in counted]
        table.add_row(
            str(row["row"]),
            row_state(row),
            str(len(row["series"])),
            *map(str, counts),
            remark(row),
        )
    console.print(table)
    for step in report["afterwards"]:
        console.print(f"  {action_line(step)}", soft_wrap=True)
    for place in places(report):
        console.print(f"  {place}", soft_wrap=True)


def action_line(step: View) -> str:
    """`dicomdir: done (in 12, out 12)`."""
    counts = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in step["counts"].items())
    words = " ".join(filter(None, (step["state"], step["reason"])))
    return f"{step['action'].replace('_', ' ')}: {words}{f' ({counts})' if counts else ''}"


def remark(row: View) -> str:
    reasons = {row["reason"]}
    reasons |= {series[key] for series in row["series"] for key in ("reason", "remark")}
    excluded = {
        series["conversion"] for series in row["series"] if series["conversion"] not in CONVERTED
    }
    return ", ".join(sorted((reasons | excluded) - {""}))


CONVERTED = frozenset({"", "converted"})


def places(report: View) -> list[str]:
    actions, out = report["actions"], report["out"]
    found = []
    if actions["save"] or actions["info"] or (actions["convert"] and not actions["anonymize"]):
        found.append(f"originals (identified):  {out}")
    if actions["anonymize"]:
        found.append(f"release (de-identified): {out}/release")
    if any(step["action"] == "dicomdir" for step in report["afterwards"]):
        found.append(f"file-set with DICOMDIR:  {out}/media/{report['batch_id']}")
    return found


def report_rows(report: View) -> list[dict[str, object]]:
    """One flat record for each row and series; a row without series has one, too."""
    records: list[dict[str, object]] = []
    for row in report["report"]:
        base: dict[str, object] = {"row": row["row"], "row_state": row["state"]}
        for series in row["series"]:
            plain = {key: series[key] for key in series if key in REPORT_COLUMNS}
            plain["missing"] = " ".join(series["missing"])
            records.append({**base, **plain, **series["instances"]})
        if not row["series"]:
            records.append({**base, "reason": row["reason"]})
    return records


def report_csv(report: View) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, REPORT_COLUMNS, restval="", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(report_rows(report))
    return text.getvalue()
