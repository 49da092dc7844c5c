"""A scanner of no make in particular: series as devices of several vendors send them, converted by
dcm2niix. Names, IDs and dates are planted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import PositronEmissionTomographyImageStorage

from pacstream.messages import Series
from pacstream_converter.bids.planning import ConvertedSeries
from pacstream_converter.dcm2niix import Dcm2niix
from pacstream_converter.originals import read_originals
from pacstream_converter.series import SeriesFiles, convert
from tests.unit.converter.samples import PLANTED, STUDY_UID, image, write

SLICES = 4

Changes = Mapping[str, object]


@dataclass(frozen=True)
class Scan:
    """A series to acquire: `volumes` changes attributes by volume, `private` adds elements as
    (group, element, VR, value) of a creator."""

    number: int
    description: str
    changes: Changes = field(default_factory=dict)
    volumes: Sequence[Changes] = ({},)
    private: Sequence[tuple[str, int, int, str, object]] = ()
    modality: str = "MR"

    def instances(self, patient: str, study_uid: str) -> Iterator[Dataset]:
        for volume, own in enumerate(self.volumes):
            for place in range(SLICES):
                ds = image("CT" if self.modality == "CT" else "MR", place)
                ds.PatientID, ds.StudyInstanceUID = patient, study_uid
                ds.Modality = self.modality
                ds.SeriesInstanceUID = f"{study_uid}.{self.number}"
                ds.SeriesNumber = self.number
                ds.SeriesDescription = ds.ProtocolName = self.description
                ds.AcquisitionNumber = volume + 1
                ds.InstanceNumber = volume * SLICES + place + 1
                ds.SOPInstanceUID = f"{ds.SeriesInstanceUID}.{ds.InstanceNumber}"
                ds.AcquisitionTime = f"09{self.number:02}{2 * volume:02}.50"
                for keyword, value in {**self.changes, **own}.items():
                    if keyword.startswith("Private"):
                        _add_private(ds, value)
                    else:
                        setattr(ds, keyword, value)
                for element in self.private:
                    _add_private(ds, element)
                yield ds


def _add_private(ds: Dataset, element: object) -> None:
    assert isinstance(element, tuple)
    creator, group, number, vr, value = element
    ds.private_block(group, creator, create=True).add_new(number, vr, value)


@dataclass(frozen=True)
class Session:
    """A study on disk: `scan` acquires and converts."""

    folder: Path
    name: str = "sub-P7Q/ses-20180405090000"
    patient: str = PLANTED["PatientID"]
    study_uid: str = STUDY_UID
    release: bool = True

    def scan(self, scan: Scan, **changes: object) -> ConvertedSeries:
        series_uid = f"{self.study_uid}.{scan.number}"
        incoming = self.folder / "incoming" / series_uid
        incoming.mkdir(parents=True, exist_ok=True)
        for ds in scan.instances(self.patient, self.study_uid):
            for keyword, value in changes.items():
                setattr(ds, keyword, value)
            write(ds, incoming / f"{ds.SOPInstanceUID}.dcm")
        return self.convert(sorted(incoming.iterdir()), series_uid, f"{scan.number:05}-MR")

    def convert(self, paths: Sequence[Path], series_uid: str, name: str) -> ConvertedSeries:
        stem = self.folder / "release" / self.name / name
        series = Series(study_uid=self.study_uid, series_uid=series_uid, patient_id=self.patient)
        files = SeriesFiles(read_originals(paths), series, stem, release=self.release)
        conversion = convert(files, self.folder / "run", Dcm2niix(timeout_s=60))
        return ConvertedSeries(
            name=f"{self.name}/{name}",
            images=tuple(volume.image for volume in conversion.volumes),
            originals=tuple(paths),
            shift_days=-7,
            release=self.release,
        )


EPI: Changes = {
    "ScanningSequence": "EP",
    "MRAcquisitionType": "2D",
    "InPlanePhaseEncodingDirection": "COL",
}
BANDWIDTH = ("SIEMENS MR HEADER", 0x0019, 0x28, "FD", 40.0)


def _polarity(positive: int) -> tuple[str, int, int, str, object]:
    return ("SIEMENS MR SDI 02", 0x0021, 0x1C, "IS", positive)


MPRAGE = Scan(
    2, "t1_mprage_sag_p2", {"InversionTime": "900", "EchoTime": "2.98", "RepetitionTime": "2300"}
)
T2 = Scan(
    3,
    "t2_tse_tra",
    {
        "ScanningSequence": "SE",
        "SequenceName": "*tse2d1_15",
        "EchoTime": "96",
        "RepetitionTime": "5000",
    },
)
FLAIR = Scan(
    4,
    "t2_flair_cor",
    {
        "ScanningSequence": ["SE", "IR"],
        "SequenceName": "*tir2d1rr",
        "EchoTime": "120",
        "InversionTime": "2300",
    },
)
BOLD = Scan(
    6,
    "ep2d_bold_resting",
    {
        "ScanningSequence": "EP",
        "EchoTime": "30",
        "RepetitionTime": "2000",
        "MRAcquisitionType": "2D",
        "SequenceName": "epfid2d1_64",
    },
    [{}] * 5,
)
DWI = Scan(
    8,
    "ep2d_diff_mddw",
    {
        "ScanningSequence": "EP",
        "EchoTime": "90",
        "RepetitionTime": "6000",
        "MRAcquisitionType": "2D",
        "SequenceName": "ep_b1000",
    },
    [
        {
            "DiffusionBValue": b,
            "DiffusionGradientOrientation": g,
            "PrivateB": ("SIEMENS MR HEADER", 0x0019, 0x0C, "IS", str(b)),
            "PrivateG": ("SIEMENS MR HEADER", 0x0019, 0x0E, "FD", g),
        }
        for b, g in (
            (0, [0.0, 0.0, 0.0]),
            (1000, [1.0, 0.0, 0.0]),
            (1000, [0.0, 1.0, 0.0]),
            (1000, [0.0, 0.0, 1.0]),
        )
    ],
)
MAGNITUDES = Scan(
    10,
    "gre_field_mapping",
    {
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"],
        "SequenceName": "*fm2d2r",
        "MRAcquisitionType": "2D",
    },
    [{"EchoTime": "4.92", "EchoNumbers": "1"}, {"EchoTime": "7.38", "EchoNumbers": "2"}],
)
PHASE_DIFFERENCE = Scan(
    11,
    "gre_field_mapping",
    {
        "ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"],
        "SequenceName": "*fm2d2r",
        "EchoTime": "7.38",
        "EchoNumbers": "2",
        "MRAcquisitionType": "2D",
    },
)
OPPOSED = [
    Scan(
        number,
        "se_epi_fmap",
        {**EPI, "SequenceName": "epse2d", "RepetitionTime": "7000", "EchoTime": "66"},
        private=[BANDWIDTH, _polarity(positive)],
    )
    for number, positive in ((12, 1), (13, 0))
]
LOCALIZER = Scan(1, "localizer", {"ImageType": ["ORIGINAL", "PRIMARY", "M"]})
CT = Scan(20, "Thorax", modality="CT")
STRANGE = Scan(30, "PLANTED PROTOCOL OF DR HOUSE", {"SequenceName": "xyz"})
EVERYTHING = (
    *(LOCALIZER, MPRAGE, T2, FLAIR, BOLD, DWI, MAGNITUDES, PHASE_DIFFERENCE, *OPPOSED, CT),
    STRANGE,
)

PET = Scan(
    40,
    "FDG dynamic",
    {
        "SOPClassUID": PositronEmissionTomographyImageStorage,
        "Manufacturer": "GE MEDICAL SYSTEMS",
        "Units": "BQML",
        "CorrectedImage": ["DECY", "ATTN", "SCAT"],
        "DecayCorrection": "START",
        "SeriesType": ["DYNAMIC", "IMAGE"],
        "NumberOfTimeSlices": 3,
        "NumberOfSlices": SLICES,
        "RescaleSlope": "1",
        "RescaleIntercept": "0",
    },
    [
        {"ActualFrameDuration": "60000", "FrameReferenceTime": f"{30000 + 60000 * frame}"}
        for frame in range(3)
    ],
    modality="PT",
)
ASL = Scan(
    41,
    "3D pCASL",
    {"Manufacturer": "GE MEDICAL SYSTEMS", "ImageType": ["ORIGINAL", "PRIMARY", "ASL"]},
    [{"FlipAngle": "111"}, {"FlipAngle": "90"}],
)
ECHO_PHASES = [
    Scan(
        number,
        "gre_field_mapping",
        {
            "Manufacturer": "Philips Medical Systems",
            "ImageType": ["ORIGINAL", "PRIMARY", kind, "FFE"],
            "MRAcquisitionType": "2D",
        },
        [{"EchoTime": "4.6", "EchoNumbers": "1"}, {"EchoTime": "6.9", "EchoNumbers": "2"}],
    )
    for number, kind in ((42, "PHASE MAP"), (43, "M_FFE"))
]
HEARTS = [
    Scan(44, "t2_flair_repeats", {"ScanningSequence": ["SE", "IR"]}, [{}] * 2),
    Scan(45, "TOF angio", {}, [{}] * 2),
    Scan(46, "func task rest", {"RepetitionTime": "1"}, [{}] * 3),
]
"""Kinds that are mostly one volume, as several."""

VENDORS = (PET, ASL, *ECHO_PHASES, *HEARTS)
