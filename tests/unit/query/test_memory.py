"""Memory of a query does not grow with the number of series that it finds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NOISE = 600_000
"""Bytes that the interpreter keeps for later (2,000 tuples of each size): no growth, but 48 kB are
so few that they count. One kept answer per series would be 200 MB in the long test."""


def peak_of(studies: int, series: int, folder: Path) -> int:
    command = [sys.executable, "-m", "tests.unit.query.peak", str(studies), str(series)]
    return int(subprocess.check_output([*command, str(folder)], cwd=ROOT, text=True))


@pytest.mark.parametrize("times", [20, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("studies", "series"), [(100, 1), (1, 100)], ids=["studies", "series"])
def test_memory_stays_flat_from_100_series_up(
    tmp_path: Path, studies: int, series: int, times: int
) -> None:
    few = peak_of(studies, series, tmp_path)
    many = peak_of(
        studies * times if studies > 1 else 1, series * times if series > 1 else 1, tmp_path
    )
    assert many < 1.2 * few + NOISE
