"""The columns that a query CSV may have, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["STUDY", "SERIES", "IMAGE"]


@dataclass(frozen=True)
class Column:
    """A DICOM keyword, its value representation and the C-FIND level it belongs to.

    `level` STUDY and SERIES: sent as a key at that level and checked again in the answers. IMAGE:
    asked as a return key for the candidate series and matched here, because the same answers list
    all instances of a series, and because PACSs disagree on matching multi-valued ImageType.
    `composite`: an attribute of the instances that few PACSs keep for a series (PS3.4 section
    C.6.1.1.3 does not list it): where the SERIES answer is silent, the IMAGE answers decide.
    """

    keyword: str
    level: Level
    vr: str
    composite: bool = False


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
    Column("ImageType", "IMAGE", "CS", composite=True),
    Column("SeriesNumber", "SERIES", "IS"),
    Column("StudyDescription", "STUDY", "LO"),
    Column("AccessionNumber", "STUDY", "SH"),
    Column("SequenceName", "IMAGE", "SH", composite=True),
)
"""In the order of PACSMAN's list."""

BY_KEYWORD: dict[str, Column] = {column.keyword: column for column in COLUMNS}

NOT_SUPPORTED_YET: dict[str, str] = {
    "new_ids": "pseudonyms per row are not supported yet; remove the column",
}
"""Columns that PACSMAN knows and we do not, with what to tell the user."""


def keywords_of(level: Level) -> tuple[str, ...]:
    return tuple(column.keyword for column in COLUMNS if column.level == level)
