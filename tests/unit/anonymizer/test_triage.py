"""What rules withhold, and what must pass them."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.uid import CTImageStorage

from pacstream_anonymizer import triage
from pacstream_anonymizer.parser import Element
from pacstream_anonymizer.refusal import Refusal, Waiver

STORAGE = "1.2.840.10008.5.1.4.1.1."
TAGS = {
    "SOPClassUID": (0x00080016, "UI"),
    "ImageType": (0x00080008, "CS"),
    "Modality": (0x00080060, "CS"),
    "SeriesNumber": (0x00200011, "IS"),
    "ImagePositionPatient": (0x00200032, "DS"),
    "ImageOrientationPatient": (0x00200037, "DS"),
    "PixelSpacing": (0x00280030, "DS"),
    "PhotometricInterpretation": (0x00280004, "CS"),
    "SpecimenLabelInImage": (0x00480010, "CS"),
}
PLACED = {
    "ImagePositionPatient": "0\\0\\0",
    "ImageOrientationPatient": "1\\0\\0\\0\\1\\0",
    "PixelSpacing": "1\\1",
}
SLIDE = {"SOPClassUID": STORAGE + "77.1.6", "Modality": "SM", "SpecimenLabelInImage": "NO"}


def elements(values: dict[str, str]) -> list[Element]:
    given = {"SOPClassUID": CTImageStorage, "Modality": "CT", **PLACED, **values}
    return [Element(*TAGS[name], value.encode()) for name, value in given.items()]


def refused(values: dict[str, str]) -> str:
    sop_class = values.get("SOPClassUID", CTImageStorage)
    try:
        triage.check_class(sop_class, Waiver())
        triage.check_content(elements(values), sop_class, Waiver())
    except Refusal as refusal:
        return refusal.reason
    return ""


@pytest.mark.parametrize(
    "image_type",
    [
        "DERIVED\\SECONDARY\\SCREEN SAVE",
        "DERIVED\\SECONDARY\\SCREENSAVE",
        "DERIVED\\SECONDARY\\SCREEN_SAVE",
        "DERIVED\\SECONDARY\\OTHER\\CSA REPORT",
        "DERIVED\\SECONDARY\\OTHER\\CT_SOM5 PROT",
        "DERIVED\\PRIMARY\\LABEL\\NONE",
        "ORIGINAL\\PRIMARY\\AXIAL\\PASTED",
        "DERIVED\\SECONDARY\\DOSE_INFO",
    ],
)
def test_an_image_type_that_tells_of_text(image_type: str) -> None:
    assert refused({"ImageType": image_type}) == "burned_in_annotation"


@pytest.mark.parametrize(
    "image_type",
    [
        "DERIVED\\SECONDARY\\REFORMATTED\\AVERAGE",
        "DERIVED\\SECONDARY\\MPR",
        "ORIGINAL\\PRIMARY\\M\\SE\\PROTON",
        "DERIVED\\PRIMARY\\PERFUSION\\RCBF",
        "DERIVED\\SECONDARY\\PROJECTION IMAGE",
        "ORIGINAL\\PRIMARY\\TOMO\\EMISSION",
    ],
)
def test_an_image_type_that_tells_of_none(image_type: str) -> None:
    assert refused({"ImageType": image_type}) == ""


@pytest.mark.parametrize("missing", sorted(PLACED))
def test_a_dose_sheet_lies_nowhere(missing: str) -> None:
    assert refused({"SeriesNumber": "999", missing: ""}) == "burned_in_annotation"
    assert refused({"SeriesNumber": "999"}) == ""
    assert refused({"SeriesNumber": "3", missing: ""}) == ""


@pytest.mark.parametrize(
    ("modality", "photometric", "reason"),
    [
        ("CT", "RGB", "burned_in_annotation"),
        ("MR", "YBR_FULL_422", "burned_in_annotation"),
        ("CT", "MONOCHROME2", ""),
        ("NM", "RGB", ""),
    ],
)
def test_ct_and_mr_with_colours(modality: str, photometric: str, reason: str) -> None:
    values = {"Modality": modality, "PhotometricInterpretation": photometric}
    assert refused(values) == reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ImageType": "ORIGINAL\\PRIMARY\\VOLUME\\NONE"}, ""),
        ({"ImageType": "DERIVED\\PRIMARY\\THUMBNAIL\\RESAMPLED"}, ""),
        ({"ImageType": "ORIGINAL\\PRIMARY\\OVERVIEW\\NONE"}, "burned_in_annotation"),
        ({"ImageType": "ORIGINAL\\PRIMARY\\LABEL\\NONE"}, "burned_in_annotation"),
        ({"ImageType": "ORIGINAL\\PRIMARY"}, "burned_in_annotation"),
        (
            {"ImageType": "ORIGINAL\\PRIMARY\\VOLUME\\NONE", "SpecimenLabelInImage": "YES"},
            "burned_in_annotation",
        ),
    ],
)
def test_a_slide_passes_without_its_label(changes: dict[str, Any], reason: str) -> None:
    assert refused({**SLIDE, **changes}) == reason


@pytest.mark.parametrize(
    "number",
    [
        *("1", "1.1", "2", "2.1", "4", "4.1", "4.2", "9.1.1", "12.1", "20", "30", "66.1", "66.4"),
        *("66.5", "67", "128", "130", "481.1", "481.2", "481.3", "481.5", "481.8"),
    ],
)
def test_classes_that_can_be_cleaned_pass(number: str) -> None:
    assert refused({"SOPClassUID": STORAGE + number}) == ""
