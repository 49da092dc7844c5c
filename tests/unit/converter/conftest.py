"""Fixtures: an archive with one series."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

import pytest

from pacstream.archive import Archive
from pacstream.keys import create_key
from tests.unit.converter.samples import SERIES_UID, Bench, StoreSeries, image


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(Archive(tmp_path / "data"), tmp_path / "out")
    bench.archive.series_folder(SERIES_UID).mkdir(parents=True)
    create_key(bench.archive.keys, "trial")
    return bench


@pytest.fixture
def store_series(bench: Bench) -> StoreSeries:
    """Store `count` slices; `changes` gives attributes that differ, by the slice's number."""

    def store(
        modality: str = "MR",
        count: int = 5,
        changes: Mapping[str, Callable[[int], object]] | None = None,
    ) -> None:
        for number in range(count):
            ds = image(modality, number)
            for keyword, value in (changes or {}).items():
                setattr(ds, keyword, value(number))
            bench.store(ds)

    return store


@pytest.fixture
def mosaics() -> Sequence[Path]:
    """Two Siemens mosaics of 48 slices with CSA headers, b = 0 and b = 1000."""
    folder = Path(str(files("nibabel"))) / "nicom" / "tests" / "data"
    return [folder / "siemens_dwi_0.dcm.gz", folder / "siemens_dwi_1000.dcm.gz"]
