"""rapidocr's detector on images made here: burned-in names are found, plain images are clean.

Skipped without the extra `ocr` (325 MB), which the development environment does not install.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom import Dataset

from pacstream_anonymizer.second_look import SecondLook
from tests.unit.anonymizer.instances import an_instance, saved

pytest.importorskip("rapidocr", reason="no rapidocr: pip install 'pacstream[ocr]'")

BODY = 3000


@pytest.fixture(scope="module")
def look() -> Iterator[SecondLook]:
    made = SecondLook()
    yield made
    made.close()


def slice_of(seed: int, size: int = 512) -> NDArray[np.uint16]:
    """An ellipse with organs and noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size - 0.5
    body = np.where((x / 0.4) ** 2 + (y / 0.3) ** 2 < 1, 1000.0, 0.0)
    for _ in range(6):
        across, down = random.uniform(-0.2, 0.2, 2)
        inside = ((x - across) / 0.08) ** 2 + ((y - down) / 0.06) ** 2 < 1
        body += inside * random.uniform(-300, 900)
    return np.clip(body + random.normal(50, 30, body.shape), 0, BODY).astype(np.uint16)


def written(pixels: NDArray[np.uint16], text: str, height: int, at: tuple[int, int]) -> Dataset:
    """The slice with `text` burned in, in letters of so many pixels."""
    mask = Image.new("L", (pixels.shape[1], pixels.shape[0]))
    font = ImageFont.load_default(height)
    ImageDraw.Draw(mask).text(at, text, fill=255, font=font)
    burned = np.where(np.asarray(mask) > 127, BODY, pixels).astype(np.uint16)
    rows, columns = pixels.shape
    return an_instance(Rows=rows, Columns=columns, PixelData=burned.tobytes())


@pytest.mark.parametrize("seed", range(4))
def test_a_plain_slice_is_clean(look: SecondLook, tmp_path: Path, seed: int) -> None:
    path = saved(written(slice_of(seed), "", 12, (0, 0)), tmp_path / "slice")
    assert look.reason(path) == ""


@pytest.mark.parametrize("height", [10, 14, 24])
@pytest.mark.parametrize("text", ["QUIXOTESSON^AMBROSIUS", "12.03.1941 MRN-88213"])
def test_burned_in_text_is_found(look: SecondLook, tmp_path: Path, text: str, height: int) -> None:
    path = saved(written(slice_of(1), text, height, (12, 14)), tmp_path / "slice")
    assert look.reason(path) == "text_in_pixels"


def test_small_text_in_a_corner_of_a_large_radiograph_is_found(
    look: SecondLook, tmp_path: Path
) -> None:
    path = saved(written(slice_of(2, 2000), "QUIXOTESSON", 14, (1850, 1960)), tmp_path / "xray")
    assert look.reason(path) == "text_in_pixels"


def test_what_can_not_be_read_is_not_seen_and_does_not_end_the_detector(
    look: SecondLook, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"no DICOM")
    assert look.reason(broken) == "pixels_not_seen"
    clean = saved(written(slice_of(0), "", 12, (0, 0)), tmp_path / "slice")
    assert look.reason(clean) == ""
