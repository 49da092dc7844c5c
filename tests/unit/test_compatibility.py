"""Two versions side by side, as in a roll-out: messages and queues of the previous one still hold.

`golden/*-previous.json` is what the version before wrote and declared; `tests.record_previous` puts
this version there at a release. `views-previous.json` is what its ledger told of a batch.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pacstream.messages import MESSAGES
from pacstream.settings import Settings
from pacstream.topology import queues
from pacstream_cli.client import ADDED, LedgerClient
from pacstream_cli.reporting import exit_code, print_report, report_csv, status_table, watch
from tests.record_previous import record

GOLDEN = Path(__file__).parent / "golden"
BEFORE: dict[str, dict[str, Any]] = json.loads((GOLDEN / "messages-previous.json").read_text())
NOW: dict[str, dict[str, Any]] = json.loads((GOLDEN / "messages.json").read_text())
QUEUES: dict[str, dict[str, Any]] = json.loads((GOLDEN / "queues-previous.json").read_text())
VIEWS: dict[str, dict[str, Any]] = json.loads((GOLDEN / "views-previous.json").read_text())


def lost(before: object, now: object, place: str = "") -> list[str]:
    """What of `before` is not in `now`: fields that are gone, or whose JSON type is another."""
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            problem
            for name, value in before.items()
            for problem in (
                lost(value, now[name], f"{place}.{name}") if name in now else [f"{place}.{name}"]
            )
        ]
    if isinstance(before, list) and isinstance(now, list):
        return lost(before[0], now[0], f"{place}[]") if before and now else []
    same = before is None or now is None or type(before) is type(now)
    return [] if same else [f"{place}: {type(before).__name__}, {type(now).__name__}"]


def kept(before: object, now: object) -> bool:
    """Whether `now` has every value of `before`, and maybe more fields."""
    if isinstance(before, dict) and isinstance(now, dict):
        return all(name in now and kept(value, now[name]) for name, value in before.items())
    if isinstance(before, list) and isinstance(now, list):
        pairs = zip(before, now, strict=False)
        return len(before) == len(now) and all(kept(one, other) for one, other in pairs)
    return before == now


@pytest.mark.parametrize("topic", BEFORE)
def test_a_consumer_of_today_reads_what_the_previous_version_wrote(topic: str) -> None:
    (message,) = (one for one in MESSAGES if one.topic == topic)
    body = BEFORE[topic]["body"]
    assert kept(body, message.parse(json.dumps(body)).payload())


@pytest.mark.parametrize("topic", BEFORE)
def test_a_consumer_of_the_previous_version_finds_all_its_fields_in_what_is_written_today(
    topic: str,
) -> None:
    assert lost(BEFORE[topic]["body"], NOW[topic]["body"]) == []


def test_a_broker_lets_both_versions_declare_their_queues() -> None:
    today = {spec.name: spec for spec in queues(Settings().retry_delays)}
    for name, before in QUEUES.items():
        assert today[name].arguments == before["arguments"], f"{name}: a new name is needed"
        assert set(before["topics"]) <= set(today[name].topics)


def test_a_field_that_goes_and_one_that_changes_its_type_are_found() -> None:
    before = {"a": 1, "b": {"c": [{"d": "x"}]}}
    assert lost(before, {"a": 1, "b": {"c": [{"d": "x", "e": 2}]}}) == []
    assert lost(before, {"b": {"c": [{"d": 1}]}}) == [".a", ".b.c[].d: str, int"]
    assert not kept(before, {"a": 1, "b": {"c": []}})


def test_a_release_records_itself_as_the_previous_version(tmp_path: Path) -> None:
    (tmp_path / "messages.json").write_text(json.dumps(NOW))
    record(tmp_path)
    assert json.loads((tmp_path / "messages-previous.json").read_text()) == NOW
    recorded = json.loads((tmp_path / "queues-previous.json").read_text())
    assert set(QUEUES) <= set(recorded)
    assert all(recorded[name]["arguments"] == one["arguments"] for name, one in QUEUES.items())


@pytest.fixture
def previous_ledger() -> Iterator[LedgerClient]:
    """A ledger that answers as the previous version's did."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            view = VIEWS["report" if self.path.endswith("/report") else "status"]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(view).encode())

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield LedgerClient(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()


def test_the_command_line_reads_a_ledger_of_the_previous_version(
    previous_ledger: LedgerClient,
) -> None:
    assert not set(ADDED) & {*VIEWS["status"], *VIEWS["report"]}
    console = Console(file=io.StringIO(), width=200)
    done = watch(previous_ledger, "b", console)
    console.print(status_table([done]))
    report = previous_ledger.report("b")
    print_report(report, console)
    assert exit_code(done) == exit_code(report) == 0
    assert "series ended 16/16" in console.file.getvalue()  # type: ignore[attr-defined]
    assert len(report_csv(report).splitlines()) > 1
