"""Small, valid CT and MR instances, the same for the same arguments."""

from __future__ import annotations

import copy
import hashlib
import random
from collections.abc import Iterator

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

STORAGE = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
}
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def uid_from(*parts: object) -> str:
    """A UID below 2.25 that depends on `parts` only."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:15], 'big')}"


def make_series(
    patient_id: str = "P1",
    patient_name: str = "Doe^Jane",
    study_uid: str = "",
    series_uid: str = "",
    modality: str = "CT",
    instances: int = 5,
    rows: int = 16,
    *,
    seed: int = 0,
    birth_date: str = "19700203",
    study_date: str = "20200102",
    study_time: str = "101112",
    study_description: str = "Head",
    accession_number: str = "A1",
    series_number: int | str = 1,
    series_description: str = "Axial",
    protocol_name: str = "Routine head",
    device_serial_number: str = "SN1",
    acquisition_date: str = "20200102",
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "AXIAL"),
    sequence_name: str = "*fl3d1",
    charset: str = "ISO_IR 192",
) -> list[Dataset]:
    """One series of `instances` slices of `rows` x `rows` pixels of 16 bits.

    Without UIDs the study follows from patient and seed, the series from study, number and
    description.
    """
    study = study_uid or uid_from("study", seed, patient_id)
    series = series_uid or uid_from("series", study, series_number, series_description)
    shared = Dataset()
    shared.SpecificCharacterSet = charset
    shared.PatientID = patient_id
    shared.PatientName = patient_name
    shared.PatientBirthDate = birth_date
    shared.PatientSex = "O"
    shared.StudyInstanceUID = study
    shared.StudyDate = study_date
    shared.StudyTime = study_time
    shared.StudyID = "1"
    shared.StudyDescription = study_description
    shared.AccessionNumber = accession_number
    shared.ReferringPhysicianName = ""
    shared.SeriesInstanceUID = series
    shared.SeriesNumber = str(series_number)
    shared.SeriesDescription = series_description
    shared.Modality = modality
    shared.ProtocolName = protocol_name
    shared.Manufacturer = "pacstream"
    shared.DeviceSerialNumber = device_serial_number
    shared.FrameOfReferenceUID = uid_from("frame", study)
    shared.PositionReferenceIndicator = ""
    shared.AcquisitionDate = acquisition_date
    shared.ImageType = list(image_type)
    if modality == "MR":
        shared.SequenceName = sequence_name
        shared.ScanningSequence = "GR"
        shared.SequenceVariant = "NONE"
        shared.ScanOptions = ""
        shared.MRAcquisitionType = "3D"
        shared.EchoTime = "3"
        shared.RepetitionTime = "8"
        shared.EchoTrainLength = "1"
    else:
        shared.KVP = "120"
        shared.RescaleIntercept = "-1024"
        shared.RescaleSlope = "1"
    return [_slice(shared, index, rows) for index in range(instances)]


def _slice(shared: Dataset, index: int, rows: int) -> Dataset:
    dataset = Dataset()
    dataset.update(shared)
    dataset.SOPClassUID = STORAGE.get(shared.Modality, SECONDARY_CAPTURE)
    dataset.SOPInstanceUID = uid_from("instance", shared.SeriesInstanceUID, index)
    dataset.InstanceNumber = str(index + 1)
    dataset.AcquisitionNumber = "1"
    dataset.ImagePositionPatient = ["0", "0", str(2 * index)]
    dataset.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    dataset.PixelSpacing = ["1", "1"]
    dataset.SliceThickness = "2"
    dataset.SliceLocation = str(2 * index)
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows = rows
    dataset.Columns = rows
    dataset.BitsAllocated = 16
    dataset.BitsStored = 12
    dataset.HighBit = 11
    dataset.PixelRepresentation = 0
    noise = random.Random(dataset.SOPInstanceUID)
    dataset.PixelData = _twelve_bits(noise.randbytes(2 * rows * rows))
    dataset["PixelData"].VR = "OW"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = "2.25.1"
    dataset.file_meta = meta
    return dataset


def _twelve_bits(pixels: bytes) -> bytes:
    """16-bit little endian values with their high four bits cleared."""
    mask = int.from_bytes(b"\xff\x0f" * (len(pixels) // 2), "little")
    return (int.from_bytes(pixels, "little") & mask).to_bytes(len(pixels), "little")


def generated(
    patients: int, series: int, instances: int, kilobytes: int = 1, *, seed: int = 0
) -> Iterator[Dataset]:
    """`patients` x `series` x `instances` images, each of about `kilobytes` of pixels.

    The patients are FAKE0001, FAKE0002, ...; each has one study, of a day of its own.
    """
    rows = max(8, round((kilobytes * 512) ** 0.5))
    for patient in range(1, patients + 1):
        for number in range(1, series + 1):
            yield from make_series(
                patient_id=f"FAKE{patient:04d}",
                patient_name=f"Fake^Patient {patient}",
                instances=instances,
                rows=rows,
                seed=seed,
                study_date=f"2020{1 + (patient - 1) // 28 % 12:02d}{1 + (patient - 1) % 28:02d}",
                accession_number=f"A{patient}",
                series_number=number,
                series_description=f"Series {number}",
            )


def compressed(dataset: Dataset) -> Dataset:
    """A copy with the same pixels as RLE Lossless; the dataset itself if it has none."""
    if "PixelData" not in dataset or dataset.file_meta.TransferSyntaxUID.is_compressed:
        return dataset
    result = copy.deepcopy(dataset)
    result.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    return result


def with_other_pixels(dataset: Dataset) -> Dataset:
    """A copy that claims to be the same instance; its last pixel byte differs."""
    result = copy.deepcopy(dataset)
    pixels = bytes(result.PixelData)
    result.PixelData = pixels[:-1] + bytes([pixels[-1] ^ 1])
    return result
