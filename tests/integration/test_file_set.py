"""File-sets in the eyes of others: DCMTK, dicom3tools, Orthanc."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.fileset import FileSet

from demo.pacs import OrthancPacs
from pacstream_exporter.media.file_set import create_file_set
from tests.unit.anonymizer.instances import saved
from tests.unit.exporter.folders import a_report, fill, instance_of

pytestmark = pytest.mark.pacs

DCIODVFY = Path(sys.executable).with_name("dciodvfy")


@pytest.fixture(scope="module")
def file_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of several patients and devices, some without what a directory needs, and a report."""
    source, out = tmp_path_factory.mktemp("in"), tmp_path_factory.mktemp("media") / "out"
    fill(source, patients=2, sessions=2)
    saved(a_report(), source / "report")
    bare = instance_of("P9", 1, 1, 1, StudyDate="", StudyTime="", StudyID="", PatientID="")
    del bare.SeriesNumber, bare.InstanceNumber
    saved(bare, source / "bare")
    found = Path(str(get_testdata_file("DICOMDIR"))).parent
    for patient in ("98892003", "77654033"):
        shutil.copytree(found / patient, source / patient)
    summary = create_file_set([source], out)
    assert summary.is_whole and summary.written == 42
    return out


def run(*command: object) -> str:
    """What a program that must succeed has to say."""
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, errors="replace", check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_dcmtk_and_pydicom_read_all_records(file_set: Path) -> None:
    told = run("dcmdump", file_set / "DICOMDIR")
    assert told.count("ReferencedFileID") == len(FileSet(file_set / "DICOMDIR"))
    assert not [line for line in told.splitlines() if line.startswith(("W:", "E:"))]


def test_dciodvfy_finds_no_error_in_the_dicomdir(file_set: Path) -> None:
    done = subprocess.run(
        [DCIODVFY, file_set / "DICOMDIR"], capture_output=True, errors="replace", check=False
    )
    lines = (done.stdout + done.stderr).splitlines()
    assert "BasicDirectory" in lines
    assert [line for line in lines if line.startswith("Error")] == []


def test_dcmmkdir_takes_all_names_and_files(file_set: Path, tmp_path: Path) -> None:
    ours = [path for path in file_set.rglob("*") if path.is_file() and path.name != "DICOMDIR"]
    run("dcmmkdir", "+r", "+I", "+id", file_set, "+D", tmp_path / "DICOMDIR", "-Nxc")
    theirs = dcmread(tmp_path / "DICOMDIR").DirectoryRecordSequence
    assert sum("ReferencedFileID" in record for record in theirs) == len(ours)


def test_orthanc_imports_it_whole(file_set: Path, tmp_path: Path) -> None:
    listed = FileSet(file_set / "DICOMDIR")
    with OrthancPacs(tmp_path / "pacs", {}) as pacs, requests.Session() as session:
        session.trust_env = False
        assert pacs.load(Path(instance.path) for instance in listed) == len(listed)
        counted = session.get(f"{pacs.http_url}/statistics", timeout=10).json()
    assert counted["CountInstances"] == len(listed)
    kinds = [one.DirectoryRecordType for one in dcmread(listed.path + "/DICOMDIR")[0x00041220]]
    assert (counted["CountStudies"], counted["CountSeries"]) == (
        kinds.count("STUDY"),
        kinds.count("SERIES"),
    )
