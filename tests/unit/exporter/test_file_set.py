"""A folder as a file-set with a DICOMDIR."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.fileset import DIRECTORY_RECORDERS, FileSet
from pydicom.uid import ImplicitVRLittleEndian, KeyObjectSelectionDocumentStorage

from pacstream.errors import InputError, RetryLaterError
from pacstream_exporter.media import file_set, names
from pacstream_exporter.media.file_set import Summary, create_file_set
from pacstream_exporter.media.names import Names
from pacstream_exporter.media.records import FOLDERS, LIKE, RECORD_TYPES, record_type
from tests.unit.anonymizer.instances import saved
from tests.unit.exporter.folders import a_report, code, contents, fill, instance_of, item

FILE_ID = re.compile(r"([A-Z0-9_]{1,8}/){3}[A-Z0-9_]{1,8}")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return fill(tmp_path / "in")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def made(source: Path, out: Path) -> Summary:
    return create_file_set([source], out)


def one_of(data_set: Dataset, tmp_path: Path, out: Path) -> tuple[Summary, list[Dataset]]:
    """What becomes of a single instance, and the records of it, from PATIENT down."""
    saved(data_set, tmp_path / "one" / "a")
    summary = made(tmp_path / "one", out)
    return summary, records(out)


def records(out: Path) -> list[Dataset]:
    return list(dcmread(out / "DICOMDIR").DirectoryRecordSequence)


def reasons(summary: Summary) -> list[tuple[str, str]]:
    return [(one.reason, one.detail) for one in summary.left_out]


def test_as_many_instances_come_out_as_went_in_byte_for_byte(source: Path, out: Path) -> None:
    before = contents(source)
    summary = made(source, out)
    assert (summary.instances, summary.written, summary.left_out) == (36, 36, [])
    after = contents(out)
    assert FileSet(out / "DICOMDIR").path == str(out)
    del after["DICOMDIR"]
    assert sorted(after.values()) == sorted(before.values())
    assert all(FILE_ID.fullmatch(name) for name in after)
    assert contents(source) == before


def test_the_dicomdir_names_each_instance_where_it_lies(source: Path, out: Path) -> None:
    made(source, out)
    listed = FileSet(out / "DICOMDIR")
    assert len(listed) == 36
    for instance in listed:
        assert dcmread(instance.path).SOPInstanceUID == instance.SOPInstanceUID
    kinds = [record.DirectoryRecordType for record in records(out)]
    assert [kinds.count(one) for one in ("PATIENT", "STUDY", "SERIES", "IMAGE")] == [3, 9, 18, 36]


def test_a_second_run_writes_the_same_bytes_and_copies_nothing(source: Path, out: Path) -> None:
    made(source, out)
    before = contents(out)
    assert made(source, out).before == 36
    assert contents(out) == before


def test_names_stay_when_instances_are_added(source: Path, out: Path) -> None:
    made(source, out)
    before = set(contents(out))
    saved(instance_of("A0", 1, 1, 1), source / "sub-A0" / "x")
    assert made(source, out).written == 37
    assert before < set(contents(out))


def test_twenty_thousand_names_are_conformant_and_differ() -> None:
    folder = Names()
    found = [folder.of(f"1.2.3.{number}") for number in range(20_000)]
    assert len(set(found)) == 20_000
    assert all(re.fullmatch("[A-Z0-9]{8}", name) for name in found)
    assert found[:9] == [Names().of(f"1.2.3.{number}") for number in range(9)]


def test_two_identities_with_one_digest_get_two_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "_digest", lambda identity, attempt: f"NAME{attempt}")
    folder = Names()
    assert [folder.of(one) for one in ("a", "b", "a")] == ["NAME0", "NAME1", "NAME0"]


def test_what_a_record_needs_is_filled_there_and_not_in_the_file(tmp_path: Path, out: Path) -> None:
    image = instance_of("P1", 1, 1, 1, AcquisitionDate="20240302", AcquisitionTime="0830")
    for keyword in (
        "PatientID", "StudyDate", "StudyTime", "StudyID", "Modality", "SeriesNumber",
        "InstanceNumber",
    ):  # fmt: skip
        delattr(image, keyword)
    summary, (patient, study, series, leaf) = one_of(image, tmp_path, out)
    assert summary.is_whole and set(summary.filled) == {
        "PatientID", "StudyDate", "StudyTime", "StudyID", "Modality", "SeriesNumber",
        "InstanceNumber",
    }  # fmt: skip
    folder_of_patient, folder_of_study, *_ = leaf.ReferencedFileID
    assert patient.PatientID == folder_of_patient
    assert (study.StudyDate, study.StudyTime) == ("20240302", "0830")
    assert study.StudyID == folder_of_study
    assert (series.Modality, series.SeriesNumber, leaf.InstanceNumber) == ("OT", 0, 1)
    copy = out.joinpath(*leaf.ReferencedFileID)
    assert copy.read_bytes() == (tmp_path / "one" / "a").read_bytes()


def test_zero_is_a_number(tmp_path: Path, out: Path) -> None:
    image = instance_of("P1", 1, 1, 1, SeriesNumber=0, InstanceNumber=0)
    summary, (_, _, series, leaf) = one_of(image, tmp_path, out)
    assert (series.SeriesNumber, leaf.InstanceNumber, dict(summary.filled)) == (0, 0, {})


def test_every_kind_of_record_can_be_made() -> None:
    kinds = {kind for _, kind in RECORD_TYPES} | {"IMAGE", *FOLDERS}
    assert {LIKE.get(kind, kind) for kind in kinds} <= set(DIRECTORY_RECORDERS)


@pytest.mark.parametrize("value", ["", "2024-02-29", "20240229-20240301"])
def test_a_date_that_is_none_counts_as_missing(value: str, tmp_path: Path, out: Path) -> None:
    image = instance_of("P1", 1, 1, 1)
    image.add_new("StudyDate", "LO", value)  # as some devices do
    summary, (_, study, *_) = one_of(image, tmp_path, out)
    assert summary.is_whole
    assert study.StudyDate == (value if len(value) == 8 else "19000101")


def test_instances_without_a_number_get_different_ones(tmp_path: Path, out: Path) -> None:
    for number in range(1, 5):
        image = instance_of("P1", 1, 1, number)
        if number != 2:
            del image.InstanceNumber
        saved(image, tmp_path / "one" / str(number))
    made(tmp_path / "one", out)
    leaves = [one for one in records(out) if one.DirectoryRecordType == "IMAGE"]
    assert sorted(leaf.InstanceNumber for leaf in leaves) == [2, 3, 4, 5]


def test_patients_without_an_id_and_issuers_of_one_id_are_not_merged(
    tmp_path: Path, out: Path
) -> None:
    for number, values in enumerate(
        [
            {"PatientID": ""},
            {"PatientID": ""},
            {"IssuerOfPatientID": "A"},
            {"IssuerOfPatientID": "B"},
        ]
    ):
        saved(instance_of("P1", number, 1, 1, **values), tmp_path / "one" / str(number))
    assert made(tmp_path / "one", out).written == 4
    patients = [one for one in records(out) if one.DirectoryRecordType == "PATIENT"]
    assert len(patients) == 4
    assert {one.get("IssuerOfPatientID") for one in patients} == {None, "A", "B"}


def test_a_series_of_two_dates_is_one_series(tmp_path: Path, out: Path) -> None:
    for number, date in enumerate(("20240301", "20240229", "20240301"), start=1):
        saved(instance_of("P1", 1, 1, number, StudyDate=date), tmp_path / "one" / str(number))
    made(tmp_path / "one", out)
    kinds = [one.DirectoryRecordType for one in records(out)]
    assert kinds == ["PATIENT", "STUDY", "SERIES", "IMAGE", "IMAGE", "IMAGE"]


def test_two_series_in_one_folder_are_two_series(tmp_path: Path, out: Path) -> None:
    for series, number in ((1, 1), (2, 1), (1, 2)):
        saved(instance_of("P1", 1, series, number), tmp_path / "one" / f"{number}{series}")
    made(tmp_path / "one", out)
    kinds = [one.DirectoryRecordType for one in records(out)]
    assert kinds == ["PATIENT", "STUDY", "SERIES", "IMAGE", "IMAGE", "SERIES", "IMAGE"]


def test_names_are_readable_in_their_character_set(tmp_path: Path, out: Path) -> None:
    image = instance_of("P1", 1, 1, 1)
    image.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    image.PatientName = "Yamada^Tarou=山田^太郎"
    _, (patient, *_) = one_of(image, tmp_path, out)
    assert patient.PatientName.ideographic == "山田^太郎"


def test_a_report_is_listed_with_its_title_and_without_its_content(
    tmp_path: Path, out: Path
) -> None:
    report = a_report(VerificationFlag="VERIFIED")
    observer = Dataset()
    observer.VerificationDateTime = "20240302101500"
    report.VerifyingObserverSequence = [observer]
    title = item("CODE", "Language", "HAS CONCEPT MOD", ConceptCodeSequence=code("fr", "French"))
    report.ContentSequence = [*report.ContentSequence, title]
    summary, (*_, leaf) = one_of(report, tmp_path, out)
    assert summary.is_whole
    assert leaf.DirectoryRecordType == "SR DOCUMENT"
    assert leaf.ConceptNameCodeSequence[0].CodeMeaning == "Diagnostic Imaging Report"
    assert [one.RelationshipType for one in leaf.ContentSequence] == ["HAS CONCEPT MOD"]
    assert leaf.VerificationDateTime == "20240302101500"


def test_a_report_without_title_is_left_out_and_told(tmp_path: Path, out: Path) -> None:
    report = a_report()
    del report.ConceptNameCodeSequence
    saved(report, tmp_path / "one" / "report")
    saved(instance_of("P1", 1, 1, 1), tmp_path / "one" / "image")
    summary = made(tmp_path / "one", out)
    assert not summary.is_whole
    assert (summary.instances, summary.written) == (2, 1)
    assert reasons(summary) == [("no_directory_record", "ConceptNameCodeSequence")]
    assert len(FileSet(out / "DICOMDIR")) == 1


@pytest.mark.parametrize(
    ("keyword", "kind"),
    [
        ("CTImageStorage", "IMAGE"),
        ("SegmentationStorage", "IMAGE"),
        ("RTDoseStorage", "RT DOSE"),
        ("RTIonPlanStorage", "RT PLAN"),
        ("RTIonBeamsTreatmentRecordStorage", "RT TREAT RECORD"),
        ("GrayscaleSoftcopyPresentationStateStorage", "PRESENTATION"),
        ("General32bitECGWaveformStorage", "WAVEFORM"),
        ("EnhancedXRayRadiationDoseSRStorage", "SR DOCUMENT"),
        ("EncapsulatedPDFStorage", "ENCAP DOC"),
        ("DeformableSpatialRegistrationStorage", "REGISTRATION"),
        ("RTPhysicianIntentStorage", "RADIOTHERAPY"),
    ],
)
def test_each_sop_class_has_its_record(keyword: str, kind: str) -> None:
    from pydicom.uid import UID_dictionary

    (uid,) = (uid for uid, entry in UID_dictionary.items() if entry[4] == keyword)
    assert record_type(uid) == kind
    assert record_type(KeyObjectSelectionDocumentStorage) == "KEY OBJECT DOC"


def test_what_is_no_whole_instance_is_told(source: Path, out: Path) -> None:
    whole = saved(instance_of("P1", 1, 1, 7), source / "whole").read_bytes()
    (source / "cut").write_bytes(whole.replace(b"78.129.1.1.7", b"78.129.1.1.8")[:-9])
    (source / "whole").rename(source / "a whole")
    (source / "same").write_bytes(whole)
    (source / "other").write_bytes(whole.replace(b"seen by", b"been by"))
    (source / "notes.txt").write_text("notes")
    (source / "empty").touch()
    (source / "link").symlink_to(source / "sub-P1")
    (source / "bare").write_bytes(whole[132:])
    uids = saved(instance_of("P1", 1, 1, 9, StudyInstanceUID=""), source / "z")
    summary = made(source, out)
    assert sorted(reasons(summary)) == [
        ("duplicate_uid", ""),
        ("empty", ""),
        ("linked_folder", ""),
        ("missing_uid", "StudyInstanceUID"),
        ("no_preamble", ""),
        ("not_dicom", ""),
        ("truncated", ""),
    ]
    assert (summary.duplicates, summary.written, summary.is_whole) == (1, 37, False)
    assert uids.exists() and len(FileSet(out / "DICOMDIR")) == 37


def test_files_that_are_no_instances_do_not_count(source: Path, out: Path) -> None:
    (source / "notes.txt").write_text("notes")
    made(source, out)
    shutil.copy(out / "DICOMDIR", source / "DICOMDIR")
    summary = made(source, out)
    assert summary.is_whole
    assert sorted(reasons(summary)) == [("dicomdir", ""), ("not_dicom", "")]


def test_transfer_syntaxes_that_no_profile_has_are_told(tmp_path: Path, out: Path) -> None:
    saved(instance_of("P1", 1, 1, 1), tmp_path / "one" / "a", ImplicitVRLittleEndian)
    saved(instance_of("P1", 1, 1, 2), tmp_path / "one" / "b")
    summary = made(tmp_path / "one", out)
    assert summary.off_profile == {"Implicit VR Little Endian": 1}
    assert summary.is_whole


@pytest.mark.parametrize(
    ("source", "out"), [("in", "in"), ("in", "in/out"), ("in/sub-P1", "in"), ("none", "out")]
)
def test_folders_that_contain_one_another_are_refused(
    source: str, out: str, tmp_path: Path
) -> None:
    before = contents(fill(tmp_path / "in"))
    with pytest.raises(InputError):
        made(tmp_path / source, tmp_path / out)
    assert contents(tmp_path / "in") == before


def test_a_folder_with_something_else_in_it_is_refused(source: Path, out: Path) -> None:
    out.mkdir()
    (out / "thesis.doc").write_text("precious")
    with pytest.raises(InputError, match="1 files"):
        made(source, out)
    assert contents(out) == {"thesis.doc": b"precious"}


def test_a_folder_without_instances_is_refused(tmp_path: Path, out: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match="no DICOM"):
        made(tmp_path / "in", out)
    assert not out.exists()


def test_no_room_is_told_before_anything_is_written(
    source: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(source)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100))
    with pytest.raises(InputError, match="room"):
        made(source, out)
    assert contents(out) == {}


def test_a_disk_that_fails_leaves_no_dicomdir_and_the_next_run_goes_on(
    source: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_set, "GROUP", 10)
    syncs = iter(range(10_000))
    flush = os.fdatasync

    def fails_at_25(handle: int) -> None:
        if next(syncs) == 25:
            raise OSError(28, "No space left")
        flush(handle)

    monkeypatch.setattr(os, "fdatasync", fails_at_25)
    with pytest.raises(RetryLaterError, match="ENOSPC"):
        made(source, out)
    assert not (out / "DICOMDIR").exists()
    assert not list(out.rglob("*.part"))
    summary = made(source, out)
    assert (summary.before, summary.written) == (29, 36)


def test_a_run_that_has_to_pause_goes_on_where_it_was(
    source: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_set, "GROUP", 10)
    turns = iter([True, True, False])
    paused = create_file_set([source], out, may_go_on=lambda: next(turns))
    assert paused.going_on and not (out / "DICOMDIR").exists()
    summary = made(source, out)
    assert (summary.going_on, summary.before, summary.written) == (False, 20, 36)
