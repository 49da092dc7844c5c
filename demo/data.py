"""The demo's DICOM files: phantoms drawn by code, and real files that Python packages ship.

All are made identifiable on purpose: names, IDs, dates and places are planted at the top level, in
sequences and in private elements, and listed in the manifest, so that a test can look for leaks.
The result is the same on every run.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

import numpy as np
import pydicom.data
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, RLELossless

Origin = Literal["phantom", "package", "withheld"]
"""`withheld`: secondary captures, structured reports, radiotherapy objects and the like."""


class Instance(BaseModel):
    """One file of the demo; `path` is absolute."""

    model_config = ConfigDict(frozen=True)

    path: Path
    origin: Origin
    patient_id: str
    study_uid: str
    series_uid: str
    sop_instance_uid: str
    modality: str
    study_date: str
    series_number: str
    series_description: str
    transfer_syntax: str


class Manifest(BaseModel):
    """All files, and every identifier that was planted in them (each at least 6 characters)."""

    model_config = ConfigDict(frozen=True)

    recipe: str
    identifiers: tuple[str, ...]
    instances: tuple[Instance, ...]

    @property
    def paths(self) -> list[Path]:
        return [instance.path for instance in self.instances]

    def series(self, patient_id: str) -> dict[str, list[Instance]]:
        """The patient's instances by Series Instance UID."""
        found: dict[str, list[Instance]] = {}
        for instance in self.instances:
            if instance.patient_id == patient_id:
                found.setdefault(instance.series_uid, []).append(instance)
        return found


@dataclass(frozen=True)
class Patient:
    patient_id: str
    name: str
    birth_date: str
    sex: str
    charset: str = "ISO_IR 100"

    @property
    def other_id(self) -> str:
        return f"OLD-{_digits(self.patient_id, 7)}"

    @property
    def telephone(self) -> str:
        return f"079 {_digits(self.name, 7)}"


@dataclass(frozen=True)
class Study:
    patient: Patient
    date: str
    time: str
    description: str

    @property
    def uid(self) -> str:
        return uid("study", self.patient.patient_id, self.date, self.time)

    @property
    def accession(self) -> str:
        return f"ACC{_digits(self.uid, 9)}"


@dataclass(frozen=True)
class Phantom:
    """A series to draw: `slices` images of `size` x `size` pixels. `twin` tells apart two series
    of the same number and description."""

    number: int
    description: str
    modality: Literal["CT", "MR"]
    slices: int
    size: int = 128
    twin: int = 0
    compressed: bool = False


@dataclass(frozen=True)
class Borrowed:
    """A series of files from packages, given to one of the demo's patients."""

    number: int
    description: str
    names: tuple[str, ...]
    origin: Origin = "package"


ROSALIND = Patient("HX4471-A-1", "Quillfeather^Rosalind", "19530611", "F")
BERTRAND = Patient("HX4471-A_1", "Quillfeather^Bertrand", "19491203", "M")
LUCJA = Patient("PS-004217", "Wiśniewska^Łucja", "19880229", "F", "ISO_IR 192")
AMARA = Patient("774-20-9981", "Okonkwo-Hartigan^Amara", "19710917", "F")
THADDEUS = Patient("0031777204", "Brinkerhoff^Thaddeus", "20110405", "M")
IGNATIUS = Patient("KV-300812", "Vandersloot^Ignatius", "19660130", "M")
CASSIUS = Patient("WW-775511", "Yarborough^Cassius", "19320708", "M")

INSTITUTION = "Ermentrude Infirmary of Vexholm"
ADDRESS = "17 Larkspur Crescent, Vexholm"
OPERATOR = "Grubenwald^Horst"
PHYSICIAN = "Featherstonehaugh^Ottoline"
STATION = "VEXCT03-BASEMENT"
SERIAL_NUMBER = "SN-66120945"

