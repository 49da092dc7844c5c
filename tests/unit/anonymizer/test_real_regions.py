"""Real images of many devices and codecs, a band of each blacked out: pixel by pixel, and in the
eyes of dciodvfy (dicom3tools)."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import RLELossless

from pacstream_anonymizer.deidentifier import Released, deidentify_instance, read_original
from pacstream_anonymizer.profile import DEFAULT, DeviceRegions, Profile, Rectangle
from pacstream_anonymizer.signature import Signature
from tests.unit.anonymizer.instances import KEY, order_for
from tests.unit.anonymizer.pictures import inside, samples_of
from tests.unit.anonymizer.test_validity import errors_of

REAL = [
    "693_J2KI.dcm",
    "693_J2KR.dcm",
    "CT_small.dcm",
    "JPEG-LL.dcm",
    "JPEG2000.dcm",
    "JPGLosslessP14SV1_1s_1f_8b.dcm",
    "MR2_J2KI.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "OBXXXX1A.dcm",
    "OBXXXX1A_2frame.dcm",
    "OBXXXX1A_expb.dcm",
    "OBXXXX1A_rle_2frame.dcm",
    "RG3_J2KI.dcm",
    "SC_jpeg_no_color_transform.dcm",
    "SC_rgb_dcmtk_+eb+cy+np.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "SC_rgb_rle_16bit_2frame.dcm",
    "SC_rgb_small_odd.dcm",
    "SC_ybr_full_422_uncompressed.dcm",
    "SC_ybr_full_uncompressed.dcm",
    "US1_J2KI.dcm",
    "US1_J2KR.dcm",
    "US1_UNCI.dcm",
    "emri_small.dcm",
    "emri_small_RLE.dcm",
    "emri_small_jpeg_2k_lossless.dcm",
    "emri_small_jpeg_ls_lossless.dcm",
    "examples_palette.dcm",
    "examples_rgb_color.dcm",
    "examples_ybr_color.dcm",
    "liver.dcm",
]


def released(source: Path, rectangle: Rectangle, out: Path) -> Path:
    original = read_original(source.read_bytes())
    signature = Signature.of(original.elements, original.encoding)
    regions = DeviceRegions(
        signature.manufacturer, "", "", signature.rows, signature.columns, (rectangle,)
    )
    profile = Profile(DEFAULT.options, regions=(regions,))
    order = order_for(dcmread(source, stop_before_pixels=True))
    result = deidentify_instance(source, order, KEY, out, profile=profile)
    assert isinstance(result, Released), result
    return result.path


@pytest.mark.parametrize("name", REAL)
def test_a_real_image_is_black_in_a_band_and_else_as_it_was(tmp_path: Path, name: str) -> None:
    source = Path(str(get_testdata_file(name)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        head = dcmread(source, stop_before_pixels=True)
        rectangle = (0, 0, head.Columns - 1, max(1, head.Rows // 8))
        after = released(source, rectangle, tmp_path)
        before, found = samples_of(source), samples_of(after)
    is_inside = inside((rectangle,), head.Rows, head.Columns)
    pixels = found[:, is_inside].reshape(-1, found.shape[-1])
    assert (pixels == pixels[0]).all()
    if head.PhotometricInterpretation == "YBR_FULL_422" and head.Columns % 2 == 0:
        is_inside[: rectangle[3]] = True
    assert np.array_equal(before[:, ~is_inside], found[:, ~is_inside])
    written = dcmread(after, stop_before_pixels=True)
    compressed = head.file_meta.TransferSyntaxUID.is_compressed
    deflated = head.file_meta.TransferSyntaxUID.is_deflated
    if compressed and not deflated:
        assert written.file_meta.TransferSyntaxUID == RLELossless
    if not name.startswith("emri_small"):
        # It is an enhanced image without functional groups: what it may have nobody can say.
        assert list(errors_of(after) - errors_of(source)) == []
