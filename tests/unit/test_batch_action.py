"""A batch action in a process of its own: what comes back, and what a killed one leaves."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pacstream.archive import Archive
from pacstream.batch_action import PART_S, Outcome, Task, do, run_in_child
from pacstream.errors import RejectedError, RetryLaterError
from pacstream.manifest import write_manifest
from pacstream.messages import ActionRequested, Actions, Batch, BatchAction, PacsNode

BATCH = Batch(
    batch_id="b-0001",
    rows=1,
    submitted_at="2026-01-01T00:00:00+00:00",
    pacs=PacsNode(address="127.0.0.1", port=104, called_aet="PACS", calling_aet="US"),
    destination="US",
    actions=Actions(info=True),
    out="/results",
)

CHILD = """
import os, signal, time
from pathlib import Path
from pacstream.batch_action import Outcome, serve
from pacstream.errors import RejectedError, RetryLaterError

def no_room(*_, **__):
    raise OSError(28, "no space")

def act(task):
    word = task.options["word"]
    if word == "reject":
        raise RejectedError("no", code="not_so")
    if word == "later":
        raise RetryLaterError("no", code="disk")
    if word == "fault":
        raise KeyError("DOE^JANE")
    if word == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "full":
        Path.write_text = no_room
    if word == "exit":
        os._exit(0)
    return Outcome({"in": 2, "out": 2}, going_on=word == "long")

serve("test", {"export": act})
"""


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    package = tmp_path / "code" / "child_of_test"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "actions.py").write_text(CHILD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "code"))
    monkeypatch.setenv("PACSTREAM_DATA", str(tmp_path / "data"))
    return Archive(tmp_path / "data")


def request(archive: Archive, word: str = "") -> ActionRequested:
    return ActionRequested(
        batch_id=BATCH.batch_id,
        step=0,
        part=1,
        action=BatchAction(name="export", options={"word": word}),
        manifest=write_manifest(archive, BATCH, []),
    )


@pytest.mark.parametrize(
    ("word", "state", "reason"),
    [
        ("well", "done", ""),
        ("long", "going_on", ""),
        ("reject", "failed", "not_so"),
        ("fault", "failed", "unexpected_error"),
    ],
)
def test_the_child_answers(archive: Archive, word: str, state: str, reason: str) -> None:
    answer = run_in_child("child_of_test", request(archive, word), archive)
    assert (answer.state, answer.reason, answer.part) == (state, reason, 1)
    assert [path.suffix for path in (archive.run / "actions").iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("word", "error", "code"),
    [
        ("later", RetryLaterError, "disk"),
        ("die", RetryLaterError, "interrupted"),
        ("exit", RejectedError, "action_crashed"),
        ("full", RetryLaterError, "disk"),
    ],
)
def test_what_the_child_can_not_do(
    archive: Archive, word: str, error: type[RejectedError | RetryLaterError], code: str
) -> None:
    with pytest.raises(error) as caught:
        run_in_child("child_of_test", request(archive, word), archive)
    assert caught.value.code == code


def test_a_fault_of_a_library_is_logged_without_its_text(
    archive: Archive, capfd: pytest.CaptureFixture[str]
) -> None:
    run_in_child("child_of_test", request(archive, "fault"), archive)
    assert "KeyError" in (log := capfd.readouterr().err)
    assert "DOE" not in log


def test_an_action_is_told_to_stop_when_its_part_is_over(archive: Archive) -> None:
    now = [0.0]
    seen: list[bool] = []

    def act(task: Task) -> Outcome:
        seen.append(task.may_go_on())
        now[0] += PART_S
        seen.append(task.may_go_on())
        return Outcome(going_on=True)

    answer = do(request(archive), archive, {"export": act}, clock=lambda: now[0])
    assert seen == [True, False]
    assert answer.state == "going_on"


def test_the_same_batch_is_not_worked_on_twice_at_once(archive: Archive) -> None:
    entered, leave = threading.Event(), threading.Event()

    def act(task: Task) -> Outcome:
        entered.set()
        leave.wait(10)
        return Outcome()

    first = threading.Thread(target=lambda: do(request(archive), archive, {"export": act}))
    first.start()
    entered.wait(10)
    with pytest.raises(RetryLaterError) as caught:
        do(request(archive), archive, {"export": act})
    leave.set()
    first.join()
    assert caught.value.code == "under_way"


def test_a_manifest_that_is_gone_is_a_reason(archive: Archive) -> None:
    wanted = request(archive)
    archive.resolve(wanted.manifest).unlink()
    answer = do(wanted, archive, {"export": lambda task: Outcome()})
    assert (answer.state, answer.reason) == ("failed", "bad_manifest")


def test_a_child_without_its_service_stops(archive: Archive, tmp_path: Path) -> None:
    """A service that was killed is not there to tell: its child must not work on for nothing."""
    code = (
        "from pacstream.batch_action import Outcome, do\n"
        "import sys, time, pathlib\n"
        "from pacstream.archive import Archive\n"
        "from pacstream.messages import ActionRequested\n"
        "def act(task):\n"
        "    pathlib.Path(sys.argv[3]).touch()\n"
        "    while task.may_go_on():\n"
        "        time.sleep(0.02)\n"
        "    pathlib.Path(sys.argv[4]).touch()\n"
        "    return Outcome(going_on=True)\n"
        "do(ActionRequested.parse(sys.argv[1]), Archive(pathlib.Path(sys.argv[2])),"
        " {'export': act})\n"
    )
    began, ended = tmp_path / "began", tmp_path / "ended"
    arguments = [request(archive).model_dump_json(), str(archive.root), str(began), str(ended)]
    parent = subprocess.Popen(
        [sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:])",
         sys.executable, "-c", code, *arguments]
    )  # fmt: skip
    wait_for(began)
    assert not ended.exists()
    parent.kill()
    parent.wait()
    wait_for(ended)


def wait_for(path: Path, patience_s: float = 20.0) -> None:
    deadline = time.monotonic() + patience_s
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
