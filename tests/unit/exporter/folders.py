"""Folders of instances made by code."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import BasicTextSRStorage

from pacstream_cli.main import main
from tests.unit.anonymizer.instances import an_instance, saved

ROOT_UID = "1.2.826.0.1.78"
COMMAND = [sys.executable, "-c", "from pacstream_cli.main import main; main()"]


def instance_of(patient: str, study: int, series: int, number: int, **attributes: Any) -> Dataset:
    """The same UIDs each time."""
    root = f"{ROOT_UID}.{sum(map(ord, patient))}.{study}"
    return an_instance(
        **{
            "PatientID": patient,
            "PatientName": f"Name^{patient}",
            "StudyInstanceUID": root,
            "StudyID": f"S{study}",
            "SeriesInstanceUID": f"{root}.{series}",
            "SOPInstanceUID": f"{root}.{series}.{number}",
            "SeriesNumber": series,
            "InstanceNumber": number,
            **attributes,
        }
    )


def fill(root: Path, patients: int = 3, sessions: int = 3, series: int = 2, files: int = 2) -> Path:
    """PACSMAN's layout: `sub-P1/ses-1/00001-T1/CT.<UID>`, ..."""
    for patient in range(1, patients + 1):
        for session in range(1, sessions + 1):
            for one in range(1, series + 1):
                folder = root / f"sub-P{patient}" / f"ses-{session}" / f"0000{one}-T1"
                for number in range(1, files + 1):
                    instance = instance_of(f"P{patient}", session, one, number)
                    saved(instance, folder / f"CT.{instance.SOPInstanceUID}")
    return root


def a_report(**attributes: Any) -> Dataset:
    """A basic text report of one paragraph."""
    report = instance_of(
        "P1", 1, 9, 1, SOPClassUID=BasicTextSRStorage, Modality="SR", ContentDate="20240301",
        ContentTime="1200", CompletionFlag="COMPLETE", VerificationFlag="UNVERIFIED",
        ValueType="CONTAINER", ContinuityOfContent="SEPARATE",
        ConceptNameCodeSequence=code("18748-4", "Diagnostic Imaging Report"),
        ContentSequence=Sequence([text_item("Findings", "All is well.")]),
    )  # fmt: skip
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"):
        delattr(report, keyword)
    for keyword, value in attributes.items():
        setattr(report, keyword, value)
    return report


def code(value: str, meaning: str, scheme: str = "LN") -> Sequence:
    concept = Dataset()
    concept.CodeValue = value
    concept.CodingSchemeDesignator = scheme
    concept.CodeMeaning = meaning
    return Sequence([concept])


def item(value_type: str, name: str, relation: str = "CONTAINS", **attributes: Any) -> Dataset:
    made = Dataset()
    made.RelationshipType = relation
    made.ValueType = value_type
    made.ConceptNameCodeSequence = code("121070", name, "DCM")
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


def text_item(name: str, text: str) -> Dataset:
    return item("TEXT", name, TextValue=text)


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder, hidden ones too."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def started(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "PACSTREAM_DATA"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def called(folder: Path, *arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and errors of `pacstream ...`, called in `folder`."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        contextlib.chdir(folder),
    ):
        patch.setattr(sys, "argv", ["pacstream", *map(str, arguments)])
        patch.delenv("PACSTREAM_DATA", raising=False)
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, out.getvalue(), err.getvalue()
