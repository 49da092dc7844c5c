"""Lay the template of a head over the image of one, and tell whether it lies there.

The template is pydeface's mean head (MIT, see LICENSE.pydeface.txt) at 2.5 mm. It is registered
from several starts, by mutual information, so that any contrast will do: first rigid, then affine.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import Any

import numpy as np

from pacstream.errors import RejectedError

HEAD_AT = 25
"""Brightness of the template above which something is there."""

BODY = 1
"""The label of what is no air."""

COARSE_MM, FINE_MM = 5.0, 3.0
BINS, SEED = 32, 20240229
SAMPLED = {"rigid": 0.1, "affine": 0.3}
"""Part of the voxels that are looked at."""
LAST_STEP_MM = {"rigid": 0.1, "affine": 0.02}
STEPS = 150
LIFTS_MM = (0.0, 25.0, 50.0)
"""How far the template's centre starts above that of the image: a neck in the image lowers it."""

SCALES = (0.75, 1.33)
"""Of a head to the template's, along any axis."""
LEAST_OVERLAP = 0.8
"""Part of the template's head, as far as the image goes, that has to be in the image's; and of the
image's head, as far as the template goes."""
LEAST_COVERED = 0.6
"""Part of the template's head that has to be inside the image."""
FARTHEST_MM = 8.0
"""How far apart two starts may end in the face."""


class FaceError(RejectedError):
    """A volume that may show a face and can't be defaced: nobody may have it."""


@dataclass(frozen=True)
class Placement:
    """Where the template lies: `transform` takes points of the image to the template."""

    transform: Any
    metric: float


def sitk() -> Any:
    """SimpleITK. Raises RejectedError `deface_missing` without the extra."""
    try:
        import SimpleITK
    except ImportError:
        raise RejectedError("the extra `deface` is not installed", code="deface_missing") from None
    return SimpleITK


@functools.cache
def template(name: str) -> Any:
    """`head`, or `face`: 1 where the face is."""
    with as_file(files(__package__) / f"{name}.nii.gz") as path:
        return sitk().ReadImage(str(path), sitk().sitkFloat32)


def place(image: Any) -> Placement:
    """Raises FaceError `deface_no_fit` unless the template lies on the image of a whole head.

    `image` is a 3D image of numbers (SimpleITK), in the patient's coordinates.
    """
    fixed = resampled(image, COARSE_MM)
    ends = sorted(
        (_registered(fixed, _start(fixed, lift), "rigid") for lift in LIFTS_MM),
        key=lambda one: one.metric,
    )
    fine = resampled(image, FINE_MM)
    best, other = (_registered(fine, one.transform, "affine") for one in ends[:2])
    if _apart_mm(best, other) > FARTHEST_MM or not _is_plausible(best.transform, fine):
        raise FaceError("no head that the template fits on", code="deface_no_fit")
    return min(best, other, key=lambda one: one.metric)


def resampled(image: Any, spacing: float) -> Any:
    """Smoothed, at about `spacing` mm or what is coarser."""
    lib = sitk()
    image = lib.Cast(image, lib.sitkFloat32)
    old = image.GetSpacing()
    factors = [max(1, round(spacing / one)) for one in old]
    sigmas = [0.4 * mm * n if n > 1 else 0.1 for mm, n in zip(old, factors, strict=True)]
    return lib.Shrink(lib.DiscreteGaussian(image, [one**2 for one in sigmas]), factors)


def _start(fixed: Any, lift: float) -> Any:
    lib = sitk()
    moving = template("head")
    start = lib.CenteredTransformInitializer(
        fixed,
        moving,
        lib.Euler3DTransform(),
        lib.CenteredTransformInitializerFilter.MOMENTS,
    )
    start = lib.Euler3DTransform(start)
    x, y, z = start.GetTranslation()
    start.SetTranslation((x, y, z - lift))
    return start


