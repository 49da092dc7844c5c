from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform
from PIL import Image

from pacstream_converter.contact_sheet import SIDE, contact_sheet

SHAPE = (20, 30, 40)


def head() -> Any:
    """Right, front and top of the patient are brighter than the other side, in RAS order."""
    x, y, z = np.indices(SHAPE)
    return (x + 100 * y + 1000 * z).astype(np.int16)


def saved(tmp_path: Path, voxels: Any, affine: Any) -> Path:
    nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / "series.nii")
    return tmp_path / "series.nii"


def picture(content: bytes) -> Any:
    image = Image.open(io.BytesIO(content))
    assert image.text == {}  # type: ignore[attr-defined]
    return np.asarray(image.convert("L")).astype(int)


def turned(codes: str) -> tuple[Any, Any]:
    """The same head, stored in another order of axes."""
    change = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(tuple(codes)))
    voxels = nibabel.orientations.apply_orientation(head(), change)
    return voxels, np.eye(4) @ inv_ornt_aff(change, SHAPE)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "ASR", "SLP", "PIR"])
def test_three_planes_whatever_the_order_of_the_axes(tmp_path: Path, codes: str) -> None:
    sheet = picture(contact_sheet(saved(tmp_path, *turned(codes))))
    expected = picture(contact_sheet(saved(tmp_path, head(), np.eye(4))))
    assert sheet.shape == (SIDE, 3 * SIDE)
    assert np.abs(sheet - expected).max() <= 1


def test_the_head_is_up_and_the_patients_left_is_on_the_right(tmp_path: Path) -> None:
    x, y, z = np.indices(SHAPE)
    for axis, (panel, (first, second)) in {
        2: (1, ("top", "bottom")),
        0: (2, ("left", "right")),
        1: (2, ("top", "bottom")),
    }.items():
        voxels = ((x, y, z)[axis] > SHAPE[axis] // 2).astype(np.int16)
        sheet = picture(contact_sheet(saved(tmp_path, voxels, np.eye(4))))
        part = sheet[:, panel * SIDE : (panel + 1) * SIDE]
        middle = SIDE // 2
        halves = {
            "top": part[:middle].sum(),
            "bottom": part[middle:].sum(),
            "left": part[:, :middle].sum(),
            "right": part[:, middle:].sum(),
        }
        assert halves[first] > 2 * halves[second], axis


def test_voxel_sizes_make_the_proportions(tmp_path: Path) -> None:
    voxels = np.full((10, 10, 10), 100, np.int16)
    voxels[5, 5, 5] = 0
    sheet = picture(contact_sheet(saved(tmp_path, voxels, np.diag([1, 1, 4, 1]))))
    axial = sheet[:, 2 * SIDE :] > 128
    assert abs(axial.any(axis=0).sum() - SIDE / 4) <= 2
    coronal = sheet[:, SIDE : 2 * SIDE] > 128
    assert coronal.any(axis=1).sum() == SIDE and abs(coronal.any(axis=0).sum() - SIDE / 4) <= 2


def test_of_several_volumes_the_first_is_shown(tmp_path: Path) -> None:
    both = np.stack([head(), np.zeros(SHAPE, np.int16)], axis=3)
    first = contact_sheet(saved(tmp_path, head(), np.eye(4)))
    assert contact_sheet(saved(tmp_path, both, np.eye(4))) == first


COLOURS = np.zeros((8, 8, 1), [("R", "u1"), ("G", "u1"), ("B", "u1")])


@pytest.mark.parametrize(
    "voxels",
    [
        np.zeros((8, 8, 8), np.int16),
        np.full((8, 8, 2), np.nan, np.float32),
        np.ones((8, 8, 1), np.complex64),
        COLOURS,
        np.ones((8, 9), np.uint8),
        np.ones((2, 2, 2, 2, 2), np.float64),
    ],
    ids=["black", "not a number", "complex", "colours", "one slice", "five dimensions"],
)
def test_odd_volumes_have_a_picture_too(tmp_path: Path, voxels: Any) -> None:
    sheet = picture(contact_sheet(saved(tmp_path, voxels, np.eye(4))))
    assert sheet.shape == (SIDE, 3 * SIDE)


def test_an_affine_that_says_nothing_is_no_obstacle(tmp_path: Path) -> None:
    path = saved(tmp_path, head(), np.eye(4))
    content = bytearray(path.read_bytes())
    content[254:256], content[280:328] = b"\1\0", np.full(12, np.nan, "<f4").tobytes()
    path.write_bytes(content)
    assert picture(contact_sheet(path)).shape == (SIDE, 3 * SIDE)
