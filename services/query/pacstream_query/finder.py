"""From one CSV row to the series it means: STUDY, then SERIES, then IMAGE level."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from pacstream import logs
from pacstream.archive import Archive
from pacstream.errors import RejectedError
from pacstream.messages import Message, PacsNode, QueryAnswered, QueryRequested, SeriesFound
from pacstream_query.columns import Level, column_of
from pacstream_query.matching import is_only_wildcards, is_universal, pacsman_name
from pacstream_query.search import Match, Question, RowSearch
from pacstream_query.source import FindRefusedError, QueryCancelledError, Source, never
from pacstream_query.spool import Spool

log = logging.getLogger(__name__)


class Sources(Protocol):
    """Lends a source for a PACS; `pacstream_query.associations.Associations` is one."""

    def session(
        self, node: PacsNode, cancelled: Callable[[], bool] = never
    ) -> AbstractContextManager[Source]: ...


def find_series(
    query: QueryRequested, sources: Sources, archive: Archive | None = None
) -> Iterator[Message]:
    """A SeriesFound for each series that the row matches, then one QueryAnswered.

    The answer's reason is empty if the PACS answered everything; else key_not_supported:<keyword>,
    find_refused_<status>, result_limit_reached, answers_unusable or cancelled. `archive` tells
    which batches are cancelled, and gives many answers a place to wait. Raises RejectedError for
    keys that are unknown or all empty; RetryLaterError and PacsRejectedError as `pacstream.dimse`.
    """
    actions = query.batch.actions
    folder = None if archive is None else archive.run / "answers"
    question = Question(
        keys_by_level(query.keys, pacsman_names=query.batch.pacsman_names),
        query.batch.pacs.profile,
        lists_instances=actions.retrieves or actions.move,
        describes=actions.info,
        folder=folder,
    )
    with Spool(folder) as found:
        search: RowSearch | None = None
        try:
            with sources.session(query.batch.pacs, cancelled_in(archive, query)) as pacs:
                search = RowSearch(pacs, question)
                for match in search.matches():
                    if found.add(match.series_uid):
                        yield _series_found(query, match)
                reason = search.reason(len(found))
        except (FindRefusedError, QueryCancelledError) as end:
            reason = end.code
        _log(query, len(found), search.unusable if search else 0, reason)
        yield QueryAnswered(
            batch_id=query.batch.batch_id,
            row=query.row,
            reason=reason,
            series=len(found),
        )


def cancelled_in(archive: Archive | None, query: QueryRequested) -> Callable[[], bool]:
    """A question that is asked between the answers of the PACS."""
    if archive is None:
        return never
    return lambda: archive.is_cancelled(query.batch.batch_id)


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
        pseudonym=query.pseudonym,
    )


def _log(query: QueryRequested, found: int, unusable: int, reason: str) -> None:
    logs.event(
        log,
        "row answered",
        batch=query.batch.batch_id,
        row=query.row,
        series=found,
        refused_answers=unusable,
        reason=reason,
    )


def keys_by_level(
    cells: dict[str, str], *, pacsman_names: bool = False
) -> dict[Level, dict[str, str]]:
    """The row's keys that restrict something, by the level they are matched at."""
    keys: dict[Level, dict[str, str]] = {"STUDY": {}, "SERIES": {}, "IMAGE": {}}
    for keyword, cell in cells.items():
        try:
            column = column_of(keyword)
        except KeyError:
            raise RejectedError(
                "a row has a key that is no query column", code="unknown_key"
            ) from None
        key = pacsman_name(cell) if pacsman_names and column.vr == "PN" else cell
        if not is_universal(key):
            keys[column.level][column.keyword] = key
    restricting = (key for level in keys.values() for key in level.values())
    if all(is_only_wildcards(key) for key in restricting):
        raise RejectedError("a row without any key would match the whole PACS", code="no_keys")
    return keys
