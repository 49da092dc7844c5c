"""Which instances are withheld by rule, before anything is written: what can't be cleaned with
certainty is not released (PS3.15 section E.1.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pacstream_anonymizer import attributes, text
from pacstream_anonymizer.cleaner import value_of
from pacstream_anonymizer.file_meta import uid_text
from pacstream_anonymizer.parser import Element
from pacstream_anonymizer.profile import Profile
from pacstream_anonymizer.refusal import Refusal, Waiver

MODALITY, IMAGE_TYPE, SPECIMEN_LABEL_IN_IMAGE = 0x00080060, 0x00080008, 0x00480010
BURNED_IN = 0x00280301

STORAGE = "1.2.840.10008.5.1.4.1.1."
RT_DELIVERY = "1.2.840.10008.5.1.4.34."
STANDARD = "1.2.840.10008."

REASON_BY_CLASS = {
    "3": "ultrasound",
    "3.1": "ultrasound",
    "6": "ultrasound",
    "6.1": "ultrasound",
    "6.2": "ultrasound",
    "6.3": "ultrasound",
    "66": "raw_data",
    "88.59": "key_object",
    "131": "presentation_state",
    "201.1": "unsupported_sop_class",
}
REASON_BY_FAMILY = {
    "7": "secondary_capture",
    "11": "presentation_state",
    "77": "video_or_photo",
    "88": "structured_report",
    "104": "encapsulated_document",
}
"""SOP classes below STORAGE (PS3.4 section B.5), whole or by the first component. A layout of
displays and an inventory of a repository are no objects of one patient."""

VOICES = frozenset({"9.4.1", "9.4.2"})
TISSUES = frozenset({"77.1.5.3", "77.1.5.4", "77.1.5.7", "77.1.5.8", "77.1.6", "77.1.8", "77.1.9"})
"""What of the visible light family is no photograph: optical tomographies, slides, and the relation
of two images."""

SLIDES = frozenset({"77.1.6", "77.1.9"})
SLIDE_CONTENTS = frozenset({"VOLUME", "THUMBNAIL"})
"""A slide's other images show its label (PS3.3 section C.8.12.4.1.1)."""

PIXELS_ELSEWHERE = frozenset({"9", "66", "67", "68", "78", "79", "80", "129", "200", "481"})
IMAGES_OF_THESE = frozenset({"66.4", "66.7", "66.8", "481.1", "481.2", "481.23", "481.24"})
NO_IMAGES = frozenset({"4.2", "77.1.5.3"})
"""Families of SOP classes without pixel data, what in them has some, and other classes without."""

SCREENS = ("CAPTURE", "PASTED", "SCREEN", "SNAPSHOT")
PAGES = ("DOCUMENT", "DOSE_INFO", "LABEL", "OVERVIEW", "REPORT", "SCANNED")
"""Parts of Image Type values: of pictures with text around, and of pictures of text."""

SHEET = re.compile(r"\b(dose (report|info|sheet|summary)|patient protocol|screen ?(save|shot))\b")
PROTOCOL_PAGE = re.compile(r"\bPROT\b")
"""Image Type of a patient protocol, as `CT_SOM5 PROT`."""
DOSE_SERIES = re.compile(r"99\d", re.ASCII)
PLANE = (0x00200032, 0x00200037, 0x00280030)
"""Image Position and Orientation (Patient), Pixel Spacing: a slice of a patient has all."""


@dataclass(frozen=True)
class Identity:
    """The UIDs and the patient ID that the data set itself gives."""

    sop_class_uid: str
    sop_instance_uid: str
    study_uid: str
    series_uid: str
    patient_id: str
    issuer: str


@dataclass(frozen=True)
class Wanted:
    """The series that an instance must be of; without a patient ID, of whatever patient."""

    study_uid: str
    series_uid: str
    patient_id: str = ""


def identity_of(elements: list[Element]) -> Identity:
    codecs = text.encodings_of(value_of(elements, attributes.CHARACTER_SET) or b"")
    return Identity(
        sop_class_uid=uid_text(value_of(elements, 0x00080016)),
        sop_instance_uid=uid_text(value_of(elements, 0x00080018)),
        study_uid=uid_text(value_of(elements, 0x0020000D)),
        series_uid=uid_text(value_of(elements, 0x0020000E)),
        patient_id=text.decode(value_of(elements, attributes.PATIENT_ID) or b"", codecs),
        issuer=text.decode(value_of(elements, attributes.ISSUER_OF_PATIENT_ID) or b"", codecs),
    )


def check_identity(identity: Identity, series: Wanted, expected: str) -> None:
    """Refusal unless the instance is the one that was asked for. `expected` is the SOP Instance UID
    that the message names, empty if there is no message."""
    if (
        not identity.sop_instance_uid
        or identity.study_uid != series.study_uid
        or identity.series_uid != series.series_uid
        or identity.sop_instance_uid not in (expected or identity.sop_instance_uid,)
    ):
        raise Refusal("uid_mismatch")
    wanted = series.patient_id.strip()
    if wanted and identity.patient_id.strip() != wanted:
        raise Refusal("patient_mismatch")


