"""X, Z or D by the type that the SOP class's IOD gives the attribute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    PositronEmissionTomographyImageStorage,
    RTPlanStorage,
    SegmentationStorage,
    TwelveLeadECGWaveformStorage,
)

from pacstream_anonymizer import iod
from pacstream_anonymizer.dictionary import VR_BY_TAG
from pacstream_anonymizer.iod import Type, iod_of
from pacstream_anonymizer.profile import DEFAULT, Profile
from tests.unit.anonymizer.instances import INSTANCE, KEY, an_instance, released

STRICT = Profile(frozenset())
RETIRED = "1.2.840.10008.5.1.4.1.1.5"
"""Nuclear Medicine Image Storage (Retired): in no table."""
SEGMENTS, FRAME_CONTENT = 0x00620002, 0x00209111


def an_item(**attributes: Any) -> list[Dataset]:
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return [item]


def of_class(uid: str, **attributes: Any) -> Dataset:
    return an_instance(SOPClassUID=uid, **attributes)


@pytest.mark.parametrize(
    ("sop_class", "path", "tag", "kind"),
    [
        (CTImageStorage, (), 0x00080023, Type.PRESENT),  # Content Date
        (EnhancedCTImageStorage, (), 0x00080023, Type.VALUE),
        (CTImageStorage, (), 0x00181000, Type.OPTIONAL),  # Device Serial Number
        (EnhancedCTImageStorage, (), 0x00181000, Type.VALUE),
        (RETIRED, (), 0x00181000, Type.VALUE),
        ("1.2.3.4", (), 0x00080023, Type.VALUE),
        (SegmentationStorage, (SEGMENTS,), 0x00620005, Type.VALUE),  # Segment Label
        (SegmentationStorage, (), 0x00620005, Type.OPTIONAL),
        (EnhancedCTImageStorage, (0x52009230, FRAME_CONTENT), 0x00189151, Type.OPTIONAL),
        (EnhancedCTImageStorage, (0x00081111,), 0x00081155, Type.VALUE),  # Referenced SOP Instance
    ],
)
def test_an_attribute_has_its_type_by_class_and_place(
    sop_class: str, path: tuple[int, ...], tag: int, kind: Type
) -> None:
    assert iod_of(sop_class).type_of(path, tag) is kind


@pytest.mark.parametrize(
    ("sop_class", "keyword", "given", "left"),
    [
        (CTImageStorage, "DeviceSerialNumber", "Q-9", None),
        (EnhancedCTImageStorage, "DeviceSerialNumber", "Q-9", "REMOVED"),
        (RETIRED, "DeviceSerialNumber", "Q-9", "REMOVED"),
        (CTImageStorage, "ContentDate", "20240229", ""),
        (EnhancedCTImageStorage, "ContentDate", "20240229", "19000101"),
        (EnhancedCTImageStorage, "ContentTime", "101530", "000000"),
        (CTImageStorage, "SeriesDate", "20240229", None),
        (PositronEmissionTomographyImageStorage, "SeriesDate", "20240229", "19000101"),
        (PositronEmissionTomographyImageStorage, "AcquisitionDate", "20240229", ""),
        (CTImageStorage, "AcquisitionDate", "20240229", None),
        (RTPlanStorage, "RTPlanDate", "20240229", ""),
        (CTImageStorage, "RTPlanDate", "20240229", None),
        (RTPlanStorage, "RTPlanLabel", "of Quixote", "REMOVED"),
        (CTImageStorage, "StudyDate", "20240229", ""),
        (CTImageStorage, "StudyID", "7", ""),
        (RTPlanStorage, "OperatorsName", "Quixote", ""),
        (CTImageStorage, "OperatorsName", "Quixote", None),
        (CTImageStorage, "PatientBreedDescription", "Quixotian", ""),
    ],
)
def test_what_an_iod_needs_is_left_empty_or_with_a_dummy(
    tmp_path: Path, sop_class: str, keyword: str, given: str, left: str | None
) -> None:
    data_set = released(of_class(sop_class, **{keyword: given}), tmp_path, profile=STRICT)
    assert data_set.get(keyword) == left


def test_text_of_which_no_word_stays_is_what_the_iod_needs(tmp_path: Path) -> None:
    segments = an_item(SegmentNumber=1, SegmentLabel="Quixotesson's")
    given = of_class(SegmentationStorage, SegmentSequence=segments, SegmentLabel="Quixotesson's")
    data_set = released(given, tmp_path)
    assert data_set.SegmentSequence[0].SegmentLabel == "REMOVED"
    assert "SegmentLabel" not in data_set


def test_a_maker_that_looks_like_a_name_is_emptied_not_removed(tmp_path: Path) -> None:
    given = an_instance(Manufacturer="Maker^Of=Things", ManufacturerModelName="A^B")
    data_set = released(given, tmp_path)
    assert data_set.Manufacturer == ""
    assert "ManufacturerModelName" not in data_set


def test_a_maker_in_which_the_gate_finds_the_patient_is_emptied(tmp_path: Path) -> None:
    data_set = released(an_instance(Manufacturer="for Quixotesson"), tmp_path)
    assert data_set.Manufacturer == ""


def test_a_date_that_is_none_is_a_dummy_only_where_the_iod_needs_one(tmp_path: Path) -> None:
    odd = {"ContentDate": "20240231"}
    assert released(of_class(CTImageStorage, **odd), tmp_path / "a").ContentDate == ""
    dummy = released(of_class(EnhancedCTImageStorage, **odd), tmp_path / "b").ContentDate
    assert dummy == "19000101"


def test_a_sequence_that_an_iod_needs_has_one_item_that_says_nothing(tmp_path: Path) -> None:
    step = an_item(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.3",
        ReferencedSOPInstanceUID=INSTANCE,
        PerformedProcedureStepID="Quixote",
    )
    given = of_class(EnhancedCTImageStorage, ReferencedPerformedProcedureStepSequence=step * 2)
    data_set = released(given, tmp_path, profile=STRICT)
    (item,) = data_set.ReferencedPerformedProcedureStepSequence
    assert item.ReferencedSOPClassUID == "1.2.840.10008.3.1.2.3.3"
    assert item.ReferencedSOPInstanceUID == KEY.uid(INSTANCE)
    assert len(item) == 2


def test_an_annotation_that_an_iod_needs_keeps_its_form_and_loses_its_words(
    tmp_path: Path,
) -> None:
    name = an_item(CodeValue="109071", CodingSchemeDesignator="DCM", CodeMeaning="of Quixote")
    annotation = an_item(
        ConceptNameCodeSequence=name,
        ReferencedWaveformChannels=[1, 2],
        UnformattedTextValue="Quixotesson",
        NumericValue="7",
    )
    given = of_class(TwelveLeadECGWaveformStorage, WaveformAnnotationSequence=annotation)
    (item,) = released(given, tmp_path, profile=STRICT).WaveformAnnotationSequence
    (code,) = item.ConceptNameCodeSequence
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("REMOVED", "99REMOVED")
    assert item.UnformattedTextValue == "REMOVED"
    assert item.get("NumericValue", 0) == 0


def test_an_allow_list_leaves_what_an_iod_needs_without_its_value(tmp_path: Path) -> None:
    profile = Profile(DEFAULT.options, mode="allow_list")
    data_set = released(
        of_class(EnhancedCTImageStorage, ContentDate="20240229"), tmp_path, profile=profile
    )
    assert data_set.ContentDate == "19000101"


def test_instances_of_two_classes_in_one_series_are_each_cleaned_by_their_own(
    tmp_path: Path,
) -> None:
    for sop_class, left in ((CTImageStorage, None), (EnhancedCTImageStorage, "REMOVED")):
        given = of_class(sop_class, DeviceSerialNumber="Q-9")
        assert released(given, tmp_path / sop_class).get("DeviceSerialNumber") == left


def test_the_two_tables_fit_one_another() -> None:
    modules = {module for named in iod._modules().values() for module in named}
    having = {module for _, _, found in iod._types() for module in found}
    assert modules < having, "some modules are in no composite object"
    assert len(iod._modules()) == 178
    assert {tag for (_, tag), _, _ in iod._types()} <= VR_BY_TAG.keys()
