"""Files of a folder, each with its page of the answer key."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path as FilePath
from typing import Any

from pydicom import Dataset, dcmwrite
from pydicom.dataelem import DataElement
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
)

from tests.answer_key.cast import ROOT, Cast, Person
from tests.answer_key.key import (
    FULL_DATES,
    METHOD_CODES,
    MODIFIED_DATES,
    PATIENT_CHARACTERISTICS,
    Action,
    AnswerKey,
    Check,
    Fate,
    FileKey,
    Path,
    Token,
)
from tests.answer_key.naming import path_of

DATES = frozenset({FULL_DATES, MODIFIED_DATES})
ROWS = 8

KEPT = (
    "SOPClassUID", "ImageType", "Modality", "Manufacturer", "ManufacturerModelName",
    "BodyPartExamined", "SequenceName", "ScanningSequence", "SequenceVariant", "MRAcquisitionType",
    "SliceThickness", "RepetitionTime", "EchoTime", "KVP", "MagneticFieldStrength", "FlipAngle",
    "SoftwareVersions", "ConvolutionKernel", "PatientPosition", "SeriesNumber", "InstanceNumber",
    "AcquisitionNumber", "ImagePositionPatient", "ImageOrientationPatient", "SliceLocation",
    "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns",
    "PixelSpacing", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "WindowCenter",
    "WindowWidth", "RescaleIntercept", "RescaleSlope", "RescaleType", "LossyImageCompression",
)  # fmt: skip
"""In no row of Table E.1-1, and nothing in them is about a person: of use only if they stay."""

NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
TYPE_2 = ("PatientBirthDate", "ReferringPhysicianName", "AccessionNumber", "StudyID")
DESCRIBING = ("PatientSex", "PatientAge", "PatientSize", "PatientWeight")
DA = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")
TM = ("StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime")


@dataclass
class Written:
    """How a file is written; what is not named is as it has to be."""

    syntax: str = ExplicitVRLittleEndian
    preamble: bytes = b"\0" * 128
    meta: Mapping[str, Any] = field(default_factory=dict)
    trailing: bytes = b""
    cut: int = 0
    """So many bytes less at the end."""


@dataclass
class Maker:
    folder: FilePath
    cast: Cast
    key: AnswerKey = field(init=False)
    _number: int = 0
    _known: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.key = AnswerKey(self.cast.seed)

    def instance(self, person: Person, modality: str = "MR", **attributes: Any) -> Dataset:
        """An image as a scanner sends it, in a study and a series of its own unless told."""
        self._number += 1
        data_set = Dataset()
        data_set.SpecificCharacterSet = person.character_set
        data_set.SOPClassUID = MRImageStorage if modality == "MR" else CTImageStorage
        data_set.SOPInstanceUID, data_set.StudyInstanceUID = self.cast.uid(), self.cast.uid()
        data_set.SeriesInstanceUID, data_set.FrameOfReferenceUID = self.cast.uid(), self.cast.uid()
        data_set.PatientName, data_set.PatientID = person.name, person.patient_id
        if person.issuer:
            data_set.IssuerOfPatientID = person.issuer
        data_set.PatientBirthDate, data_set.PatientSex = person.birth_date, person.sex
        data_set.PatientAge, data_set.PatientSize, data_set.PatientWeight = person.age, "1.7", "70"
        _fill_device(data_set, modality)
        day = self.cast.date(2005, 2022)
        for date, time in zip(DA, TM, strict=True):
            setattr(data_set, date, day)
            setattr(data_set, time, self.cast.time())
        data_set.ReferringPhysicianName = self.hidden(self.cast.word(), "listed text")
        data_set.AccessionNumber = self.hidden(self.cast.capitals(8), "listed text")
        data_set.StudyID = self.hidden(self.cast.capitals(9), "listed text")
        data_set.InstitutionName = self.hidden(
            f"Spital {self.cast.word()}", "listed text", "Spital"
        )
        data_set.InstanceNumber = data_set.AcquisitionNumber = str(self._number)
        data_set.SeriesNumber = "3"
        _fill_pixels(data_set, self._number)
        for keyword, value in attributes.items():
            setattr(data_set, keyword, value)
        return data_set

    def hidden(self, text: str, category: str, around: str = "") -> str:
        """`text`, which may be in no output; of it, `around` may."""
        self.key.tokens.append(Token(category, text.replace(around, "").strip()))
        return text

    def add(
        self,
        name: str,
        category: str,
        data_set: Dataset,
        person: Person | None,
        fate: Fate = Fate.RELEASED,
        written: Written | None = None,
    ) -> FileKey:
        """Write a file, with the checks that hold for any instance of its patient."""
        written = written or Written()
        file = FileKey(name, int(data_set.InstanceNumber), category, person, fate)
        self.key.files.append(file)
        if person is not None and person.patient_id not in self._known:
            self._known.add(person.patient_id)
            texts = (*person.texts, person.birth_date)
            stripped = person.patient_id.strip()
            texts += (stripped,) if len(stripped) > 4 else ()
            self.key.tokens += [Token("patient", text) for text in texts]
        for uid in uids_of(data_set):
            self.key.uids.setdefault(uid, category)
        file.checks += base_checks(data_set)
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(part_10(data_set, written))
        if "PixelData" in data_set:
            file.frames = bytes(data_set.PixelData)
        return file

    def add_stranger(self, name: str, content: bytes) -> None:
        """A file that is no DICOM instance."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.key.strangers.append(name)