PHANTOMS: dict[Study, tuple[Phantom, ...]] = {
    Study(ROSALIND, "20220311", "091530", "CT Schädel"): (
        Phantom(1, "Topogramm", "CT", 2),
        Phantom(2, "Schädel nativ 5.0 H30s", "CT", 30),
        Phantom(3, "Crâne osseux 1.0", "CT", 36, size=192),
    ),
    Study(ROSALIND, "20220518", "140210", "MR Brain"): (
        Phantom(1, "Localizer", "MR", 3),
        Phantom(2, "T1 MPRAGE sag", "MR", 36),
        Phantom(3, "T2 TSE tra", "MR", 24),
        Phantom(4, "DWI b1000", "MR", 16, twin=1),
        Phantom(4, "DWI b1000", "MR", 16, twin=2),
    ),
    Study(BERTRAND, "20220311", "101500", "CT Thorax"): (
        Phantom(1, "Topogram", "CT", 2),
        Phantom(2, "Thorax 3.0 B70f", "CT", 40),
        Phantom(3, "Thorax 3.0 B31f", "CT", 40),
    ),
    Study(LUCJA, "20230102", "074500", "MR Knee"): (
        Phantom(1, "Localizer", "MR", 3),
        Phantom(2, "PD FS sag", "MR", 24),
        Phantom(3, "T1 cor", "MR", 20, compressed=True),
    ),
    Study(AMARA, "20210604", "113000", "CT Abdomen"): (
        Phantom(1, "Topogram", "CT", 1),
        Phantom(2, "Abdomen venous 5.0", "CT", 40),
        Phantom(3, "Abdomen coronal MPR", "CT", 24, size=192),
    ),
    Study(AMARA, "20220604", "120000", "MR Liver"): (
        Phantom(2, "T2 HASTE", "MR", 24),
        Phantom(3, "T1 VIBE pre", "MR", 32),
        Phantom(4, "T1 VIBE post", "MR", 32),
    ),
    Study(AMARA, "20230606", "081501.250000", "MR Liver follow-up"): (
        Phantom(2, "T2 HASTE", "MR", 24),
        Phantom(3, "T1 VIBE/post 20min", "MR", 32),
    ),
    Study(THADDEUS, "20230715", "160000", "MR Brain"): (
        Phantom(1, "", "MR", 3),
        Phantom(2, "T1 MPRAGE sag", "MR", 32, size=192),
        Phantom(3, "FLAIR tra", "MR", 24),
    ),
    Study(THADDEUS, "20230716", "093000", "CT Temporal bones"): (
        Phantom(2, "Felsenbein 0.6", "CT", 32, size=192, compressed=True),
    ),
}

BORROWED: dict[Study, tuple[Borrowed, ...]] = {
    Study(IGNATIUS, "20190808", "101010", "Mixed modalities"): (
        Borrowed(1, "DTI mosaic", ("0.dcm", "1.dcm")),
        Borrowed(2, "DTI mosaic second run", ("siemens_dwi_0.dcm.gz", "siemens_dwi_1000.dcm.gz")),
        Borrowed(3, "Chest PA", ("RG3_J2KR.dcm",)),
        Borrowed(4, "Bone scan", ("JPEG-LL.dcm",)),
        Borrowed(5, "MR lossless", ("MR_small_jp2klossless.dcm",)),
        Borrowed(6, "MR enhanced", ("emri_small_RLE.dcm",)),
        Borrowed(7, "CT single slice", ("CT_small.dcm",)),
    ),
    Study(CASSIUS, "20180503", "153000", "Not for release"): (
        Borrowed(1, "Screen capture", ("SC_rgb.dcm",), "withheld"),
        Borrowed(2, "Ultrasound", ("US1_J2KR.dcm",), "withheld"),
        Borrowed(3, "Report", ("test-SR.dcm",), "withheld"),
        Borrowed(4, "Image report", ("reportsi.dcm",), "withheld"),
        Borrowed(5, "Plan", ("rtplan.dcm",), "withheld"),
        Borrowed(6, "Dose", ("rtdose.dcm",), "withheld"),
        Borrowed(7, "Segmentation", ("liver_1frame.dcm",), "withheld"),
        Borrowed(8, "Electrocardiogram", ("waveform_ecg.dcm",), "withheld"),
    ),
}

