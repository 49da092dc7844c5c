"""`pacstream create-dicomdir` as a user calls it."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
from pydicom.fileset import FileSet

from tests.unit.anonymizer.instances import saved
from tests.unit.exporter.folders import called, contents, fill, instance_of, started


def test_pacsmans_command_line_makes_a_file_set(tmp_path: Path) -> None:
    fill(tmp_path / "in", files=1)
    code, out, err = called(tmp_path, "create-dicomdir", "--in_folder", "in", "--out_folder", "out")
    assert (code, err) == (0, "")
    assert "18 DICOM instances" in out and "listed      18" in out
    assert len(FileSet(tmp_path / "out" / "DICOMDIR")) == 18
    code, out, _ = called(tmp_path, "create-dicomdir", "-d", "in", "-o", "out", "--json")
    assert code == 0 and json.loads(out)["before"] == 18


def test_a_file_that_is_not_listed_is_an_exit_code_and_a_line_in_the_trusted_zone(
    tmp_path: Path,
) -> None:
    fill(tmp_path / "in", files=1)
    folder = tmp_path / "in" / "sub-Quixotesson"
    saved(instance_of("P1", 1, 1, 9, SeriesInstanceUID=""), folder / "x")
    (folder / "notes.txt").write_text("notes")
    code, out, err = called(tmp_path, "create-dicomdir", "-d", "in", "-o", "out")
    assert code == 3
    assert "left out    1 missing_uid (SeriesInstanceUID)" in out
    assert "no instance 1 not_dicom" in out
    assert "Quixotesson" not in out + err
    (listed,) = (tmp_path / ".pacstream" / "offline").glob("create-dicomdir-*.csv")
    assert str(listed) in out
    assert f"{folder / 'x'},missing_uid,SeriesInstanceUID" in listed.read_text()


def test_a_killed_run_has_no_dicomdir_and_the_next_one_is_whole(tmp_path: Path) -> None:
    fill(tmp_path / "in", patients=4, sessions=5, series=5, files=8)
    process = started(tmp_path, "create-dicomdir", "-d", "in", "-o", "out")
    while process.poll() is None and not list(tmp_path.glob("out/*/*/*/????????")):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    if process.returncode == -signal.SIGKILL:
        assert not (tmp_path / "out" / "DICOMDIR").exists()
    code, out, _ = called(tmp_path, "create-dicomdir", "-d", "in", "-o", "out")
    assert code == 0 and "listed      800" in out
    assert len(contents(tmp_path / "out")) == 801


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-d", "nowhere", "-o", "out"], "--in_folder"),
        (["-d", "in"], "--out_folder"),
        (["-d", "in", "-o", "in/out"], "lies inside"),
        (["-d", "in/sub-P1", "-o", "in"], "lies inside"),
        (["-d", "in", "-o", "in/sub-P1/ses-1/file"], "lies inside"),
        (["-d", "empty", "-o", "out"], "no DICOM instance"),
    ],
)
def test_wrong_input_is_told_and_starts_nothing(
    tmp_path: Path, arguments: list[str], told: str
) -> None:
    before = contents(fill(tmp_path / "in", patients=1, sessions=1))
    (tmp_path / "empty").mkdir()
    code, out, err = called(tmp_path, "create-dicomdir", *arguments)
    assert (code, out) == (2, "")
    assert told in err
    assert contents(tmp_path / "in") == before
    assert not (tmp_path / "out").exists()
