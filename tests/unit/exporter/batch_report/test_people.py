from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from pacstream.archive import Archive
from pacstream.errors import RejectedError
from pacstream.keys import create_key, load_key
from pacstream.manifest import SeriesResult, write_manifest
from pacstream.messages import Actions, Dates, Order, Series
from pacstream_exporter.batch_report.people import people_of, write_people
from tests.fakes.datasets import make_series
from tests.fakes.line import make_batch
from tests.unit.store_scp.scp import saved

BATCH = "20240101-000000-abc123"


def ordered(archive: Archive, number: int, patient_id: str, **changes: object) -> str:
    series_uid = f"1.2.3.{number}"
    order = Order(
        batch_id=BATCH,
        series=Series(study_uid="1.2.3", series_uid=series_uid, patient_id=patient_id),
        actions=Actions(anonymize=True),
        project="study7",
        out="/out",
        subject="sub-1",
        session="ses-1",
        folder="1-x",
        release_folder="1-MR",
        key_id="1",
    )
    archive.write_order(order.model_copy(update=changes))
    return series_uid


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    made = Archive(tmp_path / "data")
    create_key(made.keys, "study7")
    return made


def test_each_patient_once_with_pseudonym_and_shift(archive: Archive) -> None:
    key = load_key(archive.keys, "study7", "1")
    uids = [ordered(archive, 1, "A"), ordered(archive, 2, "A"), ordered(archive, 3, "B")]
    assert people_of(BATCH, uids, archive) == [
        ("A", "", key.pseudonym("A"), key.shift_days("A")),
        ("B", "", key.pseudonym("B"), key.shift_days("B")),
    ]


def test_the_issuer_is_the_instances_own(archive: Archive) -> None:
    [instance] = make_series(instances=1)
    instance.IssuerOfPatientID = "HOSPITAL"
    uid = ordered(archive, 1, "A")
    saved(archive.series_folder(uid), [instance])
    key = load_key(archive.keys, "study7", "1")
    person = ("A", "HOSPITAL", key.pseudonym("A", "HOSPITAL"), key.shift_days("A", "HOSPITAL"))
    assert people_of(BATCH, [uid], archive) == [person]


def test_two_issuers_of_one_id_are_two_people(archive: Archive) -> None:
    uid = ordered(archive, 1, "A")
    instances = make_series(instances=2)
    for number, instance in enumerate(instances):
        instance.IssuerOfPatientID = f"HOSPITAL {number}"
    saved(archive.series_folder(uid), instances)
    found = people_of(BATCH, [uid], archive)
    assert [issuer for _, issuer, *_ in found] == ["HOSPITAL 0", "HOSPITAL 1"]
    assert len({pseudonym for *_, pseudonym, _ in found}) == 2


def test_an_original_that_is_no_data_set_names_nobody(archive: Archive) -> None:
    uid = ordered(archive, 1, "A")
    archive.instance_path(uid, "1.2.3.1.1").write_bytes(b"no DICOM at all" * 20)
    assert [patient for patient, *_ in people_of(BATCH, [uid], archive)] == ["A"]


def test_what_was_here_before_the_batch_is_told_from_the_manifest(archive: Archive) -> None:
    """Nothing was retrieved for it, so no order file names the batch."""
    uid = ordered(archive, 1, "A", batch_id="20240101-000000-def456")
    order_file = archive.read_order(uid)
    assert order_file is not None
    (order,) = order_file.orders.values()
    mine = SeriesResult(order=order.model_copy(update={"batch_id": BATCH}), state="complete")
    batch = make_batch(1, anonymize=True).model_copy(update={"batch_id": BATCH})
    write_manifest(archive, batch, [mine])
    assert [patient for patient, *_ in people_of(BATCH, [uid], archive)] == ["A"]


def test_given_pseudonyms_and_dates_that_stay(archive: Archive) -> None:
    uid = ordered(archive, 1, "A", pseudonym="S-01", dates=Dates.KEPT)
    assert people_of(BATCH, [uid], archive) == [("A", "", "S-01", 0)]


def test_series_of_other_batches_and_without_release_are_left_out(archive: Archive) -> None:
    other = ordered(archive, 1, "A", batch_id="20240101-000000-def456")
    plain = ordered(archive, 2, "B", actions=Actions(save=True))
    assert people_of(BATCH, [other, plain, "1.2.3.9"], archive) == []


def test_a_lost_key_is_an_error(archive: Archive) -> None:
    uid = ordered(archive, 1, "A", key_id="7")
    with pytest.raises(RejectedError):
        people_of(BATCH, [uid], archive)


def test_the_files_have_pacsmans_formats(tmp_path: Path) -> None:
    write_people([("A", "", "P1", -7), ("Ä", "H", "P2", -14)], tmp_path / "m")
    assert json.loads((tmp_path / "m" / "mapper.json").read_text("utf-8")) == {"P1": "A", "P2": "Ä"}
    assert (tmp_path / "m" / "date_offsets.csv").read_text() == "-7,-14\n"
    with (tmp_path / "m" / "mapping.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert lines[1] == {
        "PatientID": "Ä", "IssuerOfPatientID": "H", "Pseudonym": "P2", "DateShiftDays": "-14"
    }  # fmt: skip
