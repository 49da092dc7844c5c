"""How much of a face `--deface` takes, how much of the brain it leaves, and how long it takes.

    .venv/bin/pip install 'pacstream[deface]' nilearn
    .venv/bin/python -m bench.deface [HEADS]

No package on PyPI has a head of a living person with its face. The heads here are the template,
deformed (rotated by up to 14 degrees, scaled by 0.87 to 1.15 along each axis, sheared, moved, bent
by 4 mm at the knots of a spline), resampled, noisy, and in three contrasts. That is easier than a
stranger's head. The face region is defined by hand in the template: the tissue of eyes, nose,
mouth and chin. The brain is nilearn's MNI152 mask, registered to the template.
"""

from __future__ import annotations

import functools
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from pacstream.errors import RejectedError
from pacstream_converter.deface.face import deface
from pacstream_converter.deface.registration import HEAD_AT, template
from pacstream_converter.deface.registration import sitk as library

sitk = library()

SPACINGS = ((1.0, 1.0, 1.0), (1.0, 1.0, 3.0), (0.8, 0.8, 5.0))
CONTRASTS = ("T1", "inverted", "CT")
FIELD_MM = (190.0, 260.0, 260.0)
BEND_MM, NOISE = 4.0, 0.03

LANDMARKS = {
    "left eye": ((33, 69, -36), 13.0),
    "right eye": ((-33, 69, -36), 13.0),
    "nose": ((0, 88, -48), 20.0),
    "mouth": ((0, 85, -75), 20.0),
    "chin": ((0, 75, -100), 18.0),
}
"""Centres (mm to the right, front, up of the template's middle) and radii, by hand."""


def head(seed: int, contrast: str, spacing: tuple[float, ...]) -> tuple[Any, Any, list[Any]]:
    """A synthetic head, and what is not to be changed and what is, as masks of its voxels."""
    random = np.random.default_rng(seed)
    model = template("head")
    centre = _middle()
    affine = sitk.AffineTransform(3)
    turn = sitk.Euler3DTransform()
    turn.SetRotation(*random.uniform(-0.25, 0.25, 3))
    stretch = np.diag(random.uniform(0.87, 1.15, 3)) + random.uniform(-0.04, 0.04, (3, 3)) * (
        1 - np.eye(3)
    )
    affine.SetMatrix((np.reshape(turn.GetMatrix(), (3, 3)) @ stretch).ravel())
    affine.SetCenter(centre)
    affine.SetTranslation(random.uniform(-20, 20, 3))
    bend = sitk.BSplineTransformInitializer(model, [6, 6, 6])
    bend.SetParameters(random.normal(0, BEND_MM, len(bend.GetParameters())))
    transform = sitk.CompositeTransform([affine, bend])
    grid = sitk.Image(
        [round(f / s) for f, s in zip(FIELD_MM, spacing, strict=True)], sitk.sitkUInt8
    )
    grid.SetSpacing(spacing)
    grid.SetOrigin([c - f / 2 for c, f in zip(centre, FIELD_MM, strict=True)])

    def seen(image: Any, how: Any) -> Any:
        return sitk.GetArrayFromImage(sitk.Resample(image, grid, transform, how, 0.0))

    values = _contrast(seen(model, sitk.sitkLinear), contrast)
    values = values + random.normal(0, NOISE * np.ptp(values), values.shape)
    image = sitk.GetImageFromArray(values.astype(np.int16))
    image.CopyInformation(grid)
    masks = [seen(mask, sitk.sitkNearestNeighbor) > 0 for mask in (brain(), *face().values())]
    return image, masks[0], masks[1:]


def _middle() -> tuple[float, ...]:
    model = template("head")
    return tuple(model.TransformContinuousIndexToPhysicalPoint([n / 2 for n in model.GetSize()]))


def _contrast(values: Any, name: str) -> Any:
    tissue = values > HEAD_AT
    if name == "inverted":
        return np.where(tissue, 280 - values, values)
    if name == "CT":
        return np.where(tissue, 40 + (values - 120) * 0.3, -1000.0)
    return values


