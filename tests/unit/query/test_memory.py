"""Memory of a query does not grow with the number of series that it finds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def peak_of(studies: int, series: int, folder: Path) -> int:
    command = [sys.executable, "-m", "tests.unit.query.peak", str(studies), str(series)]
    return int(subprocess.check_output([*command, str(folder)], cwd=ROOT, text=True))


@pytest.mark.parametrize("times", [20, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("studies", "series"), [(100, 1), (1, 100)], ids=["studies", "series"])
def test_memory_of_the_query_service_stays_flat_from_100_series_up(
    tmp_path: Path, studies: int, series: int, times: int
) -> None:
    few = peak_of(studies, series, tmp_path)
    many = peak_of(
        studies * times if studies > 1 else 1, series * times if series > 1 else 1, tmp_path
    )
    assert 0.8 * few <= many <= 1.2 * few
