"""What BIDS does not let a file say: values out of range, or at odds with the image."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import jsonschema
from bidsschematools.schema import load_schema

from pacstream_converter.bids.rules import Json

DIMENSIONS: Mapping[tuple[str, str], int] = {
    ("anat", "T1w"): 3,
    ("fmap", "magnitude1"): 3,
    ("fmap", "magnitude2"): 3,
    ("func", "bold"): 4,
}
"""By folder and suffix; all others may have as many as they like. A test compares it with the
specification."""

ONE_PER_VOLUME: Mapping[str, tuple[str, ...]] = {
    "asl": ("FlipAngle", "LabelingDuration", "PostLabelingDelay"),
    "dwi": ("BigDelta", "SmallDelta"),
    "pet": ("FrameDuration", "FrameTimesStart"),
}
"""Keys by suffix: if they are lists, each volume has its value."""

RIGHT_AFTER_S = 0.001
"""By how much the header and the sidecar may differ about the time between volumes."""

ECHO_DIFFERENCE_S = (0.0001, 0.01)


@dataclass(frozen=True)
class Grid:
    """Of a NIfTI file: voxels along each axis, and seconds from volume to volume (0: unknown)."""

    shape: tuple[int, ...]
    step_s: float = 0.0

    @property
    def volumes(self) -> int:
        return self.shape[3] if len(self.shape) > 3 else 1

    def along(self, direction: Json) -> int:
        """Voxels along `i`, `j` or `k`; 0 for anything else."""
        axis = "ijk".find(direction[:1]) if isinstance(direction, str) and direction else -1
        return self.shape[axis] if 0 <= axis < len(self.shape) else 0


def has_wrong_dimensions(folder: str, suffix: str, grid: Grid) -> bool:
    """The specification wants another number of them."""
    return len(grid.shape) != DIMENSIONS.get((folder, suffix), len(grid.shape))


def untrue_keys(
    suffix: str, entities: Mapping[str, str], sidecar: Mapping[str, Json], grid: Grid
) -> set[str]:
    """Keys whose values can't be as they are. The image is better off without them: a required one
    is missing then, and somebody has to tell it."""
    found = {key for key, value in sidecar.items() if not _is_allowed(key, value)}
    told = {key: value for key, value in sidecar.items() if key not in found}
    found |= {key for key in _counted(suffix) if _has_another_count(told.get(key), grid)}
    found |= _wrong_readout(told, grid)
    if suffix == "bold":
        found |= _wrong_repetition(told, grid)
    if suffix == "phasediff":
        least, most = ECHO_DIFFERENCE_S
        difference = _number(told, "EchoTime2") - _number(told, "EchoTime1")
        found |= set() if least <= difference <= most else {"EchoTime1", "EchoTime2"}
    if entities.get("part") == "phase" and told.get("Units") not in ("rad", "arbitrary"):
        found.add("Units")
    return found & sidecar.keys()


def _is_allowed(key: str, value: Json) -> bool:
    """As the specification defines the key; one that it does not know may hold anything."""
    validator = _validator(key)
    return validator is None or validator.is_valid(value)


@functools.cache
def _validator(key: str) -> jsonschema.Draft202012Validator | None:
    definition = load_schema().objects.metadata.get(key)
    return definition and jsonschema.Draft202012Validator(definition.to_dict())


def _counted(suffix: str) -> tuple[str, ...]:
    return (*ONE_PER_VOLUME.get(suffix, ()), "RepetitionTimePreparation")


def _has_another_count(value: Json, grid: Grid) -> bool:
    return isinstance(value, list) and len(value) != grid.volumes


def _wrong_readout(told: Mapping[str, Json], grid: Grid) -> set[str]:
    """All lines of a slice fit into the time between excitations, and one line into the readout."""
    spacing, readout = _number(told, "EffectiveEchoSpacing"), _number(told, "TotalReadoutTime")
    repetition = _number(told, "RepetitionTime")
    lines = grid.along(told.get("PhaseEncodingDirection"))
    too_long = bool(repetition) and spacing * lines > repetition
    contrary = bool(spacing and readout) and spacing >= readout
    return {"EffectiveEchoSpacing", "TotalReadoutTime"} if too_long or contrary else set()


def _wrong_repetition(told: Mapping[str, Json], grid: Grid) -> set[str]:
    repetition, slices = _number(told, "RepetitionTime"), told.get("SliceTiming")
    found = set()
    if abs(grid.step_s - repetition) >= RIGHT_AFTER_S:
        found.add("RepetitionTime")
    if isinstance(slices, list) and any(_number({"": one}, "") > repetition for one in slices):
        found.add("SliceTiming")
    return found


def _number(told: Mapping[str, Json], key: str) -> float:
    value = told.get(key)
    return float(value) if isinstance(value, (int, float)) else 0.0


def wrong_tables(companions: Iterable[Path], grid: Grid) -> list[str]:
    """Gradient tables, by extension, without a value for each volume. Raises OSError."""
    wrong = []
    for path in companions:
        lines = path.read_text("ascii", "replace").split("\n")
        rows = [row.split() for row in lines if row.strip()]
        wanted = 1 if path.suffix == ".bval" else 3
        if [len(row) for row in rows] != [grid.volumes] * wanted:
            wrong.append(path.suffix)
    return wrong