def _registered(fixed: Any, start: Any, kind: str) -> Placement:
    lib = sitk()
    method = lib.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(SAMPLED[kind], SEED)
    method.SetInterpolator(lib.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        2.0, LAST_STEP_MM[kind], STEPS, relaxationFactor=0.6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([2, 1] if kind == "rigid" else [1])
    method.SetSmoothingSigmasPerLevel([1, 0] if kind == "rigid" else [0])
    transform = _affine(start) if kind == "affine" else start
    method.SetInitialTransform(transform, inPlace=True)
    try:
        method.Execute(fixed, template("head"))
    except RuntimeError:
        raise FaceError("the template can't be registered", code="deface_no_fit") from None
    return Placement(transform, method.GetMetricValue())


def _affine(start: Any) -> Any:
    affine = sitk().AffineTransform(3)
    affine.SetCenter(start.GetCenter())
    affine.SetMatrix(start.GetMatrix())
    affine.SetTranslation(start.GetTranslation())
    return affine


@functools.cache
def _face_points() -> tuple[tuple[float, float, float], ...]:
    """Some points of the template's face, in its coordinates."""
    face = template("face")
    head = sitk().GetArrayViewFromImage(template("head"))
    at = np.argwhere((sitk().GetArrayViewFromImage(face) > 0) & (head > HEAD_AT))
    return tuple(
        face.TransformIndexToPhysicalPoint([int(one) for one in index[::-1]])
        for index in at[:: max(len(at) // 200, 1)]
    )


def _apart_mm(one: Placement, other: Placement) -> float:
    """How far apart the face comes to lie, on the average."""
    back = [placement.transform.GetInverse() for placement in (one, other)]
    pairs = [[each.TransformPoint(point) for each in back] for point in _face_points()]
    return float(np.mean([np.linalg.norm(np.subtract(a, b)) for a, b in pairs]))


def _is_plausible(transform: Any, image: Any) -> bool:
    matrix = np.reshape(transform.GetMatrix(), (3, 3))
    scales = 1 / np.linalg.svd(matrix, compute_uv=False)
    if np.linalg.det(matrix) <= 0 or scales.min() < SCALES[0] or scales.max() > SCALES[1]:
        return False
    covered, in_image, in_template = overlaps(transform, image)
    return covered >= LEAST_COVERED and min(in_image, in_template) >= LEAST_OVERLAP


def overlaps(transform: Any, image: Any) -> tuple[float, float, float]:
    """Part of the template's head inside the image; of that, what is in the image's head; and of
    the image's head inside the template, what is in the template's."""
    lib = sitk()
    head = lib.Cast(template("head") > HEAD_AT, lib.sitkUInt8)
    around = lib.Cast(template("head") > -1, lib.sitkUInt8)
    there = lib.GetArrayViewFromImage(
        lib.Resample(head, image, transform, lib.sitkNearestNeighbor, 0)
    ).astype(bool)
    inside = lib.GetArrayViewFromImage(
        lib.Resample(around, image, transform, lib.sitkNearestNeighbor, 0)
    ).astype(bool)
    body = lib.GetArrayViewFromImage(body_of(image)) == BODY
    whole = np.count_nonzero(lib.GetArrayViewFromImage(head)) * np.prod(head.GetSpacing())
    scale = abs(np.linalg.det(np.reshape(transform.GetMatrix(), (3, 3))))
    voxel = float(np.prod(image.GetSpacing())) * scale
    return (
        float(there.sum() * voxel / whole),
        float((there & body).sum() / max(there.sum(), 1)),
        float((there & body).sum() / max((body & inside).sum(), 1)),
    )


def body_of(image: Any) -> Any:
    """`BODY` where there is something, not air: above half of Otsu's threshold, holes filled."""
    lib = sitk()
    values = lib.GetArrayViewFromImage(image)
    low, high = np.percentile(values, (1, 99))
    clamped = lib.Clamp(image, lib.sitkFloat32, float(low), float(high))
    filter_ = lib.OtsuThresholdImageFilter()
    filter_.SetInsideValue(0)
    filter_.SetOutsideValue(1)
    filter_.Execute(clamped)
    above = clamped > low + 0.5 * (filter_.GetThreshold() - low)
    closed = lib.BinaryMorphologicalClosing(lib.Cast(above, lib.sitkUInt8), [2, 2, 2])
    return lib.BinaryFillhole(closed)
