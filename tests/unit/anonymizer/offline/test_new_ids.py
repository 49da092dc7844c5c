"""Pseudonyms that the user gives."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from pydicom import dcmread

from pacstream.pseudonyms import NO_PATIENT_ID
from pacstream_anonymizer.offline.new_ids import Entry, Patient, assign, entry_problems
from pacstream_anonymizer.offline.people import PatientsRefusedError
from tests.unit.anonymizer.instances import KEY, saved
from tests.unit.anonymizer.offline.folders import contents, done, fill, instance_of

GIVEN = [Entry("sub-MRN_88213", "000001"), Entry("sub-HU_101_A", "000002")]


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("HU/101 A", Patient("HU/101 A")),
        ("sub-HU/101 A", Patient("HU/101 A")),
        ("sub-HU_101_A", Patient("HU/101 A")),
        ("HU_101_A", Patient("HU/101 A")),
        ("sub-HU101A", Patient("HU/101 A")),  # PACSMAN drops spaces and slashes first
        ("sub-A_B", Patient("A'B")),
        ("sub-xyz", Patient("HU/101 A", folders=frozenset({"sub-xyz"}))),
        ("sub-xyz", Patient("1.2.3", NO_PATIENT_ID, frozenset({"sub-xyz"}))),
        ("0012", Patient("0012", "HOSPITAL-A")),
    ],
)
def test_an_entry_is_found_by_the_id_and_by_its_folders_name(name: str, patient: Patient) -> None:
    assert assign([Entry(name, "S1")], [patient]) == ({patient: "S1"}, [])


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("12", Patient("0012")),
        ("sub-HU_101_B", Patient("HU/101 A")),
        ("1.2.3", Patient("1.2.3", NO_PATIENT_ID)),
        ("sub-xyz", Patient("1", folders=frozenset({"sub-xyz", "sub-1"}))),
    ],
)
def test_a_patient_without_an_entry_has_none(name: str, patient: Patient) -> None:
    assert assign([Entry(name, "S1")], [patient]) == ({}, [(patient, "has no entry")])


def test_the_id_goes_before_the_folders_name() -> None:
    entries = [Entry("sub-A_1", "folder"), Entry("A-1", "id")]
    one, two = Patient("A-1"), Patient("A_1")
    assert assign(entries, [one, two]) == ({one: "id", two: "folder"}, [])


def test_an_issuer_tells_two_patients_of_one_id_apart() -> None:
    entries = [Entry("1", "S1", "A"), Entry("1", "S2", "B")]
    a, b, none = Patient("1", "A"), Patient("1", "B"), Patient("1")
    given, refused = assign(entries, [a, b, none])
    assert given == {a: "S1", b: "S2"}
    assert refused == [(none, "has no entry")]


def test_two_patients_never_get_one_pseudonym() -> None:
    one, two = Patient("A-1"), Patient("A_1")
    given, refused = assign([Entry("sub-A_1", "S1")], [one, two])
    assert given == {one: "S1"}
    assert refused == [(two, "would get the pseudonym of another patient")]


def test_nobody_is_called_by_his_own_id() -> None:
    patient = Patient("HU/101 A")
    _, refused = assign([Entry("HU/101 A", "hu_101_a")], [patient])
    assert refused == [(patient, "would be called by its own ID")]


def test_all_problems_of_the_entries_are_told_without_their_texts() -> None:
    entries = [
        Entry("a", "S1", place="line 1"),
        Entry("b", "s1", place="line 2"),
        Entry("c", "../x", place="line 3"),
        Entry("a", "S3", place="line 4"),
        Entry("d", "PABCDEFGHIJ", place="line 5"),
        Entry("e", "S5", place="line 6"),
    ]
    assert [problem.partition(":")[0] for problem in entry_problems(entries)] == [
        "line 2",
        "line 3",
        "line 4",
        "line 5",
    ]
    assert entry_problems(GIVEN) == []


def test_given_pseudonyms_name_folders_and_patients_and_change_no_uid_or_date(
    tmp_path: Path,
) -> None:
    source = fill(tmp_path / "in")
    done(source, tmp_path / "keyed", data=tmp_path / "data1")
    summary = done(source, tmp_path / "given", new_ids=GIVEN)
    keyed, given = contents(tmp_path / "keyed"), contents(tmp_path / "given")
    renamed = {
        path.replace(f"sub-{KEY.pseudonym('MRN-88213')}", "sub-000001").replace(
            f"sub-{KEY.pseudonym('HU/101 A')}", "sub-000002"
        )
        for path in keyed
    }
    assert set(given) == renamed
    one = dcmread(next((tmp_path / "given" / "sub-000001").rglob("*.dcm")))
    assert (one.PatientID, one.PatientName) == ("000001", "000001")
    with (summary.records / "mapping.csv").open() as file:
        rows = list(csv.reader(file))
    assert [row[2] for row in rows[1:]] == ["000002", "000001"]


def test_who_has_no_entry_is_told_before_anything_starts(tmp_path: Path) -> None:
    source = fill(tmp_path / "in")
    saved(instance_of("4711", 0, 0), source / "sub-4711" / "ses-x" / "y" / "z")
    with pytest.raises(PatientsRefusedError) as caught:
        done(source, tmp_path / "out", new_ids=GIVEN[:1])
    assert caught.value.problems == ["2 patients: has no entry"]
    assert {patient.patient_id for patient, _ in caught.value.refused} == {"HU/101 A", "4711"}
    assert not (tmp_path / "out").exists()
    assert done(fill(tmp_path / "in2"), tmp_path / "out", new_ids=GIVEN).released == 8


def test_a_pseudonym_holds_for_a_project_over_its_folders(tmp_path: Path) -> None:
    source = fill(tmp_path / "in")
    done(source, tmp_path / "out", new_ids=GIVEN)
    again = fill(tmp_path / "in2")
    done(again, tmp_path / "out2")
    assert {path.split("/")[0] for path in contents(tmp_path / "out2")} == {
        "sub-000001",
        "sub-000002",
    }
    swapped = [Entry("sub-MRN_88213", "000002"), Entry("sub-HU_101_A", "000003")]
    with pytest.raises(PatientsRefusedError) as caught:
        done(again, tmp_path / "out3", new_ids=swapped)
    assert caught.value.problems == ["2 patients: has had another pseudonym in this project"]
    shutil.rmtree(again)
    saved(instance_of("4711", 0, 0), again / "x")
    with pytest.raises(PatientsRefusedError) as caught:
        done(again, tmp_path / "out3", new_ids=[Entry("4711", "000001")])
    assert caught.value.problems == [
        "1 patient: would get a pseudonym that another has had in this project"
    ]
