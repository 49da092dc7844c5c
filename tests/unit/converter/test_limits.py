"""A NIfTI of the release comes from the originals: what its profile changes in pixels, or does not
admit, stays out."""

from __future__ import annotations

from pathlib import Path

import pytest

from pacstream.errors import RejectedError
from pacstream.messages import SeriesConverted, SeriesReceived
from pacstream_anonymizer.shelf import Shelf
from pacstream_converter.conversion import convert_series
from pacstream_converter.dcm2niix import Dcm2niix
from pacstream_converter.limits import NO_LIMITS, limits_of
from tests.unit.converter.samples import SIZE, Bench, StoreSeries

REGIONS = """
[[regions]]
manufacturer = "{maker}"
rows = {rows}
columns = {columns}
model = "another one"
rectangles = [[0, 0, 4, 4]]
"""


def profile(more: str = "", regions: str = "") -> str:
    return f'name = "trial"\noptions = ["clean_pixel_data"]\n{more}\n{regions}'


def regions(maker: str = "SIEMENS", rows: int = SIZE, columns: int = SIZE) -> str:
    return REGIONS.format(maker=maker, rows=rows, columns=columns)


def converted(bench: Bench, text: str, *, anonymize: bool = True) -> SeriesConverted:
    digest = Shelf(bench.archive.root).put("trial", text).digest
    order = bench.order(anonymize=anonymize, project="trial", profile=digest)
    uids = tuple(bench.uids)
    message = SeriesReceived(batch_id="batch-1", order=order, instances=uids)
    return convert_series(message, bench.archive, Dcm2niix(60))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (profile(regions=regions()), "regions_in_originals"),
        (profile(regions=regions(maker="  siemens ")), "regions_in_originals"),
        (profile('modalities = ["CT"]'), "not_admitted"),
        (profile('sop_classes = ["1.2.840.10008.5.1.4.1.1.2"]'), "not_admitted"),
        (profile("second_look = true"), "originals_not_looked_at"),
    ],
)
def test_what_the_profile_keeps_out_is_no_nifti_of_the_release(
    bench: Bench, store_series: StoreSeries, text: str, reason: str
) -> None:
    store_series()
    told = converted(bench, text)
    assert (told.state, told.reason, told.products) == ("withheld", reason, ())
    assert not bench.products()
    # Whoever keeps originals has their NIfTI.
    assert converted(bench, text, anonymize=False).state == "converted"


@pytest.mark.parametrize(
    "text",
    [
        profile(regions=regions(maker="GE")),
        profile(regions=regions(rows=SIZE + 1)),
        profile('modalities = ["CT", "MR"]'),
    ],
)
def test_other_devices_and_admitted_modalities_are_converted(
    bench: Bench, store_series: StoreSeries, text: str
) -> None:
    store_series()
    assert converted(bench, text).state == "converted"


def test_without_its_profile_nothing_is_converted_for_a_release(
    bench: Bench, store_series: StoreSeries
) -> None:
    store_series()
    order = bench.order(anonymize=True, project="trial", profile="ab" * 32)
    message = SeriesReceived(batch_id="batch-1", order=order, instances=tuple(bench.uids))
    with pytest.raises(RejectedError) as caught:
        convert_series(message, bench.archive, Dcm2niix(60))
    assert caught.value.code == "project_profile_missing"


def test_a_profile_that_was_changed_to_no_toml_is_told(tmp_path: Path) -> None:
    path = tmp_path / "projects" / "trial" / "profiles" / f"{'cd' * 32}.toml"
    path.parent.mkdir(parents=True)
    path.write_text("regions = 7")
    with pytest.raises(RejectedError) as caught:
        limits_of(tmp_path, "trial", "cd" * 32)
    assert caught.value.code == "project_profile_unreadable"


def test_an_order_of_an_older_sender_has_no_limits(tmp_path: Path) -> None:
    assert limits_of(tmp_path, "trial", "") == NO_LIMITS
