"""What de-identification withholds for its pixels, the converter keeps out of the release, too."""

from __future__ import annotations

import io

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    MRImageStorage,
    SecondaryCaptureImageStorage,
    UltrasoundImageStorage,
    VLPhotographicImageStorage,
)
from pydicom.uid import VLWholeSlideMicroscopyImageStorage as WholeSlide

from pacstream_anonymizer.deidentifier import read_original
from pacstream_anonymizer.refusal import Refusal, Waiver
from pacstream_anonymizer.triage import check_class, check_content
from pacstream_converter.screen import reason_to_keep_out
from tests.unit.converter.samples import image, write

HEADERS: dict[str, dict[str, object]] = {
    "plain": {},
    "screen": {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]},
    "protocol": {"ImageType": ["DERIVED", "SECONDARY", "CT_SOM5 PROT"]},
    "burned in": {"BurnedInAnnotation": "YES"},
    "not burned in": {"BurnedInAnnotation": "NO"},
    "face": {"RecognizableVisualFeatures": "YES"},
    "digitised": {"ConversionType": "WSD"},
    "coloured": {"PhotometricInterpretation": "RGB"},
    "dose report": {"SeriesDescription": "Dose Report"},
    "series 999 with geometry": {"SeriesNumber": 999},
    "series 999 without geometry": {"SeriesNumber": 999, "ImagePositionPatient": None},
    "ultrasound": {"SOPClassUID": UltrasoundImageStorage},
    "capture": {"SOPClassUID": SecondaryCaptureImageStorage},
    "photo": {"SOPClassUID": VLPhotographicImageStorage},
    "slide": {"SOPClassUID": WholeSlide, "ImageType": ["ORIGINAL", "VOLUME"]},
    "slide label": {"SOPClassUID": WholeSlide, "ImageType": ["LABEL"]},
    "x-ray": {"SOPClassUID": DigitalXRayImageStorageForPresentation},
    "private": {"SOPClassUID": "1.3.46.670589.11.0.0.12.1"},
    "no storage class": {"SOPClassUID": "1.2.840.10008.1.1"},
    "embedded overlay": {"OverlayBitPosition": 12},
    "overlay beside": {"OverlayBitPosition": 0},
}  # fmt: skip


def header(changes: dict[str, object]) -> Dataset:
    ds = image("CT", 0)
    for keyword, value in changes.items():
        if keyword == "OverlayBitPosition":
            ds.add_new(0x60000102, "US", value)
        elif value is None:
            del ds[keyword]
        else:
            setattr(ds, keyword, value)
    return ds


@pytest.mark.parametrize("sop_class", [CTImageStorage, MRImageStorage])
@pytest.mark.parametrize("changes", HEADERS.values(), ids=HEADERS.keys())
def test_converter_and_anonymizer_withhold_the_same_for_the_same_reason(
    changes: dict[str, object], sop_class: str
) -> None:
    ds = header({"SOPClassUID": sop_class, **changes})
    content = io.BytesIO()
    write(ds, content)
    reason = ""
    try:
        elements = read_original(content.getvalue()).elements
        check_class(str(ds.SOPClassUID), Waiver())
        check_content(elements, str(ds.SOPClassUID), Waiver())
    except Refusal as refused:
        reason = refused.reason
    content.seek(0)
    assert reason_to_keep_out(dcmread(content)) == reason
