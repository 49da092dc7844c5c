"""`pacstream --amqp-url URL --status-url URL COMMAND`: services that run elsewhere."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import click
import pytest
from click.testing import CliRunner

from pacstream.archive import Archive
from pacstream.errors import InputError
from pacstream.settings import Settings
from pacstream_cli.main import pacstream
from pacstream_cli.stack import running_settings

AMQP, STATUS = "amqp://somebody:secret@broker.example/%2F", "http://ledger.example:8090"


class FakeLedger(BaseHTTPRequestHandler):
    answers: ClassVar[dict[str, object]] = {}

    def do_GET(self) -> None:
        answer = self.answers.get(self.path)
        self.send_response(404 if answer is None else 200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, format: str, *args: object) -> None:
        """The tests say what they have asked."""


@pytest.fixture
def ledger() -> Iterator[str]:
    FakeLedger.answers = {"/batches": [], "/zone": {"zone": "theirs"}}
    server = HTTPServer(("127.0.0.1", 0), FakeLedger)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PACSTREAM_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def test_the_options_go_before_everything_else(data: Path) -> None:
    seen: list[Settings] = []

    @click.command()
    def look() -> None:
        seen.append(running_settings(Settings(data=data, amqp_url="amqp://other/%2F")))

    with click.Context(pacstream, info_name="pacstream") as context:
        context.params = {"amqp_url": AMQP, "status_url": None}
        with click.Context(look, parent=context):
            look.callback and look.callback()
    assert (seen[0].amqp_url, seen[0].ledger_http) == (AMQP, Settings().ledger_http)
    assert running_settings(Settings(data=data)).amqp_url == Settings().amqp_url


def test_a_ledger_elsewhere_is_asked(data: Path, ledger: str) -> None:
    done = CliRunner().invoke(pacstream, ["--status-url", ledger, "status", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output) == []


@pytest.mark.parametrize("command", ["up", "down", "ps", "run"])
def test_commands_about_this_machine_refuse_them(command: str, data: Path) -> None:
    arguments = ["--config", "none.json", "none.csv"] if command == "run" else []
    done = CliRunner().invoke(pacstream, ["--status-url", STATUS, command, *arguments])
    assert isinstance(done.exception, InputError)
    assert f"`pacstream {command}` is about those of this machine" in str(done.exception)


@pytest.mark.parametrize(
    ("option", "url"),
    [
        ("--amqp-url", "http://broker"),
        ("--status-url", "ledger:8090"),
        ("--amqp-url", "amqp://:secret"),
    ],
)
def test_what_is_no_such_url_is_refused_and_not_repeated(option: str, url: str) -> None:
    done = CliRunner().invoke(pacstream, [option, url, "status"])
    assert isinstance(done.exception, InputError)
    assert str(done.exception).startswith(f"{option}: a URL like")
    assert url not in str(done.exception)


def submit(data: Path, ledger: str, tmp_path: Path) -> BaseException | None:
    arguments = [
        "submit",
        str(tmp_path / "no.csv"),
        "--config",
        str(tmp_path / "no.json"),
        "--save",
    ]
    return CliRunner().invoke(pacstream, ["--status-url", ledger, *arguments]).exception


def test_a_submission_into_another_zone_is_refused_at_once(
    data: Path, ledger: str, tmp_path: Path
) -> None:
    error = submit(data, ledger, tmp_path)
    assert isinstance(error, InputError)
    assert "is not the trusted zone of those services" in str(error)


def test_a_submission_into_their_zone_goes_on(data: Path, ledger: str, tmp_path: Path) -> None:
    FakeLedger.answers["/zone"] = {"zone": Archive(data).zone()}
    error = submit(data, ledger, tmp_path)
    assert isinstance(error, InputError)
    assert "no.json" in str(error)


def test_a_zone_keeps_its_id_and_no_other_has_it(tmp_path: Path) -> None:
    one = Archive(tmp_path / "one").zone()
    assert Archive(tmp_path / "one").zone() == one
    assert Archive(tmp_path / "two").zone() != one
    assert [path.name for path in (tmp_path / "one/state").iterdir()] == ["zone"]
