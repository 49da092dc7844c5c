"""Query messages for the tests of the finder."""

from __future__ import annotations

from pacstream.messages import (
    Actions,
    Batch,
    PacsNode,
    PacsProfile,
    QueryAnswered,
    QueryRequested,
    SeriesFound,
)
from pacstream_query.associations import Associations
from pacstream_query.finder import find_series
from pacstream_query.identifiers import Answer, FindRequest
from pacstream_query.source import Source

SAVE = Actions(save=True)
INFO = Actions(info=True)


def knowing(node: PacsNode, profile: PacsProfile) -> PacsNode:
    """The same PACS with a profile."""
    return node.model_copy(update={"profile": profile})


def row(
    node: PacsNode, keys: dict[str, str], actions: Actions = SAVE, *, pacsman_names: bool = False
) -> QueryRequested:
    batch = Batch(
        batch_id="20240101-000000-abc",
        rows=1,
        submitted_at="2024-01-01T00:00:00Z",
        pacs=node,
        destination="PACSTREAM",
        actions=actions,
        out="out",
        pacsman_names=pacsman_names,
    )
    return QueryRequested(batch=batch, row=2, keys=keys)


def ask(
    node: PacsNode, keys: dict[str, str], actions: Actions = SAVE, timeout_s: float = 10
) -> tuple[list[SeriesFound], QueryAnswered]:
    """All that the finder says of one row, on an association of its own."""
    associations = Associations(timeout_s)
    try:
        *found, answered = find_series(row(node, keys, actions), associations)
    finally:
        associations.close()
    assert isinstance(answered, QueryAnswered)
    series = [fact for fact in found if isinstance(fact, SeriesFound)]
    assert answered.series == len(uids(series)) == len(found)
    return series, answered


def uids(found: list[SeriesFound]) -> tuple[str, ...]:
    """The Series Instance UIDs, sorted."""
    return tuple(sorted({fact.series.series_uid for fact in found}))


def answers(source: Source, request: FindRequest) -> list[Answer]:
    """All that a source answers to one request."""
    taken: list[Answer] = []
    source.find(request, taken.append)
    return taken
