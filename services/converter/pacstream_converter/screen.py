"""Which images are kept out of a release: those whose pixels may show who it is, or text.

The anonymizer withholds the same instances for the same reasons (a test holds the two together). A
NIfTI file of them would give away what is in quarantine.
"""

from __future__ import annotations

import re

from pydicom.dataset import Dataset

STORAGE = "1.2.840.10008.5.1.4.1.1."
STANDARD = "1.2.840.10008."
RT_DELIVERY = "1.2.840.10008.5.1.4.34."

REASON_BY_FAMILY = {"3": "ultrasound", "6": "ultrasound", "7": "secondary_capture",
                    "77": "video_or_photo"}  # fmt: skip
"""By the first component of a SOP class below STORAGE (PS3.4 section B.5)."""

TISSUES = frozenset({"77.1.5.4", "77.1.5.7", "77.1.5.8", "77.1.6", "77.1.8"})
SLIDES = frozenset({"77.1.6"})
SLIDE_CONTENTS = frozenset({"VOLUME", "THUMBNAIL"})

SCREENS = (
    "CAPTURE",
    "DOCUMENT",
    "DOSE_INFO",
    "LABEL",
    "OVERVIEW",
    "PASTED",
    "REPORT",
    "SCANNED",
    "SCREEN",
    "SNAPSHOT",
)
"""Parts of Image Type values of pictures of text."""

PROTOCOL_PAGE = re.compile(r"\bPROT\b")
SHEET = re.compile(r"\b(dose (report|info|sheet|summary)|patient protocol|screen ?(save|shot))\b")
DOSE_SERIES = re.compile(r"99\d", re.ASCII)
PLANE = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")

OVERLAY_GROUPS = range(0x6000, 0x6020, 2)
BIT_POSITION, OVERLAY_DATA = 0x0102, 0x3000

TAGS = frozenset(
    {
        0x00080008,  # Image Type
        0x00080016,  # SOP Class UID
        0x00080060,  # Modality
        0x00080064,  # Conversion Type
        0x0008103E,  # Series Description
        0x00200011,  # Series Number
        0x00280004,  # Photometric Interpretation
        0x00280301,  # Burned In Annotation
        0x00280302,  # Recognizable Visual Features
        0x00480010,  # Specimen Label in Image
        *(group << 16 | BIT_POSITION for group in OVERLAY_GROUPS),
    }
)
"""What decides, besides the presence of PLANE and of overlay data."""


def depends_on_presence(header: Dataset) -> bool:
    """Whether equal values of TAGS do not yet make the same answer."""
    return bool(DOSE_SERIES.fullmatch(_first(header, "SeriesNumber")))


def reason_to_keep_out(header: Dataset) -> str:
    """A reason code, empty for an image that may go out as NIfTI.

    `header` has at least TAGS, PLANE, and Overlay Data.
    """
    sop_class = str(header.get("SOPClassUID", ""))
    if reason := _by_class(sop_class):
        return reason
    if "YES" in _codes(header, "BurnedInAnnotation"):
        return "burned_in_annotation"
    if "YES" in _codes(header, "RecognizableVisualFeatures"):
        return "recognizable_visual_features"
    if "ConversionType" in header:
        return "secondary_capture"
    if (
        _is_screen(header)
        or _is_coloured_slice(header)
        or _is_sheet(header)
        or _is_slide_label(header, sop_class)
    ):
        return "burned_in_annotation"
    return "embedded_overlay" if _has_embedded_overlay(header) else ""


def _by_class(sop_class: str) -> str:
    if not sop_class.startswith(STANDARD):
        return "private_sop_class"
    if sop_class.startswith(RT_DELIVERY):
        return ""
    if not sop_class.startswith(STORAGE):
        return "unsupported_sop_class"
    number = sop_class[len(STORAGE) :]
    return "" if number in TISSUES else REASON_BY_FAMILY.get(number.partition(".")[0], "")


def _is_screen(header: Dataset) -> bool:
    types = _codes(header, "ImageType")
    return any(
        PROTOCOL_PAGE.search(value) or any(screen in value for screen in SCREENS) for value in types
    )


def _is_coloured_slice(header: Dataset) -> bool:
    coloured = _first(header, "PhotometricInterpretation").startswith(("RGB", "YBR"))
    return coloured and _first(header, "Modality") in ("CT", "MR")


def _is_sheet(header: Dataset) -> bool:
    """A page that a scanner writes at the end of an examination, as an image."""
    description = " ".join(_codes(header, "SeriesDescription")).lower().replace("_", " ")
    if SHEET.search(description):
        return True
    is_dose = _first(header, "Modality") == "CT" and depends_on_presence(header)
    return is_dose and not all(header.get(keyword) for keyword in PLANE)


def _is_slide_label(header: Dataset, sop_class: str) -> bool:
    if sop_class.removeprefix(STORAGE) not in SLIDES:
        return False
    shown = "YES" in _codes(header, "SpecimenLabelInImage")
    return shown or not SLIDE_CONTENTS & set(_codes(header, "ImageType"))


def _has_embedded_overlay(header: Dataset) -> bool:
    """A 60xx group whose bits are inside Pixel Data (retired, PS3.5 section 8.1.2)."""
    return any(
        header[group << 16 | BIT_POSITION].value and (group << 16 | OVERLAY_DATA) not in header
        for group in OVERLAY_GROUPS
        if (group << 16 | BIT_POSITION) in header
    )


def _codes(header: Dataset, keyword: str) -> list[str]:
    value = header.get(keyword)
    values = [value] if isinstance(value, (str, int)) or value is None else list(value)
    return [str("" if one is None else one).strip(" \0").upper() for one in values] or [""]


def _first(header: Dataset, keyword: str) -> str:
    return _codes(header, keyword)[0]
