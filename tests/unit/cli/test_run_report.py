"""`run` ends with a report that is there: its own stack stops right after."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pacstream.messages import Batch
from pacstream_cli.commands_batch import _wait_for_report
from tests.fakes.line import make_batch


def batch_in(folder: Path, **actions: bool) -> Batch:
    return make_batch(1, **actions).model_copy(update={"out": str(folder / "out")})


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def test_the_report_is_waited_for_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = batch_in(tmp_path, anonymize=True)
    report = tmp_path / "out" / "reports" / batch.batch_id
    people = tmp_path / "data" / "state" / "batches" / batch.batch_id / "date_offsets.csv"
    write(report / "report.csv")
    waiting = threading.Thread(target=_wait_for_report, args=(batch, tmp_path / "data"))
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive(), "who is who is not written yet"
    write(people)
    waiting.join(10)
    assert str(report / "report.html") in capsys.readouterr().out.replace("\n", "")


def test_a_report_that_does_not_come_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _wait_for_report(batch_in(tmp_path, save=True), tmp_path, patience_s=0.1)
    assert "not written yet" in capsys.readouterr().out
