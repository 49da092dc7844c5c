"""What BIDS requires beside an image, and which of it is not there."""

from __future__ import annotations

from collections.abc import Mapping

from pacstream_converter.bids.rules import Json

ASL = (
    "ArterialSpinLabelingType",
    "BackgroundSuppression",
    "EchoTime",
    "M0Type",
    "MRAcquisitionType",
    "MagneticFieldStrength",
    "PostLabelingDelay",
    "RepetitionTimePreparation",
    "TotalAcquiredPairs",
)
PET = (
    "AcquisitionMode",
    "AttenuationCorrection",
    "FrameDuration",
    "FrameTimesStart",
    "ImageDecayCorrected",
    "ImageDecayCorrectionTime",
    "InjectedMass",
    "InjectedMassUnits",
    "InjectedRadioactivity",
    "InjectedRadioactivityUnits",
    "InjectionStart",
    "Manufacturer",
    "ManufacturersModelName",
    "ModeOfAdministration",
    "ReconFilterType",
    "ReconMethodName",
    "ReconMethodParameterLabels",
    "ScanStart",
    "SpecificRadioactivity",
    "SpecificRadioactivityUnits",
    "TimeZero",
    "TracerName",
    "TracerRadionuclide",
    "Units",
)
MP2RAGE = (
    "FlipAngle",
    "InversionTime",
    "MagneticFieldStrength",
    "NumberShots",
    "RepetitionTimeExcitation",
    "RepetitionTimePreparation",
)

ALWAYS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("anat", "IRT1"): ("InversionTime",),
    ("anat", "MEGRE"): ("EchoTime",),
    ("anat", "MESE"): ("EchoTime",),
    ("anat", "MP2RAGE"): MP2RAGE,
    ("anat", "MPM"): ("FlipAngle", "MTState", "RepetitionTimeExcitation"),
    ("anat", "MTR"): ("MTState",),
    ("anat", "MTS"): ("FlipAngle", "MTState", "RepetitionTimeExcitation"),
    ("anat", "VFA"): ("FlipAngle", "PulseSequenceType", "RepetitionTimeExcitation"),
    ("fmap", "TB1AFI"): ("RepetitionTimeExcitation",),
    ("fmap", "TB1DAM"): ("FlipAngle",),
    ("fmap", "TB1EPI"): ("EchoTime", "FlipAngle", "MixingTime", "TotalReadoutTime"),
    ("fmap", "TB1SRGE"): (
        "FlipAngle",
        "InversionTime",
        "NumberShots",
        "RepetitionTimeExcitation",
        "RepetitionTimePreparation",
    ),
    ("fmap", "epi"): ("PhaseEncodingDirection",),
    ("fmap", "fieldmap"): ("Units",),
    ("fmap", "phase1"): ("EchoTime",),
    ("fmap", "phase2"): ("EchoTime",),
    ("fmap", "phasediff"): ("EchoTime1", "EchoTime2"),
    ("func", "bold"): ("RepetitionTime", "TaskName"),
    ("func", "phase"): ("Units",),
    ("perf", "asl"): ASL,
    ("perf", "noRF"): ("EchoTime",),
    ("perf", "m0scan"): ("EchoTime", "IntendedFor", "RepetitionTimePreparation"),
    ("pet", "pet"): PET,
}
"""Keys of the sidecar, by folder and suffix. A test compares them with the specification."""

READOUT = ("EffectiveEchoSpacing", "TotalReadoutTime")


def missing(
    folder: str,
    suffix: str,
    entities: Mapping[str, str],
    sidecar: Mapping[str, Json],
    companions: frozenset[str],
) -> list[str]:
    """Keys and companion files (by extension, or `aslcontext.tsv`) that are not there."""
    kind = (folder, suffix)
    lacking = [key for key in ALWAYS.get(kind, ()) if key not in sidecar]
    if kind == ("fmap", "epi") and not any(key in sidecar for key in READOUT):
        lacking.append("TotalReadoutTime")
    if kind == ("dwi", "dwi"):
        lacking += [one for one in (".bval", ".bvec") if one not in companions]
    if kind == ("perf", "asl"):
        lacking += _asl(sidecar, companions)
    if kind == ("pet", "pet"):
        lacking += _pet(sidecar)
    if folder == "perf" and sidecar.get("MRAcquisitionType") == "2D":
        lacking += [key for key in ("SliceTiming",) if key not in sidecar]
    for entity, key in (("inv", "InversionTime"), ("mt", "MTState"), ("echo", "EchoTime")):
        if entity in entities and key not in sidecar:
            lacking.append(key)
    return sorted(set(lacking))


def _asl(sidecar: Mapping[str, Json], companions: frozenset[str]) -> list[str]:
    wanted: list[str] = []
    if sidecar.get("ArterialSpinLabelingType") in ("CASL", "PCASL"):
        wanted.append("LabelingDuration")
    if sidecar.get("ArterialSpinLabelingType") == "PASL":
        wanted.append("BolusCutOffFlag")
        if sidecar.get("BolusCutOffFlag"):
            wanted += ["BolusCutOffDelayTime", "BolusCutOffTechnique"]
    if sidecar.get("M0Type") == "Estimate":
        wanted.append("M0Estimate")
    lacking = [key for key in wanted if key not in sidecar]
    return lacking + [one for one in ("aslcontext.tsv",) if one not in companions]


def _pet(sidecar: Mapping[str, Json]) -> list[str]:
    wanted: list[str] = []
    if sidecar.get("ReconMethodParameterLabels") != ["none"]:
        wanted += ["ReconMethodParameterUnits", "ReconMethodParameterValues"]
    if sidecar.get("ReconFilterType") not in ("none", ["none"]):
        wanted.append("ReconFilterSize")
    if sidecar.get("ModeOfAdministration") == "bolus-infusion":
        wanted += [
            "InfusionRadioactivity",
            "InfusionSpeed",
            "InfusionSpeedUnits",
            "InfusionStart",
            "InjectedVolume",
        ]
    return [key for key in wanted if key not in sidecar]
