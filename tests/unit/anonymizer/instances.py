"""Instances made by code, and orders that fit them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from pacstream.messages import Actions, Order, Series
from pacstream.pseudonyms import ProjectKey
from pacstream_anonymizer.deidentifier import Released, Withheld, deidentify_instance
from pacstream_anonymizer.profile import DEFAULT, Profile

KEY = ProjectKey(bytes(range(32)))
STUDY, SERIES, INSTANCE = "1.2.826.0.1.77.1", "1.2.826.0.1.77.1.2", "1.2.826.0.1.77.1.2.3"


def an_instance(**attributes: Any) -> Dataset:
    """A small CT image of a patient who has all that must not get out."""
    data_set = Dataset()
    data_set.SOPClassUID = CTImageStorage
    data_set.SOPInstanceUID = INSTANCE
    data_set.StudyInstanceUID = STUDY
    data_set.SeriesInstanceUID = SERIES
    data_set.FrameOfReferenceUID = "1.2.826.0.1.77.9"
    data_set.Modality = "CT"
    data_set.PatientName = "Quixotesson^Ambrosius"
    data_set.PatientID = "MRN-88213"
    data_set.PatientBirthDate = "19410307"
    data_set.PatientSex = "F"
    data_set.PatientAge = "083Y"
    data_set.AccessionNumber = "ACC-55120"
    data_set.ReferringPhysicianName = "Doctorow^Hilda"
    data_set.StudyDate = "20240229"
    data_set.StudyTime = "101530"
    data_set.SeriesDescription = "seen by Quixotesson"
    data_set.Manufacturer = "SIEMENS"
    data_set.Rows = data_set.Columns = 4
    data_set.SamplesPerPixel = 1
    data_set.PhotometricInterpretation = "MONOCHROME2"
    data_set.BitsAllocated = data_set.BitsStored = 16
    data_set.HighBit = 15
    data_set.PixelRepresentation = 0
    data_set.PixelData = bytes(range(32))
    for keyword, value in attributes.items():
        setattr(data_set, keyword, value)
    return data_set


def saved(data_set: Dataset, path: Path, transfer_syntax: str = ExplicitVRLittleEndian) -> Path:
    """Write a Part 10 file that names a sender in its preamble and file meta."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = transfer_syntax
    meta.MediaStorageSOPClassUID = data_set.SOPClassUID
    meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    meta.SourceApplicationEntityTitle = "QUIXOTE_AE"
    data_set.file_meta = meta
    data_set.preamble = b"Quixotesson".ljust(128, b"\0")
    path.parent.mkdir(parents=True, exist_ok=True)
    data_set.save_as(path, enforce_file_format=True)
    return path


def order_for(data_set: Dataset, out: Path = Path("out"), **changes: Any) -> Order:
    """The order that the query would have made for this instance's series."""

    def text(keyword: str, default: str = "") -> str:
        return str(data_set.get(keyword) or default)

    order = Order(
        batch_id="batch-1",
        series=Series(
            study_uid=text("StudyInstanceUID", "1.2.3"),
            series_uid=text("SeriesInstanceUID", "1.2.3.4"),
            patient_id=text("PatientID"),
            study_date=text("StudyDate"),
            study_time=text("StudyTime"),
        ),
        actions=Actions(anonymize=True),
        project="trial",
        out=str(out),
        subject="sub-x",
        session="ses-x",
        folder="f",
        release_folder="001-CT",
    )
    return order.model_copy(update=changes)


def result_of(
    data_set: Dataset,
    folder: Path,
    transfer_syntax: str = ExplicitVRLittleEndian,
    profile: Profile = DEFAULT,
) -> Released | Withheld:
    source = saved(data_set, folder / "in" / "source.dcm", transfer_syntax)
    order = order_for(data_set)
    return deidentify_instance(source, order, KEY, folder / "out", profile=profile)


def released_path(
    data_set: Dataset,
    folder: Path,
    transfer_syntax: str = ExplicitVRLittleEndian,
    profile: Profile = DEFAULT,
) -> Path:
    result = result_of(data_set, folder, transfer_syntax, profile)
    assert isinstance(result, Released), result
    return result.path


def released(
    data_set: Dataset,
    folder: Path,
    transfer_syntax: str = ExplicitVRLittleEndian,
    profile: Profile = DEFAULT,
) -> Dataset:
    return dcmread(released_path(data_set, folder, transfer_syntax, profile))


def reason(data_set: Dataset, folder: Path, profile: Profile = DEFAULT) -> str:
    result = result_of(data_set, folder, profile=profile)
    assert isinstance(result, Withheld), result
    assert not list((folder / "out").rglob("*.dcm"))
    return result.reason
