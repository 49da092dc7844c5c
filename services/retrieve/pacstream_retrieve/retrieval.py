"""Retrieve a series, or what is missing of it, the way that the PACS's profile says."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from pacstream import logs
from pacstream.archive import Archive
from pacstream.associations import Associations
from pacstream.errors import PacsRejectedError, PacsUnreachableError, RetryLaterError
from pacstream.messages import PacsNode, SeriesMoved, SeriesRequested
from pacstream.receiving.commit import Publish
from pacstream.settings import Settings
from pacstream_retrieve.exchange import Limits
from pacstream_retrieve.getter import get
from pacstream_retrieve.intake import Intake
from pacstream_retrieve.mover import move
from pacstream_retrieve.outcome import DESTINATION_UNKNOWN, Outcome, not_sent, report
from pacstream_retrieve.web import fetch

log = logging.getLogger(__name__)

Clock = Callable[[], float]


@dataclass(frozen=True)
class Means:
    """What all retrievals of this process share; `token` marks its temporary files."""

    settings: Settings
    archive: Archive
    associations: Associations
    token: str
    clock: Clock = time.monotonic


def retrieve(request: SeriesRequested, means: Means, publish: Publish) -> SeriesMoved:
    """Have the PACS send what is asked for, and report what it says of it.

    The order file is written before, so that instances are let in; for another destination there
    is none. A batch that is cancelled is not asked for. What comes on connections of ours is
    announced by `publish`. That the PACS is away, busy or refuses us is a reason, not an error:
    raises RetryLaterError for our own disk and broker only.
    """
    started = means.clock()
    if means.archive.is_cancelled(request.batch_id):
        outcomes = [not_sent("cancelled")]
    else:
        if request.order.actions.retrieves:
            _write_order(request, means.archive)
        outcomes = _from_either(request, means, publish, started)
    moved = report(request, outcomes, means.clock() - started)
    fields = {"reason": moved.reason, "completed": moved.completed, "failed": moved.failed}
    series = logs.ref(moved.series_uid)
    logs.event(log, "moved", series=series, seconds=moved.seconds, round=moved.round, **fields)
    return moved


def way_of(request: SeriesRequested, node: PacsNode) -> str:
    """c-move, c-get or wado-rs; only a C-MOVE brings anything to another destination."""
    return node.profile.retrieve if request.order.actions.retrieves else "c-move"


def _write_order(request: SeriesRequested, archive: Archive) -> None:
    try:
        archive.write_order(request.order)
    except OSError as error:
        reason = errno.errorcode.get(error.errno or 0, "io_error")
        raise RetryLaterError(f"no order file: {reason}", code="disk") from None


def _from_either(
    request: SeriesRequested, means: Means, publish: Publish, started: float
) -> list[Outcome]:
    """From the PACS; from its second archive where C-MOVE does not work. Never a third one."""
    node, fallback = request.pacs, request.pacs.fallback
    deadline = started + means.settings.move_deadline_s
    moves = way_of(request, node) == "c-move"
    hopeless = moves and request.order.actions.retrieves and not node.profile.move_works
    if fallback is None or not hopeless:
        outcomes = _ask(request, node, means, publish, deadline)
        if fallback is None or outcomes[-1].status != DESTINATION_UNKNOWN:
            return outcomes
    series = logs.ref(request.order.series.series_uid)
    reason = "move_does_not_work" if hopeless else "move_destination_unknown"
    logs.event(log, "second archive", logging.WARNING, series=series, reason=reason)
    return _ask(request, fallback, means, publish, deadline)


def _ask(
    request: SeriesRequested, node: PacsNode, means: Means, publish: Publish, deadline: float
) -> list[Outcome]:
    settings = means.settings
    limits = Limits(
        settings.response_timeout_s,
        settings.idle_timeout_s,
        deadline,
        lambda: means.archive.is_cancelled(request.batch_id),
        node.profile.cancels,
        means.clock,
    )
    try:
        if way_of(request, node) == "c-move":
            outcomes = move(request, node, means.associations, limits)
            if outcomes[0].unheard:
                # The PACS may have closed a kept association just now.
                outcomes = move(request, node, means.associations, limits)
            return outcomes
        return _receive(request, node, means, publish, limits)
    except (PacsUnreachableError, PacsRejectedError) as error:
        series = logs.ref(request.order.series.series_uid)
        logs.event(log, "no association", logging.WARNING, series=series, error=str(error))
        return [not_sent(error.code)]


def _receive(
    request: SeriesRequested, node: PacsNode, means: Means, publish: Publish, limits: Limits
) -> list[Outcome]:
    """On a connection of ours."""
    settings = means.settings
    intake = Intake(
        means.archive,
        means.token,
        publish,
        instances=settings.commit_instances,
        delay_s=settings.commit_ms / 1000,
    )
    try:
        if node.profile.retrieve == "wado-rs":
            if not node.profile.web_url:
                return [not_sent("no_web_url")]
            with means.associations.turn(node):
                return fetch(request, node, intake, limits, settings.connection_timeout_s)
        outcomes = get(request, node, means.associations, intake, limits)
        if outcomes[0].unheard and not intake.statuses:
            outcomes = get(request, node, means.associations, intake, limits)
        return outcomes
    finally:
        intake.finish()
