"""What a batch has delivered, sent on: the batch action behind `submit --export`."""

from __future__ import annotations

from pathlib import Path

from pacstream.archive import inside
from pacstream.batch_action import Outcome, Task
from pacstream.errors import InputError, RejectedError
from pacstream.settings import load_settings
from pacstream_exporter.delivered import delivered_folders
from pacstream_exporter.delivery.carriers import Terms, carrier_of
from pacstream_exporter.delivery.credentials import find_credentials
from pacstream_exporter.delivery.destination import parse_destination
from pacstream_exporter.delivery.job import Watcher, Wish, deliver
from pacstream_exporter.delivery.node import Verify
from pacstream_exporter.delivery.outcome import Result, State


def export_batch(task: Task) -> Outcome:
    """Deliver the release, or the originals if there is none, and their NIfTI to stores of files.

    Options: `to`, an address; `verify`. Credentials are the service's own. What an earlier part or
    run has delivered is not sent again. Raises RejectedError `destination_refused`,
    `instances_missing`, and RetryLaterError if the destination can't be reached.
    """
    places = _places(task)
    if not places:
        return Outcome({"files": 0, "delivered": 0})
    try:
        result = deliver(_wish(task, places), Watcher(may_go_on=task.may_go_on))
    except InputError as error:
        raise RejectedError(str(error), code="destination_refused") from None
    if result.states.get(State.WAITING):
        return Outcome(counts_of(result), going_on=True)
    return Outcome(counts_of(result), reason_of(result))


def reason_of(result: Result) -> str:
    return "" if result.is_whole else "not_all_delivered"


def counts_of(result: Result) -> dict[str, int]:
    counts = {"files": result.files, "delivered": result.states.get(State.DELIVERED, 0)}
    for state in (State.FAILED, State.UNVERIFIED, State.WAITING):
        if number := result.states.get(state, 0):
            counts[state.value] = number
    if left_out := sum(result.left_out.values()):
        counts["left_out"] = left_out
    return counts


def _places(task: Task) -> list[Path]:
    folders = [one.folder for one in delivered_folders(task)]
    products = [inside(task.out, name) for one in task.manifest.series for name in one.products]
    return [*folders, *dict.fromkeys(path for path in products if path.is_file())]


def _wish(task: Task, places: list[Path]) -> Wish:
    settings = load_settings()
    destination = parse_destination(task.options["to"])
    terms = Terms(
        verify=Verify(task.options.get("verify", Verify.AUTO.value)),
        timeout_s=settings.dimse_timeout_s,
        connection_timeout_s=settings.connection_timeout_s,
        credentials=find_credentials(destination.name, task.archive.root),
    )
    is_release = task.manifest.batch.actions.anonymize
    return Wish(
        places=tuple(places),
        root=task.out / "release" if is_release else task.out,
        name=destination.name,
        carrier=carrier_of(destination, terms),
        data=task.archive.root,
    )
