"""CT and MR images as scanners write them: some 185 elements at top level, sequences, private
blocks, and pixels that compress as real ones do. The same for the same arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage

from pacstream_cli.fake_pacs.datasets import uid_from

Modality = Literal["CT", "MR"]

PIXELS: dict[Modality, int] = {"CT": 512, "MR": 256}
"""Rows and columns."""

COMMON: dict[str, object] = {
    "SpecificCharacterSet": "ISO_IR 100",
    "InstanceCreationDate": "20240311",
    "InstanceCreationTime": "101500.120000",
    "InstanceCreatorUID": "2.25.4711",
    "StudyDate": "20240311",
    "SeriesDate": "20240311",
    "AcquisitionDate": "20240311",
    "ContentDate": "20240311",
    "AcquisitionDateTime": "20240311101530.250000",
    "StudyTime": "101500.000000",
    "SeriesTime": "101520.500000",
    "Manufacturer": "PHANTOMWORKS",
    "InstitutionName": "Bench Hospital",
    "InstitutionAddress": "1 Measuring Road, Geneva",
    "ReferringPhysicianName": "Referrer^Rita",
    "ReferringPhysicianAddress": "2 Measuring Road, Geneva",
    "ReferringPhysicianTelephoneNumbers": "022 0000001",
    "StationName": "BENCHCT01",
    "StudyDescription": "Thorax and head for measuring",
    "SeriesDescription": "Axial 1.0 soft",
    "InstitutionalDepartmentName": "Radiology",
    "PhysiciansOfRecord": "Record^Ron",
    "PerformingPhysicianName": "Performer^Pia",
    "NameOfPhysiciansReadingStudy": "Reader^Rolf",
    "OperatorsName": "Operator^Olga",
    "AdmittingDiagnosesDescription": "none",
    "ManufacturerModelName": "Ellipsoid 4",
    "PatientSex": "O",
    "PatientAge": "054Y",
    "PatientSize": "1.78",
    "PatientWeight": "78",
    "PatientAddress": "3 Measuring Road, Geneva",
    "PatientBirthName": "Geborene^Petronella",
    "PatientMotherBirthName": "Beispiel^Martha",
    "PatientTelephoneNumbers": "022 0000002",
    "MedicalAlerts": "none",
    "Allergies": "none",
    "CountryOfResidence": "CH",
    "EthnicGroup": "unknown",
    "Occupation": "Measurer",
    "SmokingStatus": "NO",
    "AdditionalPatientHistory": "A patient that never was",
    "PregnancyStatus": 4,
    "PatientComments": "Call before the next visit",
    "BodyPartExamined": "CHEST",
    "DeviceSerialNumber": "SN0815-42",
    "SoftwareVersions": ["VB20A", "VB20A_SP2"],
    "ProtocolName": "Thorax routine",
    "TriggerTime": "0",
    "DateOfLastCalibration": "20240310",
    "TimeOfLastCalibration": "060000.000000",
    "PatientPosition": "HFS",
    "AcquisitionNumber": "1",
    "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
    "Laterality": "",
    "PositionReferenceIndicator": "",
    "ImagesInAcquisition": "100",
    "ImageComments": "made by bench/images.py",
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "BitsAllocated": 16,
    "BitsStored": 12,
    "HighBit": 11,
    "PixelRepresentation": 0,
    "SmallestImagePixelValue": 0,
    "LargestImagePixelValue": 4095,
    "BurnedInAnnotation": "NO",
    "LossyImageCompression": "00",
    "WindowCenter": ["1064", "424"],
    "WindowWidth": ["400", "1500"],
    "WindowCenterWidthExplanation": ["SOFT", "LUNG"],
    "RequestingPhysician": "Asker^Anna",
    "RequestingService": "Ward 7",
    "RequestedProcedureDescription": "Thorax",
    "RequestedProcedureID": "RP0001",
    "RequestedProcedurePriority": "MEDIUM",
    "CurrentPatientLocation": "Ward 7, bed 3",
    "PerformedStationAETitle": "BENCHSTATION",
    "PerformedStationName": "BENCHCT01",
    "PerformedLocation": "Room 2",
    "PerformedProcedureStepStartDate": "20240311",
    "PerformedProcedureStepStartTime": "101500.000000",
    "PerformedProcedureStepEndDate": "20240311",
    "PerformedProcedureStepEndTime": "102500.000000",
    "PerformedProcedureStepID": "PPS0001",
    "PerformedProcedureStepDescription": "Thorax",
    "PerformedProcedureTypeDescription": "Diagnostic",
    "CommentsOnThePerformedProcedureStep": "none",
    "ScheduledProcedureStepDescription": "Thorax",
    "SpecialNeeds": "none",
}

BY_MODALITY: dict[Modality, dict[str, object]] = {
    "CT": {
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"],
        "KVP": "120",
        "DataCollectionDiameter": "500",
        "ReconstructionDiameter": "380",
        "DistanceSourceToDetector": "1085.6",
        "DistanceSourceToPatient": "595",
        "GantryDetectorTilt": "0",
        "TableHeight": "150",
        "RotationDirection": "CW",
        "ExposureTime": "500",
        "XRayTubeCurrent": "240",
        "Exposure": "120",
        "FilterType": "FLAT",
        "GeneratorPower": "29",
        "FocalSpots": "1.2",
        "ConvolutionKernel": "B31f",
        "ScanOptions": "HELIX",
        "SingleCollimationWidth": 0.6,
        "TotalCollimationWidth": 38.4,
        "TableSpeed": 46.0,
        "TableFeedPerRotation": 23.0,
        "SpiralPitchFactor": 0.6,
        "ExposureModulationType": "XYZ_EC",
        "EstimatedDoseSaving": 12.5,
        "CTDIvol": 8.1,
        "RescaleIntercept": "-1024",
        "RescaleSlope": "1",
        "RescaleType": "HU",
    },
    "MR": {
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"],
        "ScanningSequence": "GR",
        "SequenceVariant": "SP",
        "ScanOptions": "FS",
        "MRAcquisitionType": "3D",
        "SequenceName": "*fl3d1",
        "AngioFlag": "N",
        "RepetitionTime": "8.4",
        "EchoTime": "3.2",
        "NumberOfAverages": "1",
        "ImagingFrequency": "123.25",
        "ImagedNucleus": "1H",
        "EchoNumbers": "1",
        "MagneticFieldStrength": "3",
        "NumberOfPhaseEncodingSteps": "255",
        "EchoTrainLength": "1",
        "PercentSampling": "100",
        "PercentPhaseFieldOfView": "100",
        "PixelBandwidth": "240",
        "TransmitCoilName": "Body",
        "AcquisitionMatrix": [0, 256, 256, 0],
        "InPlanePhaseEncodingDirection": "ROW",
        "FlipAngle": "9",
        "VariableFlipAngleFlag": "N",
        "SAR": "0.12",
        "dBdt": "0",
        "SpacingBetweenSlices": "1",
        "TemporalPositionIdentifier": "1",
    },
}

PRIVATE: Mapping[int, str] = {
    0x0009: "PHANTOMWORKS HEADER",
    0x0019: "PHANTOMWORKS SCAN",
    0x0029: "PHANTOMWORKS OB",
}
IN_A_BLOCK = 11


@dataclass(frozen=True)
class WrittenSeries:
    """One series as files in a folder of its own. `size` is their sum in bytes."""

    folder: Path
    modality: Modality
    patient_id: str
    study_uid: str
    series_uid: str
    sop_instance_uids: tuple[str, ...]
    size: int

    @property
    def images(self) -> int:
        return len(self.sop_instance_uids)


def write_series(
    folder: Path, modality: Modality, images: int, *, patient: int = 1, number: int = 1
) -> WrittenSeries:
    """`images` slices; a patient has one study of each modality."""
    shared = _shared(modality, patient, number)
    folder = folder / f"{patient}-{modality}-{number}"
    folder.mkdir(parents=True)
    noise = np.random.default_rng(patient * 100 + number).normal(0, 12, (2, 1024 * 1024))
    body = _body(PIXELS[modality])
    uids, size = [], 0
    for index in range(images):
        _place(shared, index)
        shared.PixelData = _pixels(body, noise, index).tobytes()
        shared["PixelData"].VR = "OW"
        path = folder / f"{index:05d}.dcm"
        shared.save_as(path, enforce_file_format=True)
        uids.append(str(shared.SOPInstanceUID))
        size += path.stat().st_size
    return WrittenSeries(
        folder, modality, str(shared.PatientID), str(shared.StudyInstanceUID),
        str(shared.SeriesInstanceUID), tuple(uids), size,
    )  # fmt: skip


def _shared(modality: Modality, patient: int, number: int) -> Dataset:
    """What all slices of a series have in common."""
    dataset = Dataset()
    study = uid_from("bench study", patient, modality)
    for keyword, content in {**COMMON, **BY_MODALITY[modality]}.items():
        setattr(dataset, keyword, content)
    dataset.SOPClassUID = CTImageStorage if modality == "CT" else MRImageStorage
    dataset.Modality = modality
    dataset.PatientID = f"BENCH{patient:05d}"
    dataset.PatientName = f"Musterfrau^Petronella{patient}"
    dataset.PatientBirthDate = f"19{50 + patient % 50}0704"
    dataset.StudyInstanceUID = study
    dataset.SeriesInstanceUID = uid_from("bench series", study, number)
    dataset.FrameOfReferenceUID = uid_from("bench frame", study)
    dataset.StudyID = f"{patient}"
    dataset.AccessionNumber = f"ACC{patient:06d}"
    dataset.SeriesNumber = str(number)
    dataset.Rows = dataset.Columns = PIXELS[modality]
    dataset.PixelSpacing = [f"{380 / PIXELS[modality]:.6f}"] * 2
    dataset.SliceThickness = "1"
    _add_sequences(dataset)
    _add_private_blocks(dataset)
    return dataset


def _add_sequences(dataset: Dataset) -> None:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "T-D3000", "SRT", "Chest"
    other = Dataset()
    other.PatientID, other.TypeOfPatientID = f"OLD-{dataset.PatientID}", "TEXT"
    request = Dataset()
    request.AccessionNumber = dataset.AccessionNumber
    request.ReferencedStudySequence = Sequence([_reference(dataset.StudyInstanceUID)])
    request.RequestedProcedureDescription = f"Thorax for {dataset.PatientName}"
    request.RequestedProcedureCodeSequence = Sequence([code])
    request.ScheduledProcedureStepID = "SPS0001"
    request.ScheduledProtocolCodeSequence = Sequence([code])
    dataset.ProcedureCodeSequence = Sequence([code])
    dataset.AnatomicRegionSequence = Sequence([code])
    dataset.PerformedProtocolCodeSequence = Sequence([code])
    dataset.RequestedProcedureCodeSequence = Sequence([code])
    dataset.OtherPatientIDsSequence = Sequence([other])
    dataset.RequestAttributesSequence = Sequence([request])
    dataset.ReferencedStudySequence = Sequence([_reference(dataset.StudyInstanceUID)])
    dataset.ReferencedImageSequence = Sequence(
        [_reference(uid_from("bench localizer", dataset.StudyInstanceUID, n)) for n in range(3)]
    )


def _reference(uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CTImageStorage, uid
    return item


def _add_private_blocks(dataset: Dataset) -> None:
    for group, creator in PRIVATE.items():
        block = dataset.private_block(group, creator, create=True)
        for element in range(1, IN_A_BLOCK + 1):
            if group == 0x0029 and element <= 2:
                block.add_new(element, "OB", bytes(range(256)) * 12)
            elif element % 3:
                block.add_new(element, "LO", f"{creator} {element}")
            else:
                block.add_new(element, "FD", element / 7)


def _place(dataset: Dataset, index: int) -> None:
    """What differs from slice to slice."""
    dataset.SOPInstanceUID = uid_from("bench image", dataset.SeriesInstanceUID, index)
    dataset.InstanceNumber = str(index + 1)
    dataset.ImagePositionPatient = ["-190", "-190", str(index)]
    dataset.SliceLocation = str(index)
    moment = f"10{15 + index // 60 % 45:02d}{index % 60:02d}.000000"
    dataset.AcquisitionTime = dataset.ContentTime = moment
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta = meta


def _body(pixels: int) -> NDArray[np.float64]:
    """Ellipses of soft tissue, lung and bone in air; 12 bits."""
    y, x = np.ogrid[-1 : 1 : pixels * 1j, -1 : 1 : pixels * 1j]
    image = np.full((pixels, pixels), 40.0)
    for level, cx, cy, rx, ry in (
        (1060, 0, 0, 0.85, 0.65), (180, -0.35, -0.05, 0.3, 0.42), (180, 0.35, -0.05, 0.3, 0.42),
        (1900, 0, 0.4, 0.12, 0.14), (1100, 0.05, -0.1, 0.2, 0.22),
    ):  # fmt: skip
        image[((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1] = level
    return image * (1 + 0.03 * x * y)


def _pixels(
    body: NDArray[np.float64], noise: NDArray[np.float64], index: int
) -> NDArray[np.uint16]:
    """A slice of its own: the body grows with `index`, and the noise starts elsewhere."""
    start = index * 7919 % (noise.shape[1] - body.size)
    grain = noise[index % 2, start : start + body.size].reshape(body.shape)
    return (body * (1 + 0.002 * (index % 50)) + grain).clip(0, 4095).astype("<u2")
