"""What becomes of the attributes."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from pacstream import IMPLEMENTATION_UID
from pacstream_anonymizer.deidentifier import Released, deidentify_instance
from tests.unit.anonymizer.instances import (
    INSTANCE,
    KEY,
    an_instance,
    order_for,
    released,
    released_path,
    saved,
)

SYNTAXES = ["1.2.840.10008.1.2.1", ImplicitVRLittleEndian, ExplicitVRBigEndian]


def an_item(**attributes: object) -> Dataset:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def nested(item: Dataset, depth: int) -> Dataset:
    """`item` inside `depth` sequences that no rule names."""
    for _ in range(depth):
        item = an_item(SharedFunctionalGroupsSequence=[item])
    return item


def innermost(data_set: Dataset, depth: int) -> Dataset:
    for _ in range(depth):
        data_set = data_set.SharedFunctionalGroupsSequence[0]
    return data_set


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_nothing_of_the_patient_is_left_in_the_bytes(tmp_path: Path, syntax: str) -> None:
    content = released_path(an_instance(), tmp_path, syntax).read_bytes()
    for planted in (b"Quixote", b"QUIXOTE", b"MRN-88213", b"19410307", b"ACC-55120", b"Doctorow"):
        assert planted not in content


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_items_five_sequences_deep_are_cleaned(tmp_path: Path, syntax: str) -> None:
    item = an_item(
        PatientName="Quixotesson",
        OperatorsName="Doctorow",
        StationName="CT-BASEMENT",
        ReferencedSOPInstanceUID=INSTANCE,
        StudyDate="20240307",
        SliceThickness="2.5",
    )
    item.add_new(0x00110010, "LO", "VENDOR")
    item.add_new(0x00111001, "LO", "Quixotesson")
    given = an_instance()
    given.SharedFunctionalGroupsSequence = nested(item, 5).SharedFunctionalGroupsSequence
    data_set = released(given, tmp_path, syntax)
    inside = innermost(data_set, 5)
    assert {element.keyword for element in inside} == {
        "PatientName",
        "ReferencedSOPInstanceUID",
        "StudyDate",
        "SliceThickness",
    }
    assert inside.PatientName == data_set.PatientName
    assert inside.ReferencedSOPInstanceUID == data_set.SOPInstanceUID


def test_sequences_of_undefined_length_are_cleaned(tmp_path: Path) -> None:
    given = an_instance(SharedFunctionalGroupsSequence=[an_item(ReferringPhysicianName="Doctorow")])
    given["SharedFunctionalGroupsSequence"].is_undefined_length = True
    given.SharedFunctionalGroupsSequence[0].is_undefined_length_sequence_item = True
    assert released(given, tmp_path).SharedFunctionalGroupsSequence[0].ReferringPhysicianName == ""


def test_private_unknown_and_mistyped_attributes_are_removed(tmp_path: Path) -> None:
    given = an_instance()
    given.add_new(0x00290010, "LO", "VENDOR")
    given.add_new(0x00291001, "UN", b"anything")
    given.add_new(0x00100011, "UT", "a tag that only newer dictionaries have")
    given.add_new(0x00200013, "LO", "no number")
    given.add_new(0x60003000, "OW", b"\1\2")
    given.add_new(0x60000010, "US", 4)
    data_set = released(given, tmp_path)
    for tag in (0x00290010, 0x00291001, 0x00100011, 0x60003000, 0x60000010):
        assert tag not in data_set
    assert not data_set.InstanceNumber


def test_person_names_go_by_their_vr_listed_or_not(tmp_path: Path) -> None:
    given = an_instance(HumanPerformerName="Doctorow^Hilda", OtherPatientNames="Quixotesson")
    data_set = released(given, tmp_path)
    names = {element.keyword: str(element.value) for element in data_set if element.VR == "PN"}
    assert names == {"PatientName": str(data_set.PatientID), "ReferringPhysicianName": ""}


def test_name_and_id_are_the_pseudonym_and_the_birth_date_is_empty(tmp_path: Path) -> None:
    data_set = released(an_instance(), tmp_path)
    assert data_set.PatientID == KEY.pseudonym("MRN-88213")
    assert data_set.PatientName == data_set.PatientID
    assert data_set.PatientBirthDate == ""


def test_a_uid_is_mapped_by_its_value_wherever_it_stands(tmp_path: Path) -> None:
    reference = an_item(
        ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2", ReferencedSOPInstanceUID="1.2.77.4"
    )
    first = released(an_instance(SourceImageSequence=[reference]), tmp_path / "a")
    second = released(an_instance(SOPInstanceUID="1.2.77.4"), tmp_path / "b")
    referenced = first.SourceImageSequence[0]
    assert referenced.ReferencedSOPInstanceUID == second.SOPInstanceUID
    assert referenced.ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.2"
    assert first.StudyInstanceUID == second.StudyInstanceUID != an_instance().StudyInstanceUID


def test_uids_of_classes_schemes_and_the_standard_stay(tmp_path: Path) -> None:
    given = an_instance(
        FrameOfReferenceUID="1.2.840.10008.1.4.1.1",
        CodingSchemeIdentificationSequence=[an_item(CodingSchemeUID="2.16.840.1.113883.6.96")],
    )
    data_set = released(given, tmp_path)
    assert data_set.FrameOfReferenceUID == "1.2.840.10008.1.4.1.1"
    scheme = data_set.CodingSchemeIdentificationSequence[0]
    assert scheme.CodingSchemeUID == "2.16.840.1.113883.6.96"


def test_an_instance_uid_that_no_table_lists_is_mapped(tmp_path: Path) -> None:
    data_set = released(an_instance(VolumeFrameOfReferenceUID="1.2.3.4.5"), tmp_path)
    assert data_set.VolumeFrameOfReferenceUID == KEY.uid("1.2.3.4.5")


def day(text: str) -> datetime.date:
    return datetime.date.fromisoformat(text[:8])


def test_intervals_of_a_patient_stay_and_patients_move_differently(tmp_path: Path) -> None:
    first = released(an_instance(), tmp_path / "a")
    later = released(an_instance(StudyDate="20240310"), tmp_path / "b")
    other = released(an_instance(PatientID="MRN-2"), tmp_path / "c")
    assert day(later.StudyDate) - day(first.StudyDate) == datetime.timedelta(days=10)
    assert first.StudyDate != other.StudyDate
    assert first.StudyTime == "101530"


def test_a_date_time_keeps_time_fraction_and_zone(tmp_path: Path) -> None:
    given = an_instance(AcquisitionDateTime="20240229101530.123456+0100")
    data_set = released(given, tmp_path)
    assert data_set.AcquisitionDateTime == data_set.StudyDate + "101530.123456+0100"


@pytest.mark.parametrize("odd", [b"***", b"20240231", b"Quixotesson ", b"2024", b"\xff\xfe"])
def test_an_odd_date_becomes_empty(tmp_path: Path, odd: bytes) -> None:
    given = an_instance(SeriesDate="20240101", AcquisitionDateTime="20240101")
    path_content = {"SeriesDate": odd, "AcquisitionDateTime": odd}
    for keyword, value in path_content.items():
        given[keyword]._value = value.decode("latin-1")
    data_set = released(given, tmp_path)
    assert (data_set.SeriesDate, data_set.AcquisitionDateTime) == ("", "")


@pytest.mark.parametrize(
    ("age", "kept"), [("089Y", "089Y"), ("095Y", "090Y"), ("003M", "003M"), ("XXXX", "")]
)
def test_an_age_is_capped(tmp_path: Path, age: str, kept: str) -> None:
    given = an_instance()
    given["PatientAge"]._value = age
    assert released(given, tmp_path).PatientAge == kept


def test_free_text_goes_and_technical_text_stays(tmp_path: Path) -> None:
    given = an_instance(
        StudyDescription="a", ProtocolName="b", ImageComments="c", DoseComment="d",
        InstitutionName="e", StationName="f", PatientComments="g", RetrieveURL="h",
        ManufacturerModelName="Biograph", SoftwareVersions=["syngo", "VB30"], SliceThickness="1.5",
        PatientWeight="70", ScanOptions="HELIX",
    )  # fmt: skip
    kept = {element.keyword for element in released(given, tmp_path)}
    assert not kept & {
        "SeriesDescription", "StudyDescription", "ProtocolName", "ImageComments", "DoseComment",
        "InstitutionName", "StationName", "PatientComments", "RetrieveURL",
    }  # fmt: skip
    assert kept >= {
        "Manufacturer", "ManufacturerModelName", "SoftwareVersions", "SliceThickness",
        "PatientWeight", "ScanOptions", "PatientSex", "PatientAge",
    }  # fmt: skip


def test_technical_text_that_is_written_like_a_name_is_removed(tmp_path: Path) -> None:
    assert "ManufacturerModelName" not in released(
        an_instance(ManufacturerModelName="Doctorow^Hilda"), tmp_path
    )


def test_a_public_code_keeps_its_value_and_gets_its_meaning_from_the_dictionary(
    tmp_path: Path,
) -> None:
    public = an_item(CodeValue="T-A0100", CodingSchemeDesignator="SRT", CodeMeaning="of Doctorow")
    local = an_item(CodeValue="ROOM7", CodingSchemeDesignator="99HOSP", CodeMeaning="Dr. Doctorow")
    data_set = released(an_instance(AnatomicRegionSequence=[public, local]), tmp_path)
    first, second = data_set.AnatomicRegionSequence
    assert (first.CodeValue, first.CodeMeaning) == ("T-A0100", "Brain")
    assert (second.CodeValue, second.CodeMeaning) == ("REMOVED", "REMOVED")


def test_markers_tail_and_icon_of_any_depth_are_removed(tmp_path: Path) -> None:
    icon = an_item(Rows=1, Columns=1)
    icon.add_new(0x7FE00010, "OW", b"\1\2")
    given = an_instance(SharedFunctionalGroupsSequence=[an_item(IconImageSequence=[icon])])
    given.add_new(0xFFFAFFFA, "SQ", [an_item(Signature=b"\1\2")])
    given.add_new(0xFFFCFFFC, "OB", b"Quixotesson ")
    given.EncryptedAttributesSequence = [an_item(EncryptedContent=b"\1\2")]
    given.OriginalAttributesSequence = [an_item(ModifyingSystem="x")]
    data_set = released(given, tmp_path)
    assert len(data_set.SharedFunctionalGroupsSequence[0]) == 0
    for tag in (0xFFFAFFFA, 0xFFFCFFFC, 0x04000500, 0x04000561):
        assert tag not in data_set


def test_text_leaves_as_utf_8_and_items_name_no_character_set(tmp_path: Path) -> None:
    item = an_item(SpecificCharacterSet="ISO_IR 144", ConvolutionKernel="мягкий")
    given = an_instance(
        SpecificCharacterSet="ISO_IR 100",
        ManufacturerModelName="Größe",
        SharedFunctionalGroupsSequence=[item],
    )
    data_set = released(given, tmp_path)
    assert data_set.SpecificCharacterSet == "ISO_IR 192"
    assert data_set.ManufacturerModelName == "Größe"
    inside = data_set.SharedFunctionalGroupsSequence[0]
    assert "SpecificCharacterSet" not in inside
    assert inside.ConvolutionKernel == "мягкий"


def test_file_meta_and_preamble_are_new(tmp_path: Path) -> None:
    path = released_path(an_instance(), tmp_path)
    data_set = released(an_instance(), tmp_path)
    assert path.read_bytes()[:132] == bytes(128) + b"DICM"
    assert data_set.file_meta.MediaStorageSOPInstanceUID == data_set.SOPInstanceUID
    assert data_set.file_meta.ImplementationClassUID == IMPLEMENTATION_UID
    assert "SourceApplicationEntityTitle" not in data_set.file_meta


def test_a_file_meta_out_of_step_is_put_right(tmp_path: Path) -> None:
    given = an_instance()
    source = saved(given, tmp_path / "source.dcm")
    source.write_bytes(source.read_bytes().replace(INSTANCE.encode(), b"1.2.826.0.1.77.1.2.9", 1))
    assert dcmread(source).file_meta.MediaStorageSOPInstanceUID != INSTANCE
    result = deidentify_instance(source, order_for(given), KEY, tmp_path / "out")
    assert isinstance(result, Released)
    data_set = dcmread(result.path)
    assert data_set.file_meta.MediaStorageSOPInstanceUID == data_set.SOPInstanceUID
    assert data_set.SOPInstanceUID == KEY.uid(INSTANCE)


def test_the_file_says_what_was_done(tmp_path: Path) -> None:
    data_set = released(an_instance(), tmp_path)
    assert data_set.PatientIdentityRemoved == "YES"
    assert data_set.LongitudinalTemporalInformationModified == "MODIFIED"
    assert "2026d" in "".join(data_set.DeidentificationMethod)
    codes = [item.CodeValue for item in data_set.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113105", "113107", "113108", "113111"]


def test_method_codes_of_an_earlier_deidentification_stay(tmp_path: Path) -> None:
    earlier = an_item(CodeValue="113101", CodingSchemeDesignator="DCM", CodeMeaning="by Doctorow")
    data_set = released(an_instance(DeidentificationMethodCodeSequence=[earlier]), tmp_path)
    first, *ours = data_set.DeidentificationMethodCodeSequence
    assert (first.CodeValue, first.CodeMeaning) == (
        "113101",
        "Clean Pixel Data Option",
    )
    assert len(ours) == 5


def test_group_lengths_are_dropped(tmp_path: Path) -> None:
    content = released_path(an_instance(), tmp_path / "a").read_bytes()
    source = tmp_path / "a" / "in" / "source.dcm"
    assert b"\x08\x00\x00\x00UL" not in content
    given = an_instance()
    given.add_new(0x00080000, "UL", 400)
    assert released_path(given, tmp_path / "b").read_bytes() == content
    assert source.exists()