UNCHANGED = ("dicomdirtests/77654033", "dicomdirtests/98892001", "dicomdirtests/98892003")
"""Folders of pydicom's file set that are copied byte for byte: two patients of one surname."""

IDENTIFYING = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "AccessionNumber",
    "InstitutionName",
    "OperatorsName",
    "ReferringPhysicianName",
)


def uid(*parts: object) -> str:
    """A UID below 2.25 (PS3.5 section B.2) that depends on `parts` alone."""
    digest = hashlib.sha256("\n".join(map(str, parts)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def _digits(text: str, count: int) -> str:
    return str(int(hashlib.sha256(text.encode()).hexdigest(), 16))[:count]


def build(folder: Path) -> Manifest:
    """Make the files below `folder`, unless this very recipe has made them before."""
    recipe = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    finished = folder / "manifest.json"
    if finished.exists():
        manifest = Manifest.model_validate_json(finished.read_text("utf-8"))
        if manifest.recipe == recipe and all(path.exists() for path in manifest.paths):
            return manifest
    images = folder.absolute() / "images"
    shutil.rmtree(images, ignore_errors=True)
    finished.unlink(missing_ok=True)
    instances = tuple(_all_instances(images))
    manifest = Manifest(
        recipe=recipe, identifiers=_planted_identifiers(instances), instances=instances
    )
    part = finished.with_suffix(".part")
    part.write_text(manifest.model_dump_json(indent=1), "utf-8")
    part.replace(finished)
    return manifest


def _all_instances(images: Path) -> Iterator[Instance]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's test files break rules on purpose
        for study, phantoms in PHANTOMS.items():
            for phantom in phantoms:
                yield from _write_phantom(images, study, phantom)
        for study, several in BORROWED.items():
            for borrowed in several:
                yield from _write_borrowed(images, study, borrowed)
        for source in _unchanged_files():
            yield _copy(images, source)


def _planted_identifiers(instances: Iterable[Instance]) -> tuple[str, ...]:
    found = {INSTITUTION, ADDRESS, OPERATOR, PHYSICIAN, STATION, SERIAL_NUMBER}
    for study in (*PHANTOMS, *BORROWED):
        patient = study.patient
        found |= {patient.patient_id, patient.name, patient.birth_date, study.accession}
        if study in PHANTOMS:
            found |= {patient.other_id, patient.telephone}
    for path in {str(i.path) for i in instances if i.patient_id in ("77654033", "98890234")}:
        dataset = dcmread(path, stop_before_pixels=True)
        found |= {str(dataset.get(keyword, "")) for keyword in IDENTIFYING}
    found |= {part for name in found if "^" in name for part in name.split("^")}
    return tuple(sorted(text for text in found if len(text) >= 6))


def _write_phantom(images: Path, study: Study, phantom: Phantom) -> Iterator[Instance]:
    series_uid = uid(study.uid, phantom.number, phantom.description, phantom.twin)
    volume = _draw(phantom, seed=int(_digits(series_uid, 9)))
    for index, pixels in enumerate(volume):
        dataset = _identified(study)
        _describe_series(dataset, study, phantom, series_uid)
        _place(dataset, phantom, index)
        _fill(dataset, phantom, pixels)
        dataset.SOPInstanceUID = uid(series_uid, index)
        dataset.InstanceNumber = index + 1
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        if phantom.compressed:
            # pydicom's own encoder: another one that happens to be installed writes other bytes
            dataset.compress(RLELossless, generate_instance_uid=False, encoding_plugin="pydicom")
        yield _save(dataset, images, "phantom")


def _identified(study: Study) -> Dataset:
    """A data set that tells who the patient is in as many places as a real one does."""
    patient = study.patient
    dataset = Dataset()
    dataset.SpecificCharacterSet = patient.charset
    _name_patient(dataset, study)
    dataset.PatientSex = patient.sex
    dataset.PatientAge = f"{int(study.date[:4]) - int(patient.birth_date[:4]):03d}Y"
    dataset.PatientAddress = ADDRESS
    dataset.PatientTelephoneNumbers = patient.telephone
    dataset.PatientComments = f"Call {patient.telephone} before the next visit of {patient.name}"
    dataset.InstitutionAddress = ADDRESS
    dataset.StationName = STATION
    dataset.DeviceSerialNumber = SERIAL_NUMBER
    dataset.OperatorsName = OPERATOR
    dataset.ReferringPhysicianName = PHYSICIAN
    dataset.OtherPatientIDsSequence = Sequence([Dataset()])
    dataset.OtherPatientIDsSequence[0].PatientID = patient.other_id
    dataset.OtherPatientIDsSequence[0].TypeOfPatientID = "TEXT"
    request = Dataset()
    request.AccessionNumber = study.accession
    request.RequestingPhysician = PHYSICIAN
    request.RequestedProcedureDescription = f"{study.description} for {patient.name}"
    request.ReferencedPatientSequence = Sequence([Dataset()])
    request.ReferencedPatientSequence[0].PatientName = patient.name
    request.ReferencedPatientSequence[0].PatientID = patient.patient_id
    dataset.RequestAttributesSequence = Sequence([request])
    block = dataset.private_block(0x0029, "PACSTREAM DEMO", create=True)
    block.add_new(0x01, "LO", patient.name)
    block.add_new(0x02, "DA", patient.birth_date)
    return dataset


def _name_patient(dataset: Dataset, study: Study) -> None:
    dataset.PatientName = study.patient.name
    dataset.PatientID = study.patient.patient_id
    dataset.PatientBirthDate = study.patient.birth_date
    dataset.AccessionNumber = study.accession
    dataset.InstitutionName = INSTITUTION
    dataset.StudyInstanceUID = study.uid
    dataset.StudyDate = study.date
    dataset.StudyTime = study.time
    dataset.StudyDescription = study.description
    dataset.StudyID = _digits(study.uid, 6)


def _describe_series(dataset: Dataset, study: Study, phantom: Phantom, series_uid: str) -> None:
    dataset.SOPClassUID = CTImageStorage if phantom.modality == "CT" else MRImageStorage
    dataset.Modality = phantom.modality
    dataset.SeriesInstanceUID = series_uid
    dataset.SeriesNumber = phantom.number
    dataset.SeriesDescription = phantom.description
    dataset.ProtocolName = phantom.description or "Protocol"
    for kind in ("Series", "Acquisition", "Content"):
        setattr(dataset, f"{kind}Date", study.date)
        setattr(dataset, f"{kind}Time", study.time)
    dataset.Manufacturer = "PHANTOMWORKS"
    dataset.ManufacturerModelName = "Ellipsoid 3"
    dataset.PatientPosition = "HFS"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL" if phantom.modality == "CT" else "M"]
    if phantom.modality == "CT":
        dataset.KVP = 120
        dataset.ConvolutionKernel = "H30s"
        dataset.RescaleIntercept = -1024
        dataset.RescaleSlope = 1
        dataset.RescaleType = "HU"
        return
    dataset.ScanningSequence = "GR"
    dataset.SequenceVariant = "SP"
    dataset.ScanOptions = ""
    dataset.MRAcquisitionType = "2D"
    dataset.SequenceName = "*fl2d1"
    dataset.MagneticFieldStrength = 3
    dataset.RepetitionTime = 500 + 100 * phantom.number
    dataset.EchoTime = 10 + phantom.number
    dataset.FlipAngle = 70


def _place(dataset: Dataset, phantom: Phantom, index: int) -> None:
    """Axial slices, 2 mm apart, 240 mm wide (PS3.3 section C.7.6.2)."""
    z = 2.0 * index - phantom.slices
    dataset.FrameOfReferenceUID = uid(dataset.StudyInstanceUID, "frame of reference")
    dataset.PositionReferenceIndicator = ""
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = [-120, -120, z]
    dataset.SliceLocation = z
    dataset.SliceThickness = 2
    dataset.SpacingBetweenSlices = 2
    dataset.PixelSpacing = [240 / phantom.size, 240 / phantom.size]
    dataset.AcquisitionNumber = 1


def _fill(dataset: Dataset, phantom: Phantom, pixels: NDArray[np.int16]) -> None:
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows = dataset.Columns = phantom.size
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 1
    dataset.WindowCenter, dataset.WindowWidth = (
        (40, 400) if phantom.modality == "CT" else (500, 1000)
    )
    dataset.PixelData = pixels.astype("<i2").tobytes()


def _draw(phantom: Phantom, seed: int) -> NDArray[np.int16]:
    """Nested ellipsoids with a shading and a little noise, shape (slices, rows, columns)."""
    random = np.random.default_rng(seed)
    z, y, x = np.ogrid[
        -1 : 1 : phantom.slices * 1j, -1 : 1 : phantom.size * 1j, -1 : 1 : phantom.size * 1j
    ]
    volume = np.zeros((phantom.slices, phantom.size, phantom.size), np.float32)
    volume += 24 if phantom.modality == "CT" else 5
    for level, radius in ((1000.0, 0.85), (1080.0, 0.6), (900.0, 0.3), (1300.0, 0.12)):
        cx, cy, cz = random.uniform(-0.1, 0.1, 3)
        inside = ((x - cx) / radius) ** 2 + ((y - cy) / radius) ** 2 + ((z - cz) / 1.3) ** 2 < 1
        volume[inside] = level * random.uniform(0.95, 1.05)
    volume *= 1 + 0.05 * x * y
    volume += random.normal(0, 4, volume.shape).astype(np.float32)
    return volume.clip(0, 4095).astype(np.int16)


def _write_borrowed(images: Path, study: Study, borrowed: Borrowed) -> Iterator[Instance]:
    series_uid = uid(study.uid, borrowed.number, borrowed.description)
    for index, name in enumerate(borrowed.names):
        dataset = dcmread(io.BytesIO(_package_file(name)))
        _name_patient(dataset, study)
        dataset.SeriesInstanceUID = series_uid
        dataset.SeriesNumber = borrowed.number
        dataset.SeriesDescription = borrowed.description
        dataset.SOPInstanceUID = uid(series_uid, index)
        yield _save(dataset, images, borrowed.origin)


def _package_file(name: str) -> bytes:
    """The bytes of a file that nibabel, pydicom or pydicom-data ships."""
    resource = files("nibabel.nicom.tests") / "data" / name
    if resource.is_file():
        content = resource.read_bytes()
        return gzip.decompress(content) if name.endswith(".gz") else content
    path = pydicom.data.get_testdata_file(name, download=False)
    if path is None:
        raise FileNotFoundError(f"no installed package ships {name}")
    return Path(path).read_bytes()


def _unchanged_files() -> Iterator[Path]:
    root = Path(pydicom.data.__file__).parent / "test_files"
    for folder in UNCHANGED:
        yield from sorted(path for path in (root / folder).rglob("*") if path.is_file())


def _save(dataset: Dataset, images: Path, origin: Origin) -> Instance:
    """Write a Part 10 file; its name tells nothing of the patient."""
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    path = _new_path(images, dataset)
    dataset.save_as(path, enforce_file_format=True)
    return _listed(dataset, path, origin)


def _copy(images: Path, source: Path) -> Instance:
    dataset = dcmread(source, stop_before_pixels=True)
    path = _new_path(images, dataset)
    shutil.copyfile(source, path)
    return _listed(dataset, path, "package")


def _new_path(images: Path, dataset: Dataset) -> Path:
    folder = images / hashlib.sha256(str(dataset.SeriesInstanceUID).encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{len(list(folder.iterdir())):04d}.dcm"


def _listed(dataset: Dataset, path: Path, origin: Origin) -> Instance:
    return Instance(
        path=path,
        origin=origin,
        patient_id=dataset.PatientID,
        study_uid=dataset.StudyInstanceUID,
        series_uid=dataset.SeriesInstanceUID,
        sop_instance_uid=dataset.SOPInstanceUID,
        modality=dataset.Modality,
        study_date=dataset.StudyDate,
        series_number=str(dataset.SeriesNumber),
        series_description=dataset.get("SeriesDescription", ""),
        transfer_syntax=dataset.file_meta.TransferSyntaxUID,
    )
