"""What the user is told of a batch."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from rich.console import Console

from pacstream_cli.reporting import (
    action_line,
    exit_code,
    print_report,
    remark,
    report_csv,
    stages,
    state_of,
    status_table,
)
from pacstream_exporter.batch_report.content import row_state

View = dict[str, Any]


def status(**changes: object) -> View:
    view: View = {
        "batch_id": "20240101-000000-abc",
        "name": "q.csv",
        "out": "out",
        "actions": {"save": True, "info": False, "anonymize": False, "convert": False},
        "finished_at": None,
        "delivered": False,
        "control": "running",
        "priority": 0,
        "held": None,
        "rows": {"submitted": 3, "answered": 1, "cancelled": 1, "waiting": 1},
        "series": {"complete": 1, "pending": 1},
        "instances": {
            "expected": 10,
            "received": 6,
            "done": 6,
            "withheld": 0,
            "failed": 0,
            "pending": 4,
        },
        "exported": 1,
        "converted": 0,
        "afterwards": [],
    }
    return {**view, **changes}


def series(state: str = "complete", **changes: object) -> View:
    view: View = {
        "series_uid": "1.2.3",
        "modality": "MR",
        "state": state,
        "reason": "",
        "remark": "",
        "evidence": "uids",
        "instances": {
            "expected": 5,
            "received": 5,
            "done": 5,
            "withheld": 0,
            "failed": 0,
            "pending": 0,
        },
        "missing": [],
        "conversion": "",
        "folder": "sub/ses/1",
    }
    return {**view, **changes}


def row(*held: View, state: str = "answered", reason: str = "") -> View:
    return {"row": 2, "state": state, "reason": reason, "series": list(held)}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "running"),
        ({"held": {"reason": "outside_window", "until": 1.0}}, "running, held: outside window"),
        ({"control": "paused", "held": {"reason": "paused", "until": None}}, "paused"),
        ({"control": "cancelled"}, "being cancelled"),
        ({"control": "cancelled", "finished_at": "2024"}, "cancelled"),
        ({"finished_at": "2024"}, "finished, not all delivered"),
        ({"finished_at": "2024", "delivered": True}, "delivered"),
    ],
)
def test_the_state_of_a_batch_is_told_with_why_it_waits(
    changes: dict[str, object], words: str
) -> None:
    assert state_of(status(**changes)) == words


def test_only_a_delivered_batch_ends_with_0() -> None:
    assert exit_code(status(delivered=True)) == 0
    assert exit_code(status(control="cancelled")) == 3


def test_batch_actions_are_counted_and_told() -> None:
    done = {"action": "info_table", "state": "done", "reason": "", "counts": {"left_out": 2}}
    failed = {"action": "export", "state": "failed", "reason": "refused", "counts": {}}
    steps = [done, failed, {**failed, "state": "waiting", "reason": ""}]
    assert ("batch actions", 2, 3) in stages(status(afterwards=steps))
    assert action_line(done) == "info table: done (left out 2)"
    assert action_line(failed) == "export: failed refused"


def test_cancelled_rows_count_as_answered() -> None:
    assert stages(status())[0] == ("rows answered", 2, 3)


def test_every_series_is_counted_once_in_the_stages() -> None:
    assert ("series ended", 1, 2) in stages(status())
    assert ("instances received", 6, 10) in stages(status())


@pytest.mark.parametrize(
    ("states", "worst"),
    [
        (["complete", "complete"], "complete"),
        (["complete", "withheld"], "withheld"),
        (["withheld", "cancelled"], "cancelled"),
        (["cancelled", "partial"], "partial"),
        (["partial", "failed"], "failed"),
        (["failed", "pending"], "pending"),
    ],
)
def test_a_row_is_as_bad_as_its_worst_series(states: list[str], worst: str) -> None:
    assert row_state(row(*(series(state) for state in states))) == worst


def test_a_row_without_series_has_its_own_state() -> None:
    assert row_state(row(state="no_match")) == "no match"


def test_reasons_and_remarks_of_all_series_are_shown_once() -> None:
    shown = remark(
        row(
            series("failed", reason="timed_out"),
            series(remark="conflicting_copy"),
            series(remark="conflicting_copy", conversion="failed"),
        )
    )
    assert shown == "conflicting_copy, failed, timed_out"


def test_the_csv_names_the_missing_instances_of_a_partial_series() -> None:
    view = {"report": [row(series("partial", missing=["1.2.3.4", "1.2.3.5"]))]}
    (line,) = csv.DictReader(io.StringIO(report_csv(view)))
    assert (line["state"], line["missing"]) == ("partial", "1.2.3.4 1.2.3.5")


def test_the_csv_has_a_line_for_a_row_without_series() -> None:
    view = {"report": [row(state="failed", reason="pacs_unreachable")]}
    (line,) = csv.DictReader(io.StringIO(report_csv(view)))
    assert (line["row"], line["row_state"], line["reason"]) == ("2", "failed", "pacs_unreachable")


def test_the_table_of_batches_shows_priority_and_state() -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(status_table([status(priority=7, control="paused")]))
    line = next(text for text in console.export_text().splitlines() if "q.csv" in text)
    assert " 7 " in line
    assert "paused" in line


def test_the_report_says_where_the_results_are() -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    print_report({**status(delivered=True, finished_at="x"), "report": [row(series())]}, console)
    assert "originals (identified):  out" in console.export_text()
