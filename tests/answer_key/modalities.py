"""Images and their like from other devices than MR and CT: plain ones, which must come out."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom import Dataset
from pydicom import uid as classes
from pydicom.sequence import Sequence

from tests.answer_key.key import Action, Check, Path
from tests.answer_key.maker import Maker, text_of_value
from tests.answer_key.naming import inside, path_of

CATEGORY = "modalities"
NOT_OF_OTHERS = (
    "SequenceName", "ScanningSequence", "SequenceVariant", "ScanOptions", "MRAcquisitionType",
    "EchoTrainLength", "RepetitionTime", "EchoTime", "MagneticFieldStrength", "FlipAngle",
)  # fmt: skip


@dataclass(frozen=True)
class Kind:
    sop_class: str
    modality: str
    values: dict[str, object]
    """All to be kept; an item is a dict."""


def _code(value: str, meaning: str, scheme: str = "SCT") -> dict[str, object]:
    return {"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning}


KINDS = {
    "computed-radiography": Kind(
        classes.ComputedRadiographyImageStorage, "CR",
        {"ViewPosition": "PA", "Exposure": "4", "KVP": "70", "Sensitivity": "200",
         "ImagerPixelSpacing": ["0.2", "0.2"], "RelativeXRayExposure": "312"},
    ),
    "digital-x-ray": Kind(
        classes.DigitalXRayImageStorageForPresentation, "DX",
        {"PresentationIntentType": "FOR PRESENTATION", "PatientOrientation": ["L", "F"],
         "DetectorType": "SCINTILLATOR", "BurnedInAnnotation": "NO",
         "PixelIntensityRelationship": "LOG",
         "ExposureTime": "12", "DistanceSourceToDetector": "1800",
         "PresentationLUTShape": "IDENTITY"},
    ),
    "mammography": Kind(
        classes.DigitalMammographyXRayImageStorageForPresentation, "MG",
        {"PresentationIntentType": "FOR PRESENTATION", "ImageLaterality": "L",
         "OrganExposed": "BREAST",
         "BodyPartThickness": "52", "CompressionForce": "90", "BurnedInAnnotation": "NO",
         "AnodeTargetMaterial": "RHODIUM"},
    ),
    "positron": Kind(
        classes.PositronEmissionTomographyImageStorage, "PT",
        {"Units": "BQML", "CountsSource": "EMISSION", "SeriesType": ["STATIC", "IMAGE"],
         "DecayCorrection": "START", "FrameReferenceTime": "1500", "ImageIndex": 4,
         "DecayFactor": "1.02",
         "CorrectedImage": ["DECY", "ATTN"],
         "RadiopharmaceuticalInformationSequence": {
             "RadionuclideTotalDose": "370000000",
             "RadionuclideHalfLife": "6586.2",
             "RadionuclideCodeSequence": _code("77004003", "^18^Fluorine")}},
    ),
    "nuclear": Kind(
        classes.NuclearMedicineImageStorage, "NM",
        {"NumberOfFrames": "1", "FrameIncrementPointer": 0x00540010, "EnergyWindowVector": 1,
         "NumberOfEnergyWindows": 1, "CountsAccumulated": "41000", "ActualFrameDuration": "600"},
    ),
    "angiography": Kind(
        classes.XRayAngiographicImageStorage, "XA",
        {"PixelIntensityRelationship": "LIN", "RadiationSetting": "GR",
         "PositionerMotion": "STATIC",
         "PositionerPrimaryAngle": "30.5", "CineRate": "15", "FrameTime": "66"},
    ),
    "segmentation": Kind(
        classes.SegmentationStorage, "SEG",
        {"NumberOfFrames": "1", "SegmentationType": "FRACTIONAL",
         "SegmentationFractionalType": "OCCUPANCY",
         "MaximumFractionalValue": 255,
         "SegmentSequence": {
             "SegmentNumber": 1, "SegmentAlgorithmType": "AUTOMATIC",
             "SegmentedPropertyTypeCodeSequence": _code("10200004", "Liver"),
             "SegmentedPropertyCategoryCodeSequence": _code(
                 "123037004", "Anatomical Structure")}},
    ),
    "enhanced-ct": Kind(
        classes.EnhancedCTImageStorage, "CT",
        {"NumberOfFrames": "1", "ContentQualification": "PRODUCT",
         "PixelPresentation": "MONOCHROME",
         "SharedFunctionalGroupsSequence": {
             "CTExposureSequence": {"ExposureTimeInms": 500.0, "XRayTubeCurrentInmA": 200.0},
             "FrameAnatomySequence": {"FrameLaterality": "U",
                                      "AnatomicRegionSequence": _code("51185008", "Chest")}}},
    ),
    "rt-image": Kind(
        classes.RTImageStorage, "RTIMAGE",
        {"RTImagePlane": "NORMAL", "GantryAngle": "180", "RadiationMachineSAD": "1000",
         "ImagePlanePixelSpacing": ["0.8", "0.8"], "RTImageSID": "1500"},
    ),
    "value-mapping": Kind(
        classes.RealWorldValueMappingStorage, "RWV",
        {"ReferencedImageRealWorldValueMappingSequence": {
            "RealWorldValueMappingSequence": {
                "RealWorldValueSlope": 2.5, "RealWorldValueIntercept": 1.0,
                "MeasurementUnitsCodeSequence": _code("[hnsf'U]", "Hounsfield unit", "UCUM")}}},
    ),
}  # fmt: skip
WITHOUT_PIXELS = frozenset({"value-mapping"})
MEANINGS = frozenset({"CodeMeaning"})
"""May be dropped or replaced: the code says it."""


def add_modalities(maker: Maker) -> None:
    for title, kind in KINDS.items():
        person = maker.cast.person()
        data_set = maker.instance(person, "CT" if kind.modality == "CT" else "MR")
        data_set.SOPClassUID, data_set.Modality = kind.sop_class, kind.modality
        for keyword in NOT_OF_OTHERS:
            if keyword in data_set:
                delattr(data_set, keyword)
        if title in WITHOUT_PIXELS:
            data_set = _plain(data_set)
        checks = _filled(data_set, kind.values, ())
        maker.add(f"modalities/{title}.dcm", CATEGORY, data_set, person).checks += checks


def _plain(data_set: Dataset) -> Dataset:
    for keyword in [e.keyword for e in data_set if e.tag.group == 0x0028] + ["PixelData"]:
        delattr(data_set, keyword)
    return data_set


def _filled(target: Dataset, values: dict[str, object], before: Path) -> list[Check]:
    checks = []
    for keyword, value in values.items():
        if isinstance(value, dict):
            item = Dataset()
            checks += _filled(item, value, (*before, *inside(keyword, 0)))
            setattr(target, keyword, Sequence([item]))
            continue
        setattr(target, keyword, value)
        if keyword not in MEANINGS:
            path = (*before, *path_of(keyword))
            checks.append(
                Check(CATEGORY, Action.TEXT_RETAINED, path, text_of_value(target[keyword]))
            )
    return checks