def _fill_device(data_set: Dataset, modality: str) -> None:
    data_set.Modality = modality
    data_set.ImageType = ["ORIGINAL", "PRIMARY", "M" if modality == "MR" else "AXIAL"]
    data_set.Manufacturer, data_set.ManufacturerModelName = "SIEMENS", "Skyra"
    data_set.SoftwareVersions = "syngo MR E11"
    data_set.BodyPartExamined, data_set.PatientPosition = "BRAIN", "HFS"
    data_set.SliceThickness, data_set.SliceLocation = "1.25", "-17.5"
    data_set.ImagePositionPatient = ["-90.5", "-112", "-17.5"]
    data_set.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    data_set.PixelSpacing, data_set.PositionReferenceIndicator = ["0.75", "0.75"], ""
    data_set.WindowCenter, data_set.WindowWidth = "120", "300"
    data_set.Laterality = ""
    if modality == "MR":
        data_set.SequenceName, data_set.ScanningSequence = "*tfl3d1", "GR"
        data_set.SequenceVariant, data_set.ScanOptions = "SK", ""
        data_set.MRAcquisitionType, data_set.EchoTrainLength = "3D", "1"
        data_set.RepetitionTime, data_set.EchoTime = "2300", "2.98"
        data_set.MagneticFieldStrength, data_set.FlipAngle = "3", "9"
    else:
        data_set.KVP, data_set.ConvolutionKernel = "120", "B31f"
        data_set.RescaleIntercept, data_set.RescaleSlope = "-1024", "1"
        data_set.RescaleType = "HU"


def _fill_pixels(data_set: Dataset, number: int) -> None:
    """`number` also is the first pixel, so that no two files have the same."""
    data_set.SamplesPerPixel, data_set.PhotometricInterpretation = 1, "MONOCHROME2"
    data_set.Rows = data_set.Columns = ROWS
    data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit = 16, 12, 11
    data_set.PixelRepresentation = 0
    pixels = [number, *((number * 31 + at * 7) % 4096 for at in range(1, ROWS * ROWS))]
    data_set.add(DataElement(0x7FE00010, "OW", struct.pack(f"<{ROWS * ROWS}H", *pixels)))


def without_pixels(data_set: Dataset, sop_class: str, modality: str) -> Dataset:
    """The same patient, study and series, but no image."""
    for keyword in (
        "PixelData", "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns",
        "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelSpacing",
        "ImagePositionPatient", "ImageOrientationPatient", "SliceLocation", "SliceThickness",
        "WindowCenter", "WindowWidth", "ImageType", "SequenceName", "ScanningSequence",
        "SequenceVariant", "ScanOptions", "MRAcquisitionType", "RepetitionTime", "EchoTime",
        "MagneticFieldStrength", "FlipAngle", "EchoTrainLength", "KVP", "ConvolutionKernel",
        "RescaleIntercept", "RescaleSlope", "RescaleType", "PatientPosition", "Laterality",
        "BodyPartExamined", "AcquisitionNumber",
    ):  # fmt: skip
        if keyword in data_set:
            delattr(data_set, keyword)
    data_set.SOPClassUID, data_set.Modality = sop_class, modality
    return data_set


