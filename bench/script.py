"""What a script does for the same end: findscu and movescu, then dicognito, then dcm2niix."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.rivals import Dcmtk, Row
from bench.rounds import timed
from bench.tools import DICOGNITO, BenchError, installed
from demo.pacs import Pacs
from pacstream_converter.dcm2niix import Dcm2niix

DCM2NIIX_OPTIONS = ("-b", "y", "-ba", "y", "-z", "y", "-f", "%s")


class Script:
    """One stage after the other, each with its program as installed.

    dicognito works in place, in one process for all files; the dcm2niix is pacstream's own, the
    wheel from PyPI, whose built-in gzip is the fast one.
    """

    def __init__(self, pacs: Pacs, aet: str, port: int, *, nodelay: bool) -> None:
        self._dcmtk = Dcmtk(pacs, aet, port, nodelay=nodelay)
        self._dicognito = str(installed(DICOGNITO))
        self._dcm2niix = Dcm2niix(0).executable

    def run(self, rows: Sequence[Row], out: Path) -> dict[str, tuple[float, float]]:
        """Begin and end of each stage, in seconds. Raises BenchError if a program fails."""
        dicom, nifti = out / "dicom", out / "nifti"
        nifti.mkdir(parents=True)
        moved = timed(lambda: self._dcmtk.fetch(rows, dicom))
        deidentified = moved + timed(lambda: self._deidentify(dicom))
        converted = deidentified + timed(lambda: self._convert(dicom, nifti))
        return {
            "findscu, movescu": (0.0, moved),
            "dicognito": (moved, deidentified),
            "dcm2niix": (deidentified, converted),
        }

    def _deidentify(self, dicom: Path) -> None:
        _run(self._dicognito, "-m", "dicognito", "--quiet", "--in-place", str(dicom))

    def _convert(self, dicom: Path, nifti: Path) -> None:
        for series in dicom.iterdir():
            target = nifti / series.name
            target.mkdir()
            _run(self._dcm2niix, *DCM2NIIX_OPTIONS, "-o", str(target), str(series))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise BenchError(f"{command[0]} ends with {done.returncode}: {done.stderr[-500:]}")