def check_class(sop_class_uid: str, waiver: Waiver) -> None:
    """Refusal for the SOP classes that hold what this engine can't clean."""
    if not re.fullmatch(r"[0-9.]{0,64}", sop_class_uid, re.ASCII):
        raise Refusal("unreadable")
    if not sop_class_uid:
        raise Refusal("unreadable")
    if not sop_class_uid.startswith(STANDARD):
        waiver.refuse("private_sop_class")
        return
    if sop_class_uid.startswith(RT_DELIVERY):
        return
    if not sop_class_uid.startswith(STORAGE):
        waiver.refuse("unsupported_sop_class")
        return
    number = sop_class_uid[len(STORAGE) :]
    if number in VOICES:
        raise Refusal("audio")
    reason = REASON_BY_CLASS.get(number) or REASON_BY_FAMILY.get(number.partition(".")[0])
    if reason and number not in TISSUES:
        waiver.suspect(reason)


def is_ultrasound(sop_class_uid: str) -> bool:
    number = sop_class_uid.removeprefix(STORAGE)
    return REASON_BY_CLASS.get(number) == "ultrasound" and number != sop_class_uid


def is_image(sop_class_uid: str) -> bool:
    """Whether an instance of the class has pixel data (PS3.3 section A.1.4)."""
    if not sop_class_uid.startswith(STORAGE):
        return False
    number = sop_class_uid[len(STORAGE) :]
    if number.partition(".")[0] in PIXELS_ELSEWHERE:
        return number in IMAGES_OF_THESE
    return number not in NO_IMAGES


def check_admitted(profile: Profile, elements: list[Element], sop_class_uid: str) -> None:
    """Refusal for a modality or a SOP class that the project does not want."""
    if profile.sop_classes and sop_class_uid not in profile.sop_classes:
        raise Refusal("not_admitted")
    if profile.modalities and not profile.modalities & set(_codes(elements, MODALITY)):
        raise Refusal("not_admitted")


def check_content(elements: list[Element], sop_class_uid: str, waiver: Waiver) -> None:
    """Refusal if the data set says, or lets suspect, that its pixels identify."""
    if "YES" in _codes(elements, BURNED_IN):
        waiver.suspect("burned_in_annotation")
    if "YES" in _codes(elements, 0x00280302):
        waiver.refuse("recognizable_visual_features")
    if value_of(elements, 0x00080064) is not None:
        waiver.suspect("secondary_capture")
    if _is_typed(elements, SCREENS) or _is_coloured_slice(elements):
        waiver.suspect("burned_in_annotation")
    if _is_page(elements) or _is_dose_sheet(elements) or _is_slide_label(elements, sop_class_uid):
        # Text all over: a scanner's pages have the device and the size of its slices.
        waiver.refuse("burned_in_annotation")
    if value_of(elements, 0x00420011) is not None:
        raise Refusal("encapsulated_document")
    _check_overlays(elements)


def _is_typed(elements: list[Element], kinds: tuple[str, ...]) -> bool:
    return any(kind in value for value in _codes(elements, IMAGE_TYPE) for kind in kinds)


def _is_page(elements: list[Element]) -> bool:
    types = _codes(elements, IMAGE_TYPE)
    return _is_typed(elements, PAGES) or any(PROTOCOL_PAGE.search(value) for value in types)


def _is_coloured_slice(elements: list[Element]) -> bool:
    """A CT or MR image in colour is a picture of a screen more often than not."""
    coloured = _codes(elements, 0x00280004)[0].startswith(("RGB", "YBR"))
    return coloured and _codes(elements, MODALITY)[0] in ("CT", "MR")


def _is_dose_sheet(elements: list[Element]) -> bool:
    """A page that a scanner writes at the end of an examination, as an image."""
    description = " ".join(_codes(elements, 0x0008103E)).lower().replace("_", " ")
    if SHEET.search(description):
        return True
    return (
        _codes(elements, MODALITY) == ["CT"]
        and DOSE_SERIES.fullmatch(_codes(elements, 0x00200011)[0]) is not None
        and not all(value_of(elements, tag) for tag in PLANE)
    )


def _is_slide_label(elements: list[Element], sop_class_uid: str) -> bool:
    if sop_class_uid.removeprefix(STORAGE) not in SLIDES:
        return False
    shown = "YES" in _codes(elements, SPECIMEN_LABEL_IN_IMAGE)
    return shown or not SLIDE_CONTENTS & set(_codes(elements, IMAGE_TYPE))


def _check_overlays(elements: list[Element]) -> None:
    """A 60xx group without Overlay Data has its bits inside Pixel Data (retired, PS3.5 8.1.2)."""
    overlays = [e for e in elements if e.tag >> 24 == 0x60]
    groups = {e.tag >> 16 for e in overlays if e.tag >> 16 & 1 == 0}
    with_data = {e.tag >> 16 for e in overlays if e.tag & 0xFFFF == 0x3000}
    bits = {e.tag >> 16 for e in overlays if e.tag & 0xFFFF == 0x0102 and any(e.value)}
    if (groups - with_data) & bits:
        raise Refusal("embedded_overlay")


def _codes(elements: list[Element], tag: int) -> list[str]:
    value = (value_of(elements, tag) or b"").decode("latin-1").upper()
    return [part.strip(" \0") for part in value.split("\\")]
