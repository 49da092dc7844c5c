from __future__ import annotations

from pathlib import Path

import pytest

from pacstream_converter.cleaner import CleanImage
from pacstream_converter.products import slices_converted, volume_names


def names(*stems: str) -> dict[str, str]:
    paths = [Path(f"{stem}.nii") for stem in stems]
    return {path.stem: name for path, name in volume_names(paths).items()}


@pytest.mark.parametrize("suffix", ["e1", "ph", "Eq_1", "Tilt_1", "e2_ph", "i00003", "t178"])
def test_fixed_suffixes_of_dcm2niix_stay(suffix: str) -> None:
    assert names("series", f"series_{suffix}") == {"series": "", f"series_{suffix}": f"-{suffix}"}


@pytest.mark.parametrize("suffix", ["_cJaneDoe", "_e1_Jane", "a", "_Eq_Jane", "_t19450203"])
def test_suffixes_that_may_come_from_the_data_become_numbers(suffix: str) -> None:
    assert names("series", f"series{suffix}") == {"series": "", f"series{suffix}": "-2"}


def test_numbers_do_not_depend_on_the_order_of_the_files() -> None:
    assert names("series_cB", "series_cA", "series") == names("series", "series_cA", "series_cB")


def test_a_volume_is_never_named_like_the_folder_of_a_neighbour() -> None:
    assert all("_2" not in name for name in names("seriesa", "series").values())


def clean(stem: str, slices: int) -> CleanImage:
    return CleanImage(Path(f"{stem}.nii"), b"", 352, (8, 8, slices), {})


@pytest.mark.parametrize(
    ("images", "total"),
    [
        ([clean("series_e1", 5), clean("series_e2", 5)], 10),
        ([clean("series", 7), clean("series_Eq_1", 11)], 7),
        ([clean("series", 6), clean("series_Tilt_1", 6)], 6),
        ([clean("series", 30), clean("series_ADC", 35)], 35),
        ([clean("series", 5), clean("series_ROI1", 5)], 5),
    ],
)
def test_only_the_series_own_slices_are_counted(images: list[CleanImage], total: int) -> None:
    assert slices_converted(images) == total
