"""Make the template that `--deface` lays over heads, of that in the wheel of pydeface (MIT).

    .venv/bin/pip download --no-deps pydeface==2.1.0 && unzip pydeface-2.1.0-*.whl -d WHEEL
    .venv/bin/python -m bench.deface_template WHEEL/pydeface/data

Head and face mask are taken to 2.5 mm. The mask is raised by 7.5 mm, so that it covers the eyes,
and then kept 7.5 mm away from the brain (needs nilearn: bench.deface).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

import pacstream_converter.deface as package
from pacstream_converter.deface.registration import sitk as library

sitk = library()

SPACING_MM = 2.5
RAISED = 3
"""Voxels."""
CLEAR_OF_BRAIN = 1
"""Voxels, besides the two that the brain's mask has around it."""


def coarse(image: Any) -> Any:
    size = [
        round(n * s / SPACING_MM) for n, s in zip(image.GetSize(), image.GetSpacing(), strict=True)
    ]
    smooth = sitk.SmoothingRecursiveGaussian(image, SPACING_MM / 2.355)
    origin = image.TransformContinuousIndexToPhysicalPoint(
        [-0.5 + 0.5 * SPACING_MM / one for one in image.GetSpacing()]
    )
    return sitk.Resample(
        smooth, size, sitk.Transform(), sitk.sitkLinear, origin, [SPACING_MM] * 3,
        image.GetDirection(), 0.0, sitk.sitkFloat32,
    )  # fmt: skip


def main() -> None:
    source, target = Path(sys.argv[1]), Path(str(package.__file__)).parent
    head = sitk.ReadImage(str(source / "mean_reg2mean.nii.gz"), sitk.sitkFloat32)
    kept = sitk.ReadImage(str(source / "facemask.nii.gz"), sitk.sitkFloat32)
    small = coarse(head)
    bytes_ = sitk.Cast(sitk.Clamp(small * (255 / 646), sitk.sitkFloat32, 0, 255), sitk.sitkUInt8)
    sitk.WriteImage(bytes_, str(target / "head.nii.gz"))
    from bench.deface import brain  # registers the brain to the head that was just written

    mask = sitk.Resample(kept, small, sitk.Transform(), sitk.sitkNearestNeighbor, 1.0)
    face = sitk.GetArrayFromImage(mask) < 0.5
    raised = face.copy()
    for number in range(1, RAISED + 1):
        raised[number:] |= face[:-number]
    near = sitk.BinaryDilate(brain(), [CLEAR_OF_BRAIN] * 3)
    result = sitk.GetImageFromArray((raised & (sitk.GetArrayFromImage(near) == 0)).astype(np.uint8))
    result.CopyInformation(small)
    sitk.WriteImage(result, str(target / "face.nii.gz"))


if __name__ == "__main__":
    main()
