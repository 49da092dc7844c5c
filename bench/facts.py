"""All messages of a made-up batch that is saved, de-identified and converted, in their order."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator

from pacstream.envelope import envelope
from pacstream.messages import (
    Actions,
    Batch,
    InstancesDeidentified,
    InstancesReceived,
    Message,
    PacsNode,
    QueryAnswered,
    QueryRequested,
    ReceivedInstance,
    Series,
    SeriesConverted,
    SeriesExported,
    SeriesFound,
    SeriesMoved,
)
from pacstream.topology import SUBSCRIPTIONS

GROUP = 16
"""Instances in a message: what a group commit of 50 ms gathers from Orthanc."""


BATCH = Batch(
    batch_id="bench-facts",
    rows=1,
    submitted_at="2026-01-01T00:00:00.000+00:00",
    pacs=PacsNode(address="127.0.0.1", port=104, called_aet="PACS", calling_aet="US"),
    destination="US",
    actions=Actions(save=True, anonymize=True, convert=True),
    project="bench",
    out="/out",
)


def found(series: int, instances: int) -> Iterator[Message]:
    """One row, and what it matches; UIDs are as long as UUIDs make them."""
    yield QueryRequested(batch=BATCH, row=2, keys={"PatientID": "x"})
    for _ in range(series):
        one = Series(study_uid=_uid(), series_uid=_uid(), patient_id="P1", modality="MR")
        uids = tuple(_uid() for _ in range(instances))
        yield SeriesFound(
            batch_id=BATCH.batch_id, row=2, series=one, expected=uids, evidence="uids"
        )
    yield QueryAnswered(batch_id=BATCH.batch_id, row=2, series=series)


def of_series(one: SeriesFound) -> Iterator[Message]:
    """What follows once it is asked for."""
    batch_id, series_uid = one.batch_id, one.series.series_uid
    for start in range(0, len(one.expected), GROUP):
        group = one.expected[start : start + GROUP]
        yield InstancesReceived(
            batch_id=batch_id,
            study_uid=one.series.study_uid,
            series_uid=series_uid,
            instances=tuple(
                ReceivedInstance(
                    sop_instance_uid=uid, path=f"incoming/{series_uid}/{uid}.dcm", size=131_000
                )
                for uid in group
            ),
        )
        yield InstancesDeidentified(batch_id=batch_id, series_uid=series_uid, instances=group)
    count = len(one.expected)
    yield SeriesMoved(
        batch_id=batch_id, series_uid=series_uid, round=0, status=0, completed=count, failed=0
    )
    yield SeriesExported(batch_id=batch_id, series_uid=series_uid, instances=count)
    products = ("x.nii.gz", "x.json")
    yield SeriesConverted(
        batch_id=batch_id, series_uid=series_uid, state="converted", products=products
    )


def on_the_bus(messages: Iterable[Message]) -> tuple[int, int]:
    """Messages and bytes of bodies and headers, each counted in every queue that gets it."""
    count, size = 0, 0
    for message in messages:
        queues = sum(type(message) in taken for taken in SUBSCRIPTIONS.values())
        head = envelope(message, "bench")
        count += queues
        size += queues * (len(message.model_dump_json()) + len(repr(head)))
    return count, size


def _uid() -> str:
    return f"2.25.{uuid.uuid4().int}"