def face() -> dict[str, Any]:
    """The tissue around each landmark."""
    model = template("head")
    values = sitk.GetArrayFromImage(model)
    inner = sitk.GetArrayFromImage(brain()) > 0
    index = np.moveaxis(np.indices(values.shape)[::-1], 0, -1).reshape(-1, 3)
    matrix = np.reshape(model.GetDirection(), (3, 3)) * model.GetSpacing()
    points = index @ matrix.T + model.GetOrigin()
    middle = np.array(_middle())
    found = {}
    for name, (place, radius) in LANDMARKS.items():
        centre = middle + np.array(place) * (-1, -1, 1)
        near = np.linalg.norm(points - centre, axis=1) < radius
        mask = sitk.GetImageFromArray(
            (near.reshape(values.shape) & (values > HEAD_AT) & ~inner).astype(np.uint8)
        )
        mask.CopyInformation(model)
        found[name] = mask
    return found


@functools.cache
def brain() -> Any:
    """nilearn's mask of the MNI152 brain in the template's space, with 5 mm around it: the mean
    head is a little larger than MNI's."""
    return sitk.BinaryDilate(_registered_brain(), [2, 2, 2])


def _registered_brain() -> Any:
    from nilearn.datasets import load_mni152_brain_mask, load_mni152_template

    with tempfile.TemporaryDirectory() as folder:
        images = []
        for name, load in (("t1", load_mni152_template), ("mask", load_mni152_brain_mask)):
            path = Path(folder, f"{name}.nii")
            load(resolution=2).to_filename(path)
            images.append(sitk.Cast(sitk.ReadImage(str(path)), sitk.sitkFloat32))
    t1, mask = images
    fixed, method = template("head"), sitk.ImageRegistrationMethod()
    # The brain alone is registered: what the MNI152 template has no voxels of is not looked at.
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricMovingMask(
        sitk.Cast(sitk.BinaryDilate(sitk.Cast(mask, sitk.sitkUInt8), [4] * 3), sitk.sitkUInt8)
    )
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(2.0, 0.01, 300)
    method.SetOptimizerScalesFromPhysicalShift()
    start = sitk.AffineTransform(3)
    start.SetCenter(_middle())
    start.SetTranslation(np.array([0, -18, 10]) - np.array(_middle()) - (0, 0, 20))
    method.SetInitialTransform(start, inPlace=True)
    method.Execute(fixed, t1)
    return sitk.Cast(
        sitk.Resample(mask, fixed, start, sitk.sitkNearestNeighbor, 0.0), sitk.sitkUInt8
    )


def trial(seed: int, contrast: str, spacing: tuple[float, ...]) -> dict[str, float] | str:
    image, kept, parts = head(seed, contrast, spacing)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "head.nii")
        sitk.WriteImage(image, str(path))
        path.with_suffix(".json").write_text(json.dumps({"Modality": "MR"}))
        begun, used = time.perf_counter(), time.process_time()
        try:
            deface(path)
        except RejectedError as error:
            return error.code
        seconds, cpu = time.perf_counter() - begun, time.process_time() - used
        before, after = (
            sitk.GetArrayFromImage(image),
            sitk.GetArrayFromImage(sitk.ReadImage(str(path))),
        )
    gone = (after != before) | (after == after.min())
    shares = [float(gone[part].mean()) for part in parts]
    return {
        "face": float(gone[np.any(parts, axis=0)].mean()),
        "least of its parts": min(shares),
        "brain kept": 1 - float((after != before)[kept].mean()),
        "seconds": seconds,
        "of the processor": cpu,
    }


def main() -> None:
    heads = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    for contrast in CONTRASTS:
        for spacing in SPACINGS:
            for seed in range(heads):
                told = trial(seed, contrast, spacing)
                words = told if isinstance(told, str) else {k: round(v, 4) for k, v in told.items()}
                print(contrast, spacing, seed, words, flush=True)


if __name__ == "__main__":
    main()
