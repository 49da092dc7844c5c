"""`pacstream report` with files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pacstream.errors import InputError
from pacstream_cli import commands_status
from pacstream_cli.client import LedgerClient
from tests.unit.exporter.batch_report.views import IDENTIFYING, batch


@pytest.fixture(autouse=True)
def ledger(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PACSTREAM_DATA", str(tmp_path / "data"))
    view = batch(out=str(tmp_path / "out"))
    monkeypatch.setattr(LedgerClient, "report", lambda self, batch_id: view)


def called(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(commands_status.report, ["B", *map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout


def test_without_files_it_is_printed() -> None:
    code, out = called("--csv")
    assert code == 3 and out.startswith("row,row_state,series_uid")
    code, out = called("--json")
    assert json.loads(out)["name"] == "mueller.csv"


def test_files_may_be_given_away_unless_wanted_otherwise(tmp_path: Path) -> None:
    paths = {kind: tmp_path / "r" / f"report.{kind}" for kind in ("csv", "json", "html")}
    wanted = [part for kind, path in paths.items() for part in (f"--{kind}", path)]
    code, out = called(*wanted)
    assert code == 3 and out == ""
    for path in paths.values():
        assert not any(word in path.read_text("utf-8") for word in IDENTIFYING)
    called(*wanted, "--identified")
    for path in paths.values():
        assert "1.2.840.99.7.1" in path.read_text("utf-8")


def test_two_formats_are_not_printed_together() -> None:
    with pytest.raises(InputError):
        called("--csv", "--json")


def test_who_is_who_goes_into_no_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called("--mapping", tmp_path / "who")
    assert (tmp_path / "who" / "mapper.json").read_text() == "{}"
    with pytest.raises(InputError, match="release"):
        called("--mapping", tmp_path / "out" / "release" / "who")
    plain: dict[str, Any] = batch(actions={"save": True, "anonymize": False, "convert": False})
    monkeypatch.setattr(LedgerClient, "report", lambda self, batch_id: plain)
    with pytest.raises(InputError, match="no release"):
        called("--mapping", tmp_path / "who")


def test_a_file_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="written"):
        called("--html", tmp_path / "file" / "report.html")
