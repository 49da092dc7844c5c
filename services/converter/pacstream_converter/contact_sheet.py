"""A picture of a volume, for a person to look at: three planes through its middle, without text.

From left to right a sagittal, a coronal and an axial slice. Up is the patient's head or front, and
the patient's left is on the right, as a radiologist looks at them.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.orientations import io_orientation
from PIL import Image

SIDE = 256
"""Pixels of the longest edge in any of the planes."""

WINDOW = (1.0, 99.0)
"""Percentiles that become black and white."""

PLANES = ((0, 2, 1, False), (1, 2, 0, True), (2, 1, 0, True))
"""For each plane: the axis that it cuts (0 to the right, 1 to the front, 2 up), those that go up
and along, and whether the latter is turned, so that the patient's left is on the right."""


def contact_sheet(image: Path) -> bytes:
    """A PNG of the NIfTI file `image`, 4D: of its first volume. Raises OSError."""
    volume = nibabel.load(image)
    orientation = _orientation(volume.affine)
    sizes = _sizes(volume.header.get_zooms()[:3], orientation)
    slices = [_slice(volume, orientation, plane) for plane in PLANES]
    low, high = _window(slices)
    extents = [
        (values.shape[0] * sizes[up], values.shape[1] * sizes[along])
        for values, (_, up, along, _) in zip(slices, PLANES, strict=True)
    ]
    scale = SIDE / max(max(extent) for extent in extents)
    sheet = Image.new("L", (len(PLANES) * SIDE, SIDE))
    for number, (values, (height, width)) in enumerate(zip(slices, extents, strict=True)):
        panel = _panel(values, low, high).resize(
            (max(round(width * scale), 1), max(round(height * scale), 1)), Image.Resampling.BILINEAR
        )
        left = number * SIDE + (SIDE - panel.width) // 2
        sheet.paste(panel, (left, (SIDE - panel.height) // 2))
    content = io.BytesIO()
    sheet.save(content, "PNG")
    return content.getvalue()


def _orientation(affine: Any) -> Any:
    """Axis and direction in the patient for each axis of the array; as it stands if unknown."""
    unknown = np.array([[0, 1], [1, 1], [2, 1]])
    if not np.isfinite(affine).all():
        return unknown
    found = io_orientation(affine)
    return unknown if np.isnan(found).any() else found


def _sizes(zooms: tuple[float, ...], orientation: Any) -> dict[int, float]:
    """Voxel size by the patient's axes, 1 where the header has none."""
    padded = (*zooms, 1.0, 1.0)[:3]
    return {
        int(axis): abs(float(size)) if size and np.isfinite(size) else 1.0
        for size, (axis, _) in zip(padded, orientation, strict=True)
    }


def _slice(volume: Any, orientation: Any, plane: tuple[int, int, int, bool]) -> Any:
    """The middle slice as rows from the top and columns from the left."""
    cut, up, along, turned = plane
    shape = (*volume.shape, 1, 1)[:3]
    array_axis = {int(axis): number for number, (axis, _) in enumerate(orientation)}
    index: list[Any] = [slice(None)] * 3
    middle = shape[array_axis[cut]] // 2
    turned_over = orientation[array_axis[cut]][1] < 0
    index[array_axis[cut]] = shape[array_axis[cut]] - 1 - middle if turned_over else middle
    first = (0,) * (len(volume.shape) - 3)
    values = _brightness(volume.dataobj[(*index[: len(volume.shape)], *first)])
    values = values.reshape([shape[n] for n in range(3) if n != array_axis[cut]])
    if array_axis[up] > array_axis[along]:
        values = values.T
    if orientation[array_axis[up]][1] > 0:
        values = values[::-1]
    if (orientation[array_axis[along]][1] > 0) == turned:
        values = values[:, ::-1]
    return values


def _brightness(values: Any) -> Any:
    """Colours and complex numbers as one number each."""
    values = np.asarray(values)
    if values.dtype.names:
        colours = [values[name] for name in values.dtype.names if name in "RGB"]
        return np.mean(colours, axis=0)
    return np.abs(values) if np.iscomplexobj(values) else values.astype(np.float64)


def _window(slices: list[Any]) -> tuple[float, float]:
    values = np.concatenate([one[np.isfinite(one)].ravel() for one in slices])
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values, WINDOW)
    if high <= low:
        low, high = float(values.min()), float(values.max())
    return float(low), float(high if high > low else low + 1)


def _panel(values: Any, low: float, high: float) -> Image.Image:
    grey = np.clip((np.nan_to_num(values, nan=low) - low) / (high - low), 0, 1) * 255
    return Image.fromarray(np.ascontiguousarray(grey.astype(np.uint8)))
