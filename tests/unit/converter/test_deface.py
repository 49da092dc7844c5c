"""On heads made of the template, turned, stretched, in another contrast, noisy: no package has the
head of a person with its face. How well it does is measured by bench/deface.py."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from pacstream_converter.deface.face import deface, marked
from pacstream_converter.deface.registration import HEAD_AT, FaceError, sitk, template

SPACING = (3.0, 3.0, 3.5)
FIELD_MM = (190.0, 260.0, 260.0)


def turned_head() -> tuple[Any, Any]:
    """Voxels of a T2-like head, and where its face is (slices, rows, columns), but for the edge of
    the mask, which lies deep in the head."""
    lib = sitk()
    model = template("head")
    centre = model.TransformContinuousIndexToPhysicalPoint([n / 2 for n in model.GetSize()])
    turn = lib.Euler3DTransform()
    turn.SetRotation(0.15, -0.1, 0.2)
    affine = lib.AffineTransform(3)
    stretch = np.diag([0.92, 1.08, 1.0])
    affine.SetMatrix((np.reshape(turn.GetMatrix(), (3, 3)) @ stretch).ravel())
    affine.SetCenter(centre)
    affine.SetTranslation((8.0, -12.0, 15.0))
    grid = lib.Image([round(f / s) for f, s in zip(FIELD_MM, SPACING, strict=True)], lib.sitkUInt8)
    grid.SetSpacing(SPACING)
    grid.SetOrigin([c - f / 2 for c, f in zip(centre, FIELD_MM, strict=True)])
    head = lib.GetArrayFromImage(lib.Resample(model, grid, affine, lib.sitkLinear, 0.0))
    inner = lib.BinaryErode(lib.Cast(template("face"), lib.sitkUInt8), [2, 2, 2])
    face = lib.Resample(inner, grid, affine, lib.sitkNearestNeighbor, 0)
    noise = np.random.default_rng(1).normal(0, 4, head.shape)
    inverted = np.where(head > HEAD_AT, 280 - head, head) + noise
    return np.clip(inverted, 0, None), lib.GetArrayFromImage(face) > 0


def write(path: Path, voxels: Any, **sidecar: object) -> Path:
    """As dcm2niix does: `voxels` are (volumes,) slices, rows, columns in the patient's axes."""
    affine = np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1.0])
    nibabel.Nifti1Image(voxels.T.astype(np.int16), affine).to_filename(path)
    path.with_suffix(".json").write_text(json.dumps({"Modality": "MR", **sidecar}))
    return path


def read(path: Path) -> Any:
    return np.asarray(nibabel.load(path).dataobj).T


def test_a_face_is_gone_from_all_volumes_and_the_rest_is_as_it_was(tmp_path: Path) -> None:
    head, face = turned_head()
    film = np.stack([head, head + 7])
    path = write(tmp_path / "series.nii", film)
    header = path.read_bytes()[:352]
    found = deface(path)
    assert found is not None
    after = read(path)
    assert path.read_bytes()[:352] == header
    before = film.astype(np.int16)
    tissue = face & (head > 2 * HEAD_AT)
    for one, was in zip(after, before, strict=True):
        assert (one[tissue] == was.min()).mean() > 0.97
        above = slice(int(0.7 * len(one)), None)
        assert (one[above] == was[above]).all()
        behind = slice(was.shape[1] // 2, None)
        assert (one[:, behind] == was[:, behind]).all()
    assert 0 < found.removed < 0.25 * found.voxels
    picture = Image.open(io.BytesIO(found.picture))
    assert picture.format == "PNG" and picture.text == {}  # type: ignore[attr-defined]


def test_what_is_no_head_is_refused_and_untouched(tmp_path: Path) -> None:
    noise = np.random.default_rng(2).integers(0, 900, (60, 60, 60))
    path = write(tmp_path / "series.nii", noise)
    before = path.read_bytes()
    with pytest.raises(FaceError) as error:
        deface(path)
    assert error.value.code == "deface_no_fit"
    assert path.read_bytes() == before


def test_a_few_slices_may_be_a_profile(tmp_path: Path) -> None:
    path = write(tmp_path / "series.nii", np.ones((3, 60, 60)))
    with pytest.raises(FaceError) as error:
        deface(path)
    assert error.value.code == "deface_small"


@pytest.mark.parametrize(
    ("told", "goes_out"),
    [
        ({"BodyPart": "KNEE"}, True),
        ({"BodyPart": "KNEE", "SeriesDescription": "t1 brain"}, False),
        ({"BodyPart": "HEAD"}, False),
        ({"BodyPart": "WHOLEBODY"}, False),
        ({}, False),
        ({"Modality": "CR"}, True),
        ({"Modality": "PT"}, False),
    ],
)
def test_only_what_can_be_no_head_goes_out_as_it_is(
    tmp_path: Path, told: dict[str, object], goes_out: bool
) -> None:
    path = write(tmp_path / "series.nii", np.ones((3, 60, 60)), **told)
    if goes_out:
        assert deface(path) is None
    else:
        with pytest.raises(FaceError):
            deface(path)


def test_without_a_sidecar_it_may_be_a_head(tmp_path: Path) -> None:
    path = write(tmp_path / "series.nii", np.ones((3, 60, 60)))
    path.with_suffix(".json").write_text("{")
    with pytest.raises(FaceError):
        deface(path)


def test_the_sidecar_says_so() -> None:
    told = json.loads(marked(b'{"EchoTime": 0.003}'))
    assert told["EchoTime"] == 0.003 and told["Defaced"] is True
    assert "pydeface" in told["DefacingMethod"]
