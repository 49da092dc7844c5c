"""Which instances of a series the destination of a --move has, by C-FIND at IMAGE level."""

from __future__ import annotations

import logging

from pacstream import logs
from pacstream.errors import PacstreamError
from pacstream.messages import ListingRequested, PacsNode, SeriesListed
from pacstream_query.finder import Sources
from pacstream_query.identifiers import Answer, FindRequest

log = logging.getLogger(__name__)


def list_series(request: ListingRequested, sources: Sources) -> SeriesListed:
    """What the destination lists. That it is away, busy or refuses us is a reason, not an error:
    the ledger decides whether it is asked again."""
    uids, reason = list_instances(request.node, request.study_uid, request.series_uid, sources)
    fields = {"instances": len(uids), "reason": reason}
    series = logs.ref(request.series_uid)
    logs.event(log, "listed", series=series, round=request.round, number=request.number, **fields)
    return SeriesListed(
        batch_id=request.batch_id,
        series_uid=request.series_uid,
        round=request.round,
        number=request.number,
        instances=tuple(sorted(uids)),
        reason=reason,
    )


def list_instances(
    node: PacsNode, study_uid: str, series_uid: str, sources: Sources
) -> tuple[set[str], str]:
    """The SOP Instance UIDs that `node` lists, and why that is not a whole list; empty: it is."""
    uids: set[str] = set()

    def take(instance: Answer) -> None:
        # a PACS may ignore keys: PS3.4 section C.4.1.2.2.1 has both in every answer
        above = instance.text("StudyInstanceUID"), instance.text("SeriesInstanceUID")
        if above[0] in ("", study_uid) and above[1] in ("", series_uid):
            uids.add(instance.text("SOPInstanceUID"))

    keys = {"StudyInstanceUID": study_uid, "SeriesInstanceUID": series_uid, "SOPInstanceUID": ""}
    try:
        with sources.session(node) as source:
            outcome = source.find(FindRequest("IMAGE", keys), take)
    except PacstreamError as error:
        return set(), error.code
    if outcome.limited:
        return uids, "result_limit_reached"
    return uids, "answers_unusable" if outcome.unusable else ""
