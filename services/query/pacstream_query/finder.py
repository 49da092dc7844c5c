"""From one CSV row to the series it means: STUDY, then SERIES, then IMAGE level C-FIND."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from pacstream import logs
from pacstream.errors import RejectedError
from pacstream.messages import Message, QueryAnswered, QueryRequested, SeriesFound
from pacstream_query.associations import Associations, FindRefusedError
from pacstream_query.columns import BY_KEYWORD, Level
from pacstream_query.matching import is_universal
from pacstream_query.search import Match, RowSearch

log = logging.getLogger(__name__)


def find_series(query: QueryRequested, associations: Associations) -> Iterator[Message]:
    """A SeriesFound for each series that the row matches, then one QueryAnswered.

    The answer's reason is empty if the PACS answered everything; else key_not_supported:<keyword>,
    find_refused_<status>, result_limit_reached or answers_unusable. Raises RejectedError for keys
    that are unknown or all empty; RetryLaterError and PacsRejectedError as `pacstream.dimse`.
    """
    keys = keys_by_level(query.keys)
    actions = query.batch.actions
    found: list[str] = []
    with associations.session(query.batch.pacs) as pacs:
        search = RowSearch(
            pacs,
            keys,
            lists_instances=actions.retrieves or actions.move,
            describes=actions.info,
        )
        try:
            for match in search.matches():
                found.append(match.series_uid)
                yield _series_found(query, match)
            reason = search.reason(found)
        except FindRefusedError as refusal:
            reason = refusal.code
    logs.event(
        log,
        "row answered",
        batch=query.batch.batch_id,
        row=query.row,
        series=len(found),
        refused_answers=search.unusable,
        reason=reason,
    )
    yield QueryAnswered(
        batch_id=query.batch.batch_id,
        row=query.row,
        series_uids=tuple(sorted(found)),
        reason=reason,
    )


def _series_found(query: QueryRequested, match: Match) -> SeriesFound:
    expected, count, evidence = match.expected()
    return SeriesFound(
        batch_id=query.batch.batch_id,
        row=query.row,
        series=match.described(),
        attributes=match.attributes(),
        expected=expected,
        expected_count=count,
        evidence=evidence,
    )


def keys_by_level(cells: dict[str, str]) -> dict[Level, dict[str, str]]:
    """The row's keys that restrict something, by the level they are matched at."""
    keys: dict[Level, dict[str, str]] = {"STUDY": {}, "SERIES": {}, "IMAGE": {}}
    for keyword, key in cells.items():
        if keyword not in BY_KEYWORD:
            raise RejectedError("a row has a key that is no query column", code="unknown_key")
        if not is_universal(key):
            keys[BY_KEYWORD[keyword].level][keyword] = key
    if not any(keys.values()):
        raise RejectedError("a row without any key would match the whole PACS", code="no_keys")
    return keys
