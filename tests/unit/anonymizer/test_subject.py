"""Whose an instance is: told by an order and by the instance, or by the instance alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread

from pacstream.durable import FileGroup
from pacstream.pseudonyms import Subject
from pacstream_anonymizer.deidentifier import Release, Released, deidentify_instance
from pacstream_anonymizer.profile import Profile
from pacstream_anonymizer.triage import Wanted
from pacstream_converter.originals import read_original
from tests.unit.anonymizer.instances import (
    INSTANCE,
    KEY,
    SERIES,
    STUDY,
    an_instance,
    order_for,
    released,
    saved,
)

SUBJECTS: list[dict[str, Any]] = [
    {},
    {"PatientID": " MRN-88213 "},
    {"IssuerOfPatientID": "HOSPITAL-A"},
    {"PatientID": ""},
]


def without_order(source: Path, patient_id: str, folder: Path, pseudonym: str = "") -> bytes:
    """The release of an instance of which nobody but itself tells anything."""
    with FileGroup() as files:
        wanted = Wanted(STUDY, SERIES, patient_id)
        release = Release(wanted, KEY, lambda _: folder, files, pseudonym)
        result = release.add(source)
        assert isinstance(result, Released)
        assert files.commit() == {}
    return result.path.read_bytes()


@pytest.mark.parametrize("attributes", SUBJECTS)
@pytest.mark.parametrize("pseudonym", ["", "STUDY_007"])
def test_an_order_changes_no_byte(
    attributes: dict[str, Any], pseudonym: str, tmp_path: Path
) -> None:
    data_set = an_instance(**attributes)
    source = saved(data_set, tmp_path / "source.dcm")
    order = order_for(data_set, pseudonym=pseudonym)
    ordered = deidentify_instance(source, order, KEY, tmp_path / "out")
    assert isinstance(ordered, Released)
    alone = without_order(source, str(data_set.PatientID), tmp_path / "alone", pseudonym)
    assert alone == ordered.path.read_bytes()


def test_the_same_id_of_two_issuers_is_two_patients(tmp_path: Path) -> None:
    def told(name: str, **attributes: Any) -> Dataset:
        return released(an_instance(**attributes), tmp_path / name)

    none, a, b = (told(f"at{i}", IssuerOfPatientID=i) for i in ("", "A", "B"))
    assert len({one.PatientID for one in (none, a, b)}) == 3
    assert len({one.StudyDate for one in (none, a, b)}) == 3
    assert none.PatientID == told("absent").PatientID == KEY.pseudonym("MRN-88213")
    assert a.PatientID == told("padded", IssuerOfPatientID=" A ").PatientID
    assert not any("IssuerOfPatientID" in one for one in (none, a, b))


@pytest.mark.parametrize("character_set", ["", "ISO_IR 100", "ISO_IR 192", "\\ISO 2022 IR 87"])
@pytest.mark.parametrize("issuer", ["", "A ", "Zürich", "東京"])
def test_the_converter_reads_the_issuer_that_the_anonymizer_reads(
    character_set: str, issuer: str, tmp_path: Path
) -> None:
    """Both put their products below a folder that is named for the patient."""
    data_set = an_instance(SpecificCharacterSet=character_set.split("\\"))
    codec = {"": "utf-8", "ISO_IR 100": "latin-1", "ISO_IR 192": "utf-8"}.get(
        character_set, "iso2022_jp"
    )
    data_set.add_new(0x00100021, "UN", issuer.encode(codec, "replace"))
    source = saved(data_set, tmp_path / "source.dcm")
    seen: list[Subject] = []

    def folder(subject: Subject) -> Path:
        seen.append(subject)
        return tmp_path / "out"

    with FileGroup() as files:
        release = Release(Wanted(STUDY, SERIES, "MRN-88213"), KEY, folder, files)
        assert isinstance(release.add(source), Released)
    (subject,) = seen
    assert subject == Subject.of("MRN-88213", read_original(source).issuer, STUDY)
    raw = dcmread(source).get_item(0x00100021).value
    assert raw.rstrip() == issuer.encode(codec, "replace").rstrip()


def test_a_file_is_named_by_its_mapped_uid_also_where_uids_are_retained(tmp_path: Path) -> None:
    source = saved(an_instance(), tmp_path / "source.dcm")
    profile = Profile(frozenset({"retain_uids"}))
    order = order_for(an_instance())
    result = deidentify_instance(source, order, KEY, tmp_path / "out", profile=profile)
    assert isinstance(result, Released)
    assert result.path.name == f"{KEY.uid(INSTANCE)}.dcm"


def test_a_uid_that_would_lead_out_of_the_folder_names_no_path(tmp_path: Path) -> None:
    source = saved(an_instance(), tmp_path / "in" / "a")
    evil = b"../../../../ev"
    uid = INSTANCE.encode()
    source.write_bytes(source.read_bytes().replace(uid, evil + uid[len(evil) :]))
    order = order_for(an_instance())
    profile = Profile(frozenset({"retain_uids"}))
    deidentify_instance(source, order, KEY, tmp_path / "out", profile=profile)
    outside = [path for path in tmp_path.rglob("*.dcm") if "001-CT" not in path.parts]
    assert outside == []
