"""Directory records (PS3.3 section F.5): what a DICOMDIR says of patients, studies and so on.

A record needs values that an instance may lack: Study Date is type 1 in a record and type 2 in an
image. Such values are filled in the record, never in the file, as section F.5 leaves to who makes
a file-set: from other dates of the instance, else with a value that says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.config import disable_value_validation
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.fileset import DIRECTORY_RECORDERS
from pydicom.uid import UID

from pacstream_exporter.folder import NotUsableError
from pacstream_exporter.media.directory import encoded

RECORD_TYPES = (
    (r"RTDose", "RT DOSE"),
    (r"RTStructureSet", "RT STRUCTURE SET"),
    (r"RT(Ion)?PlanStorage", "RT PLAN"),
    (r"RT\w*Treatment(Summary)?Record", "RT TREAT RECORD"),
    (r"RT(PhysicianIntent|SegmentAnnotation)", "RADIOTHERAPY"),
    (r"RT(Radiation|Treatment|Patient)|Radiation(Record)?Storage", "RADIOTHERAPY"),
    (r"PresentationState|BasicStructuredDisplay", "PRESENTATION"),
    (r"WaveformStorage", "WAVEFORM"),
    (r"KeyObjectSelection", "KEY OBJECT DOC"),
    (r"SRStorage|ProcedureLog|(Prescription|Volume)ReportStorage", "SR DOCUMENT"),
    (r"Spectroscopy", "SPECTROSCOPY"),
    (r"RawData", "RAW DATA"),
    (r"SpatialRegistration", "REGISTRATION"),
    (r"SpatialFiducials", "FIDUCIAL"),
    (r"Encapsulated", "ENCAP DOC"),
    (r"RealWorldValueMapping", "VALUE MAP"),
    (r"StereometricRelationship", "STEREOMETRIC"),
    (r"Measurements|IntraocularLens", "MEASUREMENT"),
    (r"SurfaceSegmentation", "SURFACE"),
    (r"SurfaceScan", "SURFACE SCAN"),
    (r"Tractography", "TRACT"),
    (r"ContentAssessment", "ASSESSMENT"),
    (r"Annotations", "ANNOTATION"),
)
"""By the keyword of the SOP class (PS3.3 section F.4); everything else is an IMAGE."""

DATES = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "InstanceCreationDate")
NO_DATE, NO_TIME = "19000101", "000000"
NO_MODALITY = "OT"

FOLDERS = ("PATIENT", "STUDY", "SERIES")
FOLDER_VALUES = frozenset(
    {"PatientID", "StudyDate", "StudyTime", "StudyID", "Modality", "SeriesNumber"}
)
"""What the records of these can't do without."""
BESIDES = {"PATIENT": ("IssuerOfPatientID",), "SERIES": ("SeriesDescription",)}

LIKE = {"ANNOTATION": "FIDUCIAL"}
"""Records that pydicom has no function for, and others with the same attributes."""

FORMS = {
    "DA": re.compile(r"\d{8}"),
    "TM": re.compile(r"\d\d(\d\d(\d\d(\.\d{1,6})?)?)?"),
    "IS": re.compile(r"[+-]?\d{1,12}"),
}

TAGS = (
    *[
        "SpecificCharacterSet",
        "SOPClassUID",
        "SOPInstanceUID",
        "PatientName",
        "PatientID",
        "IssuerOfPatientID",
        "StudyInstanceUID",
        "StudyID",
        "StudyDescription",
        "AccessionNumber",
        "SeriesInstanceUID",
        "SeriesNumber",
        "SeriesDescription",
        "Modality",
        "InstanceNumber",
        "DoseSummationType",
        "StructureSetLabel",
        "StructureSetDate",
        "StructureSetTime",
        "RTPlanLabel",
        "RTPlanDate",
        "RTPlanTime",
        "TreatmentDate",
        "TreatmentTime",
        "ContentLabel",
        "PresentationCreationDate",
        "PresentationCreationTime",
        "ContentDescription",
        "ContentCreatorName",
        "ReferencedSeriesSequence",
        "BlendingSequence",
        "CompletionFlag",
        "VerificationFlag",
        "VerificationDateTime",
        "VerifyingObserverSequence",
        "ConceptNameCodeSequence",
        "ContentSequence",
        "ImageType",
        "NumberOfFrames",
        "Rows",
        "Columns",
        "DataPointRows",
        "DataPointColumns",
        "ReferencedImageEvidenceSequence",
        "DocumentTitle",
        "MIMETypeOfEncapsulatedDocument",
        "HL7InstanceIdentifier",
        "UserContentLabel",
        "UserContentLongLabel",
    ],
    *(name for date in DATES for name in (date, date.replace("Date", "Time"))),
)
"""What records are made of; nothing else of a header is read."""