def base_checks(data_set: Dataset) -> list[Check]:
    """What holds for the elements that every file has, of what is in `data_set`."""
    found = [
        Check("header", Action.TEXT_RETAINED, path_of(keyword), text_of_value(data_set[keyword]))
        for keyword in KEPT
        if data_set.get(keyword) not in (None, "")
    ]
    found += [
        Check("uids", Action.TEXT_NOTNULL, path_of(keyword))
        for keyword in NEEDED
        if keyword in data_set
    ]
    found += [
        Check("header", Action.TAG_RETAINED, path_of(keyword))
        for keyword in TYPE_2
        if keyword in data_set
    ]
    for keyword in DESCRIBING:
        if data_set.get(keyword) not in (None, ""):
            found += characteristic("patient", path_of(keyword), text_of_value(data_set[keyword]))
    for keyword in DA:
        if data_set.get(keyword):
            found.append(date_check("dates", path_of(keyword), text_of_value(data_set[keyword])))
    for keyword in TM:
        if data_set.get(keyword):
            found += time_checks("dates", path_of(keyword), text_of_value(data_set[keyword]))
    found += [
        Check("patient", Action.TEXT_NOTNULL, path_of("PatientID")),
        Check("claims", Action.CLAIMED, path_of("PatientIdentityRemoved"), "YES"),
    ]
    return found + [
        Check("claims", Action.CLAIMED, path_of("DeidentificationMethodCodeSequence"), code, only)
        for code, only in METHOD_CODES.items()
    ]


def date_check(category: str, path: Path, original: str) -> Check:
    return Check(category, Action.DATE_SHIFTED, path, original)


def time_checks(category: str, path: Path, original: str) -> list[Check]:
    return [
        Check(category, Action.TEXT_RETAINED, path, original, only=DATES),
        Check(category, Action.TEXT_REMOVED, path, original, without=DATES),
    ]


def characteristic(category: str, path: Path, original: str) -> list[Check]:
    option = frozenset({PATIENT_CHARACTERISTICS})
    return [
        Check(category, Action.TEXT_RETAINED, path, original, only=option),
        Check(category, Action.TEXT_REMOVED, path, original, without=option),
    ]


def text_of_value(element: DataElement) -> str:
    """The values of an element as in the file, one after the other."""
    value = element.value
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, str) or not hasattr(value, "__iter__") or element.VR == "PN":
        return str(value)
    return "\\".join(str(one) for one in value)


def even(value: bytes) -> bytes:
    """With a zero behind it if need be: what a library writes as it is has to be even."""
    return value + b"\0" * (len(value) % 2)


def uids_of(data_set: Dataset) -> Iterator[str]:
    """UIDs of instances, at any depth, also those of an unknown or a private attribute."""
    for element in data_set:
        if element.VR == "SQ":
            for item in element.value:
                yield from uids_of(item)
        elif element.VR == "UI" and element.value:
            values = [element.value] if isinstance(element.value, str) else element.value
            yield from (str(uid) for uid in values if str(uid).startswith(ROOT))


def part_10(data_set: Dataset, written: Written) -> bytes:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = written.syntax
    meta.MediaStorageSOPClassUID = data_set.SOPClassUID
    meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    for keyword, value in written.meta.items():
        setattr(meta, keyword, value)
    data_set.file_meta, data_set.preamble = meta, written.preamble
    if written.syntax == ExplicitVRBigEndian and "PixelData" in data_set:
        words = bytes(data_set.PixelData)
        data_set["PixelData"]._value = _swapped(words)
    stream = BytesIO()
    dcmwrite(stream, data_set, enforce_file_format=True)
    content = stream.getvalue() + written.trailing
    return content[: len(content) - written.cut]


def _swapped(words: bytes) -> bytes:
    return struct.pack(f">{len(words) // 2}H", *struct.unpack(f"<{len(words) // 2}H", words))


SYNTAXES = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "big endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
}
