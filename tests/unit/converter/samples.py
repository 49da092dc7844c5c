"""Series on disk, as the store SCP leaves them, with planted identifiers."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage

from pacstream.archive import Archive
from pacstream.messages import Actions, Order, Series, SeriesConverted, SeriesReceived
from pacstream_converter.conversion import convert_series
from pacstream_converter.dcm2niix import Dcm2niix

STUDY_UID = "1.2.826.0.1.4711.1"
SERIES_UID = "1.2.826.0.1.4711.2"
SIZE = 32

PLANTED = {
    "PatientName": "QUILLFEATHER^ANASTASIA",
    "PatientID": "PID00770077",
    "PatientBirthDate": "19450203",
    "AccessionNumber": "ACC5550123",
    "ReferringPhysicianName": "REFERRER^DOC",
    "OperatorsName": "OPERATOR^ONE",
    "InstitutionName": "MOUNT PLANTED HOSPITAL",
    "InstitutionAddress": "13 PLANTED ROAD",
    "InstitutionalDepartmentName": "PLANTED DEPT",
    "StationName": "PLANTSTATION",
    "DeviceSerialNumber": "PLANTSERIAL",
    "StudyID": "PLANTSTUDY",
    "StudyDescription": "PLANTED STUDY OF ANASTASIA",
    "SeriesDescription": "PLANTED SERIES WORDS",
    "ProtocolName": "PLANTED PROTOCOL",
    "PerformedProcedureStepDescription": "PLANTED STEP",
    "ImageComments": "PLANTED COMMENT ANASTASIA",
    "StudyDate": "20200102",
    "SeriesDate": "20200102",
    "AcquisitionDate": "20200102",
    "ContentDate": "20200102",
    "StudyTime": "102300.25",
    "SeriesTime": "102300.25",
    "AcquisitionTime": "102300.25",
    "ContentTime": "102300.25",
}

StoreSeries = Callable[..., None]

ECHOES = (
    *("QUILLFEATHER", "ANASTASIA", "PLANT", "REFERRER", "OPERATOR", "HOSPITAL"),
    *("770077", "5550123", "19450203", "20200102", "102300", "10:23", STUDY_UID, SERIES_UID),
)
"""What none of the release's products may hold."""

SCANNERS: dict[str, dict[str, object]] = {
    "CT": {
        "SOPClassUID": CTImageStorage,
        "ConvolutionKernel": "Br40",
        "KVP": "120",
        "RescaleSlope": "1",
        "RescaleIntercept": "-1024",
    },
    "MR": {
        "SOPClassUID": MRImageStorage,
        "MRAcquisitionType": "3D",
        "ScanningSequence": "GR",
        "SequenceVariant": "SP",
        "SequenceName": "*tfl3d1",
        "EchoTime": "3",
        "RepetitionTime": "8",
        "FlipAngle": "9",
        "MagneticFieldStrength": "3",
        "ReceiveCoilName": "PLANTCOIL",
    },
}


def image(modality: str, number: int) -> Dataset:
    """Slice `number` (from 0) of an axial volume, 1 x 1 x 2 mm."""
    ds = Dataset()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = STUDY_UID, SERIES_UID
    ds.FrameOfReferenceUID = "1.2.826.0.1.4711.9"
    ds.SOPInstanceUID = f"1.2.826.0.1.4711.3.{number + 1}"
    ds.Modality, ds.Manufacturer, ds.ManufacturerModelName = modality, "SIEMENS", "Model"
    ds.SoftwareVersions, ds.BodyPartExamined, ds.PatientPosition = "syngo", "HEAD", "HFS"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SeriesNumber, ds.AcquisitionNumber, ds.InstanceNumber = 4, 1, number + 1
    for keyword, value in {**SCANNERS[modality], **PLANTED}.items():
        setattr(ds, keyword, value)
    ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-16, -16, 2 * number]
    ds.PixelSpacing, ds.SliceThickness = [1, 1], 2
    ds.Rows = ds.Columns = SIZE
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    pixels = np.random.default_rng(number).integers(0, 1000, (SIZE, SIZE))
    ds.PixelData = pixels.astype("<i2").tobytes()
    return ds


def write(
    ds: Dataset, path: Path | BinaryIO, transfer_syntax: str = ExplicitVRLittleEndian
) -> None:
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = transfer_syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.save_as(path, enforce_file_format=True)


@dataclass
class Bench:
    """An archive with one series, and the order to convert it."""

    archive: Archive
    out: Path
    uids: list[str] = field(default_factory=list)

    def store(self, ds: Dataset) -> None:
        """Put one instance where the store SCP puts it."""
        path = self._path(str(ds.SOPInstanceUID))
        write(ds, path)

    def store_file(self, source: Path) -> None:
        """Put a real file there; its own SOP Instance UID names it."""
        content = source.read_bytes()
        if source.suffix == ".gz":
            content = gzip.decompress(content)
        part = self.archive.root / "part"
        part.write_bytes(content)
        uid = str(pydicom.dcmread(part, stop_before_pixels=True).SOPInstanceUID)
        shutil.move(part, self._path(uid))

    def store_bytes(self, uid: str, content: bytes) -> None:
        self._path(uid).write_bytes(content)

    def _path(self, uid: str) -> Path:
        self.uids.append(uid)
        return self.archive.instance_path(SERIES_UID, uid)

    def order(self, *, anonymize: bool, **changes: object) -> Order:
        order = Order(
            batch_id="batch-1",
            series=Series(
                study_uid=STUDY_UID,
                series_uid=SERIES_UID,
                patient_id=PLANTED["PatientID"],
                study_date=PLANTED["StudyDate"],
                study_time=PLANTED["StudyTime"],
                description=PLANTED["SeriesDescription"],
            ),
            actions=Actions(convert=True, anonymize=anonymize),
            project="trial" if anonymize else "",
            out=str(self.out),
            subject="sub-PID00770077",
            session="ses-20200102102300.25",
            folder="00004-PLANTED_SERIES_WORDS",
            release_folder="00004-MR",
        )
        return order.model_copy(update=changes)

    def convert(
        self, *, anonymize: bool = True, converter: Dcm2niix | None = None, **changes: object
    ) -> SeriesConverted:
        message = SeriesReceived(
            batch_id="batch-1",
            order=self.order(anonymize=anonymize, **changes),
            instances=tuple(self.uids),
        )
        return convert_series(message, self.archive, converter or Dcm2niix(timeout_s=60))

    def products(self) -> dict[str, bytes]:
        """Every file below the output folder, unzipped, by its path."""
        found = {
            str(path.relative_to(self.out)): path.read_bytes()
            for path in self.out.rglob("*")
            if path.is_file()
        }
        return {
            name: gzip.decompress(content) if name.endswith(".gz") else content
            for name, content in found.items()
        }
