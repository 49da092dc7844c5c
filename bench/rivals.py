"""What others do with the same rows: DCMTK's findscu and movescu in a loop, and PACSIFIER 1.0.0."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.tools import PACSIFIER, BenchError, installed
from demo.pacs import Pacs, dcmtk_environment

Row = Mapping[str, str]

RETURN_KEYS = (
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "PatientName",
    "PatientBirthDate",
    "StudyTime",
    "StudyDescription",
    "AccessionNumber",
    "SeriesNumber",
    "SeriesDescription",
    "Modality",
    "ProtocolName",
    "NumberOfSeriesRelatedInstances",
)


class Dcmtk:
    """One process a request, as shell scripts do it; `nodelay` sets TCP_NODELAY=1 for them."""

    def __init__(self, pacs: Pacs, aet: str, port: int, *, nodelay: bool) -> None:
        self._pacs = pacs
        self._aet = aet
        self._port = port
        self._environment = dcmtk_environment(nodelay=nodelay)

    def find(self, row: Row) -> list[tuple[str, str]]:
        """Study and series UIDs that a row matches: one relational C-FIND at SERIES level."""
        keys = {"QueryRetrieveLevel": "SERIES", **dict.fromkeys(RETURN_KEYS, ""), **row}
        arguments = [part for name, key in keys.items() for part in ("-k", f"{name}={key}")]
        text = self._run("findscu", "-v", "-S", *arguments)
        studies = re.findall(r"\(0020,000d\) UI \[([0-9.]+)", text)
        series = re.findall(r"\(0020,000e\) UI \[([0-9.]+)", text)
        return list(zip(studies, series, strict=True))

    def move(self, study_uid: str, series_uid: str, folder: Path) -> None:
        """One series, received by movescu itself."""
        folder.mkdir(parents=True, exist_ok=True)
        self._run(
            "movescu", "-S", "-aem", self._aet, "+P", str(self._port), "-od", str(folder),
            "-k", "QueryRetrieveLevel=SERIES", "-k", f"StudyInstanceUID={study_uid}",
            "-k", f"SeriesInstanceUID={series_uid}",
        )  # fmt: skip

    def fetch(self, rows: Sequence[Row], out: Path) -> None:
        """The whole job: each row found, each series of it moved."""
        for row in rows:
            for study_uid, series_uid in self.find(row):
                self.move(study_uid, series_uid, out / series_uid)

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [program, "-aet", self._aet, "-aec", self._pacs.aet, *arguments,
             self._pacs.address, str(self._pacs.port)],
            env=self._environment, capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
        if done.returncode:
            raise BenchError(f"{program} ends with {done.returncode}: {done.stderr[-500:]}")
        return done.stdout + done.stderr


class Pacsifier:
    """PACSIFIER 1.0.0 from PyPI, in a virtual environment of its own below the cache folder."""

    def __init__(self, pacs: Pacs, aet: str, port: int, *, nodelay: bool) -> None:
        self._pacs = pacs
        self._aet = aet
        self._port = port
        self._environment = dcmtk_environment(nodelay=nodelay)
        self._program = installed(PACSIFIER, "pacsifier")

    def fetch(self, queries: Path, out: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        config = out / "config.json"
        content = {
            "server_address": self._pacs.address, "port": self._pacs.port,
            "server_AET": self._pacs.aet, "AET": self._aet, "move_AET": self._aet,
            "move_port": self._port, "batch_size": 100000, "batch_wait_time": 0,
        }  # fmt: skip
        config.write_text(json.dumps(content), "utf-8")
        done = subprocess.run(
            [str(self._program), "-s", "-c", str(config), "-q", str(queries), "-d", str(out)],
            env=self._environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise BenchError(f"pacsifier ends with {done.returncode}: {done.stderr[-500:]}")


def images_below(folder: Path) -> int:
    """Number of files of DICOM images as DCMTK names them: CT.1.2.3 and so on."""
    return sum(1 for path in folder.rglob("*") if re.fullmatch(r"(CT|MR)\.[0-9.]+", path.name))
