"""Messages on the wire: a golden copy of each, so that a change of meaning can't slip in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pacstream.envelope import envelope
from pacstream.messages import (
    MESSAGES,
    ActionFinished,
    ActionRequested,
    Actions,
    Batch,
    BatchAction,
    BatchFinished,
    Dates,
    DeidentifyRequested,
    InfoRequested,
    InfoWritten,
    InstancesDeidentified,
    InstancesReceived,
    InstancesWithheld,
    ListingRequested,
    Message,
    Order,
    PacsNode,
    QueryAnswered,
    QueryRequested,
    ReceivedInstance,
    Series,
    SeriesComplete,
    SeriesConverted,
    SeriesExported,
    SeriesFound,
    SeriesListed,
    SeriesMoved,
    SeriesReceived,
    SeriesRequested,
    WithheldInstance,
    WorkFailed,
)

GOLDEN = Path(__file__).parent / "golden" / "messages.json"

PACS = PacsNode(address="pacs.example", port=104, called_aet="PACS", calling_aet="US")
ACTIONS = Actions(save=True, anonymize=True)
AFTERWARDS = BatchAction(name="karnak", options={"album": "A"})
SERIES = Series(study_uid="1.2.3", series_uid="1.2.3.4", patient_id="P", number="7", modality="MR")
BATCH = Batch(
    batch_id="20260101-000000-abcdef",
    rows=2,
    submitted_at="2026-01-01T00:00:00.000+00:00",
    pacs=PACS,
    destination="US",
    actions=ACTIONS,
    project="demo",
    out="/out",
    profile="ab" * 32,
    key_id="2",
    dates=Dates.REMOVED,
    afterwards=(AFTERWARDS,),
)
ORDER = Order(
    batch_id=BATCH.batch_id,
    series=SERIES,
    actions=ACTIONS,
    project="demo",
    out="/out",
    subject="sub-P",
    session="ses-20260101",
    folder="00007-T1",
    release_folder="00007-MR",
    pseudonym="S-01",
    profile="ab" * 32,
    key_id="2",
    dates=Dates.REMOVED,
)
ID: dict[str, Any] = {"batch_id": BATCH.batch_id}
KEY: dict[str, Any] = {**ID, "series_uid": "1.2.3.4"}
UIDS = ("1.2.3.4.1", "1.2.3.4.2")

EXAMPLES: tuple[Message, ...] = (
    QueryRequested(batch=BATCH, row=2, keys={"PatientID": "P"}, pseudonym="S-01"),
    SeriesFound(**ID, row=2, series=SERIES, expected=UIDS, expected_count=2, evidence="uids"),
    QueryAnswered(**ID, row=2, series=1),
    SeriesRequested(**ID, pacs=PACS, destination="US", order=ORDER, instances=UIDS, round=1),
    SeriesMoved(**KEY, round=1, status=0xB000, completed=1, failed=1, reason="failed"),
    ListingRequested(**KEY, node=PACS, study_uid="1.2.3", round=1, number=2),
    SeriesListed(**KEY, round=1, number=2, instances=UIDS),
    InstancesReceived(
        **KEY,
        study_uid="1.2.3",
        instances=(ReceivedInstance(sop_instance_uid=UIDS[0], path="incoming/x.dcm", size=9),),
    ),
    DeidentifyRequested(**ID, order=ORDER, instances=UIDS),
    InstancesDeidentified(**KEY, instances=UIDS, waived=("ultrasound",)),
    InstancesWithheld(
        **KEY, instances=(WithheldInstance(sop_instance_uid=UIDS[0], reason="truncated"),)
    ),
    SeriesReceived(**ID, order=ORDER, instances=UIDS),
    InfoRequested(**ID, order=ORDER, attributes={"Modality": "MR"}),
    InfoWritten(**KEY),
    SeriesExported(**KEY, instances=2),
    SeriesConverted(
        **KEY,
        state="incomplete",
        reason="slices_missing",
        products=("a.nii.gz",),
        slices_expected=9,
        slices_converted=9,
        slices_missing=1,
        excluded={"structured_report": 1},
    ),
    ActionRequested(**ID, step=0, part=1, action=AFTERWARDS, manifest="state/batches/m.jsonl"),
    ActionFinished(**ID, step=0, part=1, state="failed", reason="x", counts={"in": 2}),
    WorkFailed(**KEY, queue="query.query.requested", failed_topic="query.requested", reason="x"),
    SeriesComplete(**KEY, state="complete"),
    BatchFinished(**ID, delivered=True, series={"complete": 1}, rows={"answered": 2}),
)


def test_every_message_has_an_example_here() -> None:
    assert {type(example) for example in EXAMPLES} == set(MESSAGES)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.topic)
def test_the_wire_format_is_the_golden_one(example: Message) -> None:
    golden = json.loads(GOLDEN.read_text())[example.topic]
    assert example.payload() == golden["body"]
    assert example.message_id == golden["message_id"]
    assert type(example).parse(json.dumps(golden["body"])) == example


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.topic)
def test_consumers_ignore_fields_they_do_not_know(example: Message) -> None:
    body = {**example.payload(), "a_new_field": 1}
    assert type(example).parse(json.dumps(body)) == example


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.topic)
def test_properties_hold_no_identifier(example: Message) -> None:
    properties = envelope(example, "query", "cause")
    assert properties.correlation_id == BATCH.batch_id
    text = json.dumps(properties.__dict__)
    assert "1.2.3" not in text
    assert "sub-P" not in text


def test_a_message_can_not_be_changed() -> None:
    with pytest.raises(ValidationError):
        EXAMPLES[1].row = 3  # type: ignore[attr-defined]


def test_another_content_has_another_id() -> None:
    one = InfoWritten(batch_id="b-1", series_uid="1")
    assert one.message_id == InfoWritten(batch_id="b-1", series_uid="1").message_id
    assert one.message_id != InfoWritten(batch_id="b-1", series_uid="2").message_id
    exported = SeriesExported(batch_id="b-1", series_uid="1", instances=0)
    assert one.message_id != exported.message_id
