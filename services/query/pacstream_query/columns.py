"""The columns that a query table may have: any C-FIND key of a patient, study, series or image.

Which level an attribute belongs to is no part of DICOM's data dictionary: the tables below were
read from PS3.3 (patient, study, series and equipment modules) and PS3.4 section C.6.2.1. Whatever
is in no table is an attribute of instances.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Literal

from pydicom.datadict import (
    dictionary_keyword,
    dictionary_VM,
    dictionary_VR,
    keyword_dict,
    tag_for_keyword,
)

Level = Literal["STUDY", "SERIES", "IMAGE"]

TEXT_VRS = frozenset(["AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"])
"""Matched with wildcards (PS3.4 section C.2.2.2.4)."""
NUMBER_VRS = frozenset(["DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"])
KEY_VRS = TEXT_VRS | NUMBER_VRS | {"AS", "DA", "DT", "TM", "UI"}
UNDIVIDED_VRS = frozenset(["LT", "ST", "UR", "UT"])
"""A backslash is a character of the value here, not a delimiter (PS3.5 section 6.2)."""


@dataclass(frozen=True)
class Column:
    """A key's name, its value representation and the C-FIND level it belongs to.

    `keyword` is the DICOM keyword, or eight hexadecimal digits for a tag that no keyword leads to.
    `level` STUDY (patients' attributes too: Study Root) and SERIES: sent as a key at that level and
    checked again in the answers. IMAGE: asked as a return key for the candidate series and matched
    here, because the same answers list all instances of a series, and because PACSs disagree on
    matching multi-valued ImageType.
    `composite`: an attribute of the instances that few PACSs keep for a series (PS3.4 section
    C.6.1.1.3 does not list it): where the SERIES answer is silent, the IMAGE answers decide.
    """

    keyword: str
    level: Level
    vr: str
    composite: bool = False
    multiple: bool = False
    """Value multiplicity above 1: a key may be a backslash-delimited list of values."""

    @property
    def tag(self) -> int:
        return tag_of(self.keyword)


COLUMNS: tuple[Column, ...] = (
    Column("StudyDate", "STUDY", "DA"),
    Column("StudyTime", "STUDY", "TM"),
    Column("SeriesDescription", "SERIES", "LO"),
    Column("PatientID", "STUDY", "LO"),
    Column("ProtocolName", "SERIES", "LO", composite=True),
    Column("StudyInstanceUID", "STUDY", "UI"),
    Column("SeriesInstanceUID", "SERIES", "UI"),
    Column("PatientName", "STUDY", "PN"),
    Column("PatientBirthDate", "STUDY", "DA"),
    Column("DeviceSerialNumber", "SERIES", "LO", composite=True),
    Column("AcquisitionDate", "IMAGE", "DA", composite=True),
    Column("Modality", "SERIES", "CS"),
    Column("ImageType", "IMAGE", "CS", composite=True, multiple=True),
    Column("SeriesNumber", "SERIES", "IS"),
    Column("StudyDescription", "STUDY", "LO"),
    Column("AccessionNumber", "STUDY", "SH"),
    Column("SequenceName", "IMAGE", "SH", composite=True),
)
"""In the order of PACSMAN's list."""

BY_KEYWORD: dict[str, Column] = {column.keyword: column for column in COLUMNS}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PATIENT_AND_STUDY = _words(
    """
    PatientName PatientID IssuerOfPatientID TypeOfPatientID PatientBirthDate PatientBirthTime
    PatientSex OtherPatientIDs OtherPatientNames PatientBirthName PatientMotherBirthName EthnicGroup
    PatientComments PatientSpeciesDescription PatientBreedDescription ResponsiblePerson
    ResponsiblePersonRole ResponsibleOrganization QualityControlSubject PatientReligiousPreference
    PatientAddress PatientTelephoneNumbers CountryOfResidence RegionOfResidence MilitaryRank
    BranchOfService MedicalRecordLocator
    PatientIdentityRemoved DeidentificationMethod
    NumberOfPatientRelatedStudies NumberOfPatientRelatedSeries NumberOfPatientRelatedInstances
    ClinicalTrialSponsorName ClinicalTrialProtocolID ClinicalTrialProtocolName ClinicalTrialSiteID
    ClinicalTrialSiteName ClinicalTrialSubjectID ClinicalTrialSubjectReadingID
    IssuerOfClinicalTrialProtocolID IssuerOfClinicalTrialSubjectID
    IssuerOfClinicalTrialSubjectReadingID IssuerOfClinicalTrialSiteID
    ClinicalTrialProtocolEthicsCommitteeName ClinicalTrialProtocolEthicsCommitteeApprovalNumber
    StudyInstanceUID StudyDate StudyTime StudyID StudyDescription AccessionNumber
    ReferringPhysicianName ConsultingPhysicianName PhysiciansOfRecord NameOfPhysiciansReadingStudy
    RequestingService ModalitiesInStudy SOPClassesInStudy NumberOfStudyRelatedSeries
    NumberOfStudyRelatedInstances StudyUpdateDateTime InterpretationAuthor OtherStudyNumbers
    AdmittingDiagnosesDescription PatientAge PatientSize PatientWeight PatientBodyMassIndex
    MeasuredAPDimension MeasuredLateralDimension MedicalAlerts Allergies SmokingStatus
    PregnancyStatus LastMenstrualDate PatientState Occupation AdditionalPatientHistory
    PatientSexNeutered AdmissionID ServiceEpisodeID ServiceEpisodeDescription ReasonForVisit
    StudyStatusID StudyPriorityID StudyVerifiedDate StudyVerifiedTime StudyReadDate StudyReadTime
    StudyArrivalDate StudyArrivalTime StudyCompletionDate StudyCompletionTime ReasonForStudy
    ClinicalTrialTimePointID ClinicalTrialTimePointDescription LongitudinalTemporalOffsetFromEvent
    LongitudinalTemporalEventType IssuerOfClinicalTrialTimePointID
    """
)
SERIES_OF_THE_PACS = _words(
    """
    SeriesInstanceUID SeriesNumber SeriesDescription Modality NumberOfSeriesRelatedInstances
    """
)
SERIES_BY_THEIR_INSTANCES = _words(
    """
    ProtocolName Laterality SeriesDate SeriesTime PerformingPhysicianName OperatorsName
    BodyPartExamined PatientPosition AnatomicalOrientationType PresentationIntentType
    PerformedProcedureStepID PerformedProcedureStepStartDate PerformedProcedureStepStartTime
    PerformedProcedureStepEndDate PerformedProcedureStepEndTime PerformedProcedureStepDescription
    CommentsOnThePerformedProcedureStep TreatmentSessionUID
    ClinicalTrialCoordinatingCenterName ClinicalTrialSeriesID ClinicalTrialSeriesDescription
    IssuerOfClinicalTrialSeriesID FrameOfReferenceUID PositionReferenceIndicator
    Manufacturer ManufacturerModelName ManufacturerDeviceClassUID InstitutionName
    InstitutionAddress InstitutionalDepartmentName StationName DeviceSerialNumber DeviceUID DeviceID
    GantryID SoftwareVersions SpatialResolution DateOfLastCalibration TimeOfLastCalibration
    DateOfManufacture DateOfInstallation
    """
)
"""Series and equipment modules: the same in all instances of a series."""

CONTROL = _words(
    """
    QueryRetrieveLevel SpecificCharacterSet QueryRetrieveView RetrieveAETitle InstanceAvailability
    StorageMediaFileSetID StorageMediaFileSetUID TimezoneOffsetFromUTC
    """
)
"""They steer a request or describe where something is kept: no keys."""

TAG = re.compile(
    r"\(\s*([0-9A-Fa-f]{4})\s*,\s*([0-9A-Fa-f]{4})\s*\)|([0-9A-Fa-f]{4})([0-9A-Fa-f]{4})"
)


class NoKeyError(Exception):
    """A DICOM attribute that can't be a key; the text says why."""


@functools.lru_cache(maxsize=1024)
def find_column(name: str) -> Column | None:
    """The column called `name`: a keyword, `(gggg,eeee)` or `ggggeeee`. None: no such attribute.

    Raises NoKeyError for attributes that are no C-FIND key: sequences, binary values, private ones.
    """
    if name in BY_KEYWORD:
        return BY_KEYWORD[name]
    tag = _tag_of(name)
    if tag is None:
        return None
    keyword = dictionary_keyword(tag) if _is_known(tag) else ""
    if not keyword or tag_for_keyword(keyword) != tag:
        keyword = f"{tag:08X}"
    if keyword in BY_KEYWORD:
        return BY_KEYWORD[keyword]
    _check_key(tag, keyword)
    vr = dictionary_VR(tag)
    level, composite = _place_of(keyword)
    multiple = dictionary_VM(tag) != "1" and vr not in UNDIVIDED_VRS
    return Column(keyword, level, vr, composite=composite, multiple=multiple)


def column_of(keyword: str) -> Column:
    """The column of a key that `find_column` knows. Raises KeyError."""
    try:
        column = find_column(keyword)
    except NoKeyError:
        column = None
    if column is None:
        raise KeyError("no query column")
    return column


def tag_of(keyword: str) -> int:
    """The tag of a keyword, or of eight hexadecimal digits."""
    tag = tag_for_keyword(keyword)
    return int(keyword, 16) if tag is None else tag


def keywords_of(level: Level) -> tuple[str, ...]:
    """PACSMAN's columns of a level."""
    return tuple(column.keyword for column in COLUMNS if column.level == level)


def all_keywords() -> tuple[str, ...]:
    """Every keyword of the data dictionary, to look for the nearest one."""
    return tuple(keyword for keyword in keyword_dict if keyword)


def _tag_of(name: str) -> int | None:
    tag = tag_for_keyword(name) if name else None
    if tag is not None:
        return int(tag)
    match = TAG.fullmatch(name.strip())
    if match is None:
        return None
    return int("".join(part for part in match.groups() if part), 16)


def _is_known(tag: int) -> bool:
    try:
        dictionary_VR(tag)
    except KeyError:
        return False
    return True


def _check_key(tag: int, keyword: str) -> None:
    group, element = tag >> 16, tag & 0xFFFF
    if group % 2:
        raise NoKeyError("a private attribute, which no PACS is obliged to match; remove it")
    if not _is_known(tag):
        raise NoKeyError("is not in DICOM's data dictionary; remove it")
    if group < 0x0008 or element == 0 or keyword in CONTROL:
        raise NoKeyError("steers requests or files and is no attribute to ask for; remove it")
    vr = dictionary_VR(tag)
    if vr == "SQ":
        raise NoKeyError("a sequence; ask for an attribute outside of sequences instead")
    if vr not in KEY_VRS:
        raise NoKeyError("has binary values, which can't be a key; remove it")


def _place_of(keyword: str) -> tuple[Level, bool]:
    if keyword in PATIENT_AND_STUDY:
        return "STUDY", False
    if keyword in SERIES_OF_THE_PACS:
        return "SERIES", False
    if keyword in SERIES_BY_THEIR_INSTANCES:
        return "SERIES", True
    return "IMAGE", True
