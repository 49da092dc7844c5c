"""What an operator decides lets an instance pass the rule that withheld it, and no other rule."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import SecondaryCaptureImageStorage

from pacstream.archive import Archive
from pacstream.keys import create_key
from pacstream.messages import (
    DeidentifyRequested,
    InstancesDeidentified,
    InstancesWithheld,
    Message,
    Order,
    WithheldInstance,
)
from pacstream_anonymizer.decisions import Decision, Decisions, digest_of
from pacstream_anonymizer.refusal import JUDGEABLE, REASONS
from pacstream_anonymizer.release import release_requested
from tests.unit.anonymizer.instances import INSTANCE, SERIES, an_instance, order_for, saved

BURNED = "burned_in_annotation"


class Zone:
    """A trusted zone with one instance of an ordered series."""

    def __init__(self, folder: Path, data_set: Dataset) -> None:
        self.archive = Archive(folder / "data")
        self.out = folder / "out"
        create_key(self.archive.keys, "trial")
        self.source = saved(data_set, self.archive.instance_path(SERIES, INSTANCE))
        self.order = self.ordered("batch-1")
        self.decisions = Decisions(self.archive.decisions)

    def ordered(self, batch_id: str) -> Order:
        order = order_for(dcmread(self.source), self.out / batch_id, batch_id=batch_id)
        self.archive.write_order(order)
        return order

    def decide(self, *reasons: str, batch_id: str = "batch-1", content: str = "") -> None:
        self.decisions.append(
            [
                Decision(
                    at="2026-01-01T00:00:00+00:00",
                    by="operator",
                    why="looked at it",
                    decision="release",
                    reason=reason,
                    batch_id=batch_id,
                    series_uid=SERIES,
                    sop_instance_uid=INSTANCE,
                    content=content or digest_of(self.source),
                    version="0",
                )
                for reason in reasons
            ]
        )

    def run(self, order: Order | None = None) -> list[Message]:
        order = order or self.order
        request = DeidentifyRequested(batch_id=order.batch_id, order=order, instances=(INSTANCE,))
        return list(release_requested(self.archive, request))

    def quarantined(self) -> list[str]:
        return sorted(path.parent.name for path in self.archive.quarantine.glob("*/*"))


@pytest.fixture
def zone(tmp_path: Path) -> Zone:
    return Zone(tmp_path, an_instance(BurnedInAnnotation="YES"))


def withheld(reason: str) -> list[Message]:
    instance = WithheldInstance(sop_instance_uid=INSTANCE, reason=reason)
    return [InstancesWithheld(batch_id="batch-1", series_uid=SERIES, instances=(instance,))]


def released(*waived: str, batch_id: str = "batch-1") -> list[Message]:
    return [
        InstancesDeidentified(
            batch_id=batch_id, series_uid=SERIES, instances=(INSTANCE,), waived=waived
        )
    ]


def test_an_instance_passes_once_somebody_has_decided(zone: Zone) -> None:
    assert zone.run() == withheld(BURNED)
    assert zone.quarantined() == [BURNED]
    zone.decide(BURNED)
    assert zone.run() == released(BURNED)
    assert zone.run() == released(BURNED)
    (path,) = zone.out.rglob("*.dcm")
    assert dcmread(path).PatientName != dcmread(zone.source).PatientName


def test_another_rule_still_holds_and_asks_for_a_decision_of_its_own(tmp_path: Path) -> None:
    zone = Zone(tmp_path, an_instance(BurnedInAnnotation="YES", ConversionType="WSD"))
    zone.decide(BURNED)
    assert zone.run() == withheld("secondary_capture")
    zone.decide("secondary_capture")
    assert zone.run() == released(BURNED, "secondary_capture")


def test_a_decision_for_a_class_lets_its_content_be_checked_all_the_same(tmp_path: Path) -> None:
    capture = an_instance(SOPClassUID=SecondaryCaptureImageStorage, BurnedInAnnotation="YES")
    zone = Zone(tmp_path, capture)
    zone.decide("secondary_capture")
    assert zone.run() == withheld(BURNED)


def test_the_gate_still_runs(tmp_path: Path) -> None:
    leak = an_instance(BurnedInAnnotation="YES", ImageType=["ORIGINAL", "QUIXOTESSON"])
    zone = Zone(tmp_path, leak)
    zone.decide(BURNED, "echo")
    assert zone.run() == withheld("echo")
    assert not list(zone.out.rglob("*.dcm"))


@pytest.mark.parametrize("reason", sorted(REASONS - JUDGEABLE))
def test_what_nobody_can_judge_is_waived_by_no_decision(tmp_path: Path, reason: str) -> None:
    document = an_instance(EncapsulatedDocument=b"%PDF")
    zone = Zone(tmp_path, document)
    zone.decide(reason)
    assert zone.run() == withheld("encapsulated_document")


def test_a_decision_holds_for_its_batch_only(zone: Zone) -> None:
    zone.decide(BURNED)
    other = zone.ordered("batch-2")
    (fact,) = zone.run(other)
    assert isinstance(fact, InstancesWithheld)
    assert zone.run() == released(BURNED)
    zone.decide(BURNED, batch_id="batch-2")
    assert zone.run(other) == released(BURNED, batch_id="batch-2")


def test_a_decision_holds_for_the_bytes_that_were_looked_at_only(zone: Zone) -> None:
    zone.decide(BURNED)
    saved(an_instance(BurnedInAnnotation="YES", PixelData=bytes(32)), zone.source)
    assert zone.run() == withheld(BURNED)


def test_a_line_that_was_not_written_whole_decides_nothing_and_spoils_no_other(
    zone: Zone,
) -> None:
    zone.decide(BURNED)
    whole = zone.archive.decisions.read_bytes()
    zone.archive.decisions.write_bytes(whole[:-9])
    assert zone.run() == withheld(BURNED)
    zone.decide(BURNED)
    assert [one.reason for one in zone.decisions.all()] == [BURNED]
    assert zone.run() == released(BURNED)