@dataclass(frozen=True)
class Fills:
    """Values for attributes that an instance lacks, and which it needs in a record."""

    patient_id: str
    study_id: str
    instance_number: int
    date: str = NO_DATE
    time: str = NO_TIME

    def values(self) -> Mapping[str, str | int]:
        """Content Date and its kin stand in leaves; who needs none of them drops it."""
        dates = ("StudyDate", "ContentDate", "PresentationCreationDate", "InstanceCreationDate")
        times = ("StudyTime", "ContentTime", "PresentationCreationTime")
        return {
            "PatientID": self.patient_id,
            "StudyID": self.study_id,
            "Modality": NO_MODALITY,
            "SeriesNumber": 0,
            "InstanceNumber": self.instance_number,
            **dict.fromkeys(dates, self.date),
            **dict.fromkeys(times, self.time),
        }


def text_of(header: Dataset, keyword: str) -> str:
    """The value as text; empty if there is none, or none that its VR allows."""
    try:
        element = header[keyword]
        text = str(element.value).strip() if element.VM == 1 else ""
    except Exception:  # noqa: BLE001 - absent, or pydicom can't convert it
        return ""
    form = FORMS.get(dictionary_VR(keyword))
    return text if form is None or form.fullmatch(text) else ""


def moment_of(header: Dataset) -> tuple[str, str]:
    """Study Date and Study Time, else those of the series, the acquisition, the content."""
    for date in DATES:
        if found := text_of(header, date):
            return found, text_of(header, date.replace("Date", "Time")) or NO_TIME
    return NO_DATE, NO_TIME


def record_type(sop_class_uid: str) -> str:
    keyword = UID(sop_class_uid).keyword
    return next((kind for form, kind in RECORD_TYPES if re.search(form, keyword)), "IMAGE")


class Described:
    """An instance as records tell it. Its header has the attributes of TAGS, and gets `fills`."""

    def __init__(self, header: Dataset, fills: Fills) -> None:
        values = fills.values()
        self._header = header
        self._lacking = {name for name in values if not text_of(header, name)}
        for name in self._lacking:
            setattr(header, name, values[name])
        _shorten(header)
        self.filled = self._lacking & FOLDER_VALUES
        """Keywords of values that the instance lacks and its records have."""

    def leaf(self, file_id: list[str]) -> bytes:
        """The record of the instance itself, encoded.

        Raises NotUsableError `no_directory_record` with the keyword of a mandatory value that can't
        be made up, such as the title of a report.
        """
        header = self._header
        with disable_value_validation():
            record = _record(header, record_type(str(header.SOPClassUID)))
            self.filled |= self._lacking.intersection(element.keyword for element in record)
            record.ReferencedFileID = file_id
            record.ReferencedSOPClassUIDInFile = header.SOPClassUID
            record.ReferencedSOPInstanceUIDInFile = header.SOPInstanceUID
            record.ReferencedTransferSyntaxUIDInFile = header.file_meta.TransferSyntaxUID
            return encoded(record)

    def folder(self, kind: str) -> bytes:
        """The encoded record of its PATIENT, STUDY or SERIES, with what viewers show besides, and
        what tells two patients of one ID apart."""
        with disable_value_validation():
            record = _record(self._header, kind)
            for keyword in BESIDES.get(kind, ()):
                if text := text_of(self._header, keyword):
                    setattr(record, keyword, text)
            return encoded(record)


def _record(header: Dataset, kind: str) -> Dataset:
    try:
        record: Dataset = DIRECTORY_RECORDERS[LIKE.get(kind, kind)](header)
    except (ValueError, AttributeError) as error:
        missing = re.search(r"\(([0-9A-Fa-f]{4}),([0-9A-Fa-f]{4})\)", str(error))
        keyword = keyword_for_tag(int(missing[1] + missing[2], 16)) if missing else ""
        raise NotUsableError("no_directory_record", keyword) from None
    record.DirectoryRecordType = kind
    if "SpecificCharacterSet" in header:
        record.SpecificCharacterSet = header.SpecificCharacterSet
    return record


def _shorten(header: Dataset) -> None:
    """Of a document's content a record has what modifies its title, and when it was last verified
    (PS3.3 section F.5.25), not the rest."""
    items = [
        item
        for item in header.get("ContentSequence") or ()
        if text_of(item, "RelationshipType") == "HAS CONCEPT MOD"
    ]
    if items:
        header.ContentSequence = items
    elif "ContentSequence" in header:
        del header.ContentSequence
    observers = header.get("VerifyingObserverSequence") or ()
    if verified := [text_of(one, "VerificationDateTime") for one in observers]:
        header.VerificationDateTime = max(verified)
