"""A session at a scanner, acquired and converted once."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import pytest

from pacstream_converter.bids.planning import ConvertedSeries
from tests.unit.converter.bids import scanner
from tests.unit.converter.bids.scanner import Session


@pytest.fixture(scope="session")
def acquired(tmp_path_factory: pytest.TempPathFactory) -> Sequence[ConvertedSeries]:
    """Series of several vendors' ways, and real Siemens mosaics."""
    session = Session(tmp_path_factory.mktemp("session"))
    series = [session.scan(scan) for scan in scanner.EVERYTHING]
    mosaics = session.folder / "mosaics"
    mosaics.mkdir()
    data = Path(str(files("nibabel"))) / "nicom" / "tests" / "data"
    for name in ("siemens_dwi_0.dcm.gz", "siemens_dwi_1000.dcm.gz"):
        (mosaics / name[:-3]).write_bytes(gzip.decompress((data / name).read_bytes()))
    return [*series, session.convert(sorted(mosaics.iterdir()), "1.3.12", "00040-MR")]
