"""A batch action in a process of its own.

It may take long and use all of a core, and a service must go on answering its broker. The service
calls `run_in_child`; the child is `python -m <package>.actions REQUEST ANSWER` and calls `serve`
with the actions that its package has. One message may not take longer than the broker's patience:
after `PART_S` the action is told to stop (`Task.may_go_on`), and the ledger asks for its next part.
"""

from __future__ import annotations

import fcntl
import logging
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from pacstream import logs
from pacstream.archive import Archive
from pacstream.errors import PacstreamError, RejectedError, RetryLaterError
from pacstream.manifest import Manifest, read_manifest
from pacstream.messages import ActionFinished, ActionRequested
from pacstream.settings import load_settings

PART_S = 600.0
"""After so many seconds an action stops between two of its items."""

LONGEST_S = 1150.0
"""A child that is still there is killed: RabbitMQ takes a message back after 30 minutes."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """What an action is given. `options` are those of the action, from `submit`."""

    manifest: Manifest
    archive: Archive
    options: Mapping[str, str]
    may_go_on: Callable[[], bool]

    @property
    def out(self) -> Path:
        """The batch's output folder."""
        return Path(self.manifest.batch.out)


@dataclass(frozen=True)
class Outcome:
    """What an action has come to. `counts`: of all parts so far, what went in, out and aside.
    `reason`: why it failed, a code; empty: it has not."""

    counts: Mapping[str, int] = field(default_factory=dict)
    reason: str = ""
    going_on: bool = False


Action = Callable[[Task], Outcome]


def run_in_child(package: str, request: ActionRequested, archive: Archive) -> ActionFinished:
    """Have `request` done by `python -m <package>.actions`.

    Raises RejectedError or RetryLaterError with the action's own reason code; RejectedError
    `action_crashed` or `action_timeout` if the child gave no answer.
    """
    folder = archive.run / "actions"
    folder.mkdir(parents=True, exist_ok=True)
    order, answer = (folder / f"{uuid.uuid4().hex}.json" for _ in range(2))
    try:
        _write(order, request.model_dump_json())
        command = [sys.executable, "-m", f"{package}.actions", str(order), str(answer)]
        try:
            code = subprocess.run(command, timeout=LONGEST_S, check=False).returncode
        except subprocess.TimeoutExpired:
            raise RejectedError("a batch action took too long", code="action_timeout") from None
        return _answer(answer, code)
    finally:
        order.unlink(missing_ok=True)
        answer.unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError:
        raise RetryLaterError("the trusted zone can't be written", code="disk") from None


def _answer(path: Path, code: int) -> ActionFinished:
    if code < 0:
        # Killed from outside: with the service, or by a machine without memory.
        raise RetryLaterError("a batch action was killed", code="interrupted")
    if code == os.EX_IOERR:
        raise RetryLaterError("a batch action could not write its answer", code="disk")
    try:
        answer = ActionFinished.parse(path.read_text("utf-8"))
    except (OSError, ValidationError):
        raise RejectedError("a batch action gave no answer", code="action_crashed") from None
    if code == os.EX_TEMPFAIL:
        raise RetryLaterError("a batch action is to be tried again", code=answer.reason)
    return answer


def serve(service: str, actions: Mapping[str, Action]) -> None:
    """The child: read the request, do it, write the answer, exit."""
    settings = load_settings()
    logs.configure(service, settings.log_level)
    order, answer = (Path(name) for name in sys.argv[1:3])
    request = ActionRequested.parse(order.read_text("utf-8"))
    code = os.EX_OK
    try:
        finished = do(request, Archive(settings.data), actions)
    except RetryLaterError as error:
        finished, code = _failed(request, error.code), os.EX_TEMPFAIL
        logs.event(log, "batch action: later", action=request.action.name, reason=error.code)
    try:
        _write(answer, finished.model_dump_json())
    except RetryLaterError:
        sys.exit(os.EX_IOERR)
    sys.exit(code)


def do(
    request: ActionRequested,
    archive: Archive,
    actions: Mapping[str, Action],
    clock: Callable[[], float] = time.monotonic,
) -> ActionFinished:
    """Do it here. What can't be done is answered with a reason. Raises RetryLaterError."""
    started, parent = clock(), os.getppid()
    try:
        with _alone(archive, request.batch_id):
            manifest = read_manifest(archive, request.manifest)
            options = request.action.options
            task = Task(
                manifest,
                archive,
                options,
                # Nobody would hear what a child has done whose service is gone.
                lambda: clock() < started + PART_S and os.getppid() == parent,
            )
            outcome = actions[request.action.name](task)
    except RetryLaterError:
        raise
    except PacstreamError as error:
        logs.event(
            log, "batch action failed", logging.ERROR, action=request.action.name, reason=error.code
        )
        return _failed(request, error.code)
    except Exception as error:  # noqa: BLE001 - a fault of one action is a state of its batch
        logs.event(log, "batch action failed", logging.ERROR, error=logs.describe(error))
        return _failed(request, "unexpected_error")
    seconds = round(clock() - started, 1)
    logs.event(log, "batch action", action=request.action.name, seconds=seconds)
    return _finished(request, outcome)


def _finished(request: ActionRequested, outcome: Outcome) -> ActionFinished:
    return ActionFinished(
        batch_id=request.batch_id,
        step=request.step,
        part=request.part,
        state="going_on" if outcome.going_on else "failed" if outcome.reason else "done",
        reason=outcome.reason,
        counts=dict(outcome.counts),
    )


def _failed(request: ActionRequested, reason: str) -> ActionFinished:
    return _finished(request, Outcome(reason=reason))


@contextmanager
def _alone(archive: Archive, batch_id: str) -> Iterator[None]:
    """A request that was delivered twice is not done twice at once."""
    folder = archive.run / "actions"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{batch_id}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RetryLaterError("the batch action is being done", code="under_way") from None
        yield
