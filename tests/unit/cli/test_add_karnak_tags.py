"""`pacstream add-karnak-tags` as a user calls it."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
from pydicom import dcmread

from tests.unit.anonymizer.instances import saved
from tests.unit.exporter.folders import called, contents, fill, instance_of, started

CODES = {"sub-P1": "000001", "sub-P2": "000002", "sub-P3": "000003"}
SHIFTS = {"sub-P1": -3, "sub-P2": "14", "sub-P3": 0}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Three patients with three sessions of two series."""
    fill(tmp_path / "in", files=1)
    (tmp_path / "new_ids.json").write_text(json.dumps(CODES))
    (tmp_path / "day_shift.json").write_text(json.dumps(SHIFTS))
    return tmp_path


def told(path: Path) -> list[str]:
    header = dcmread(path)
    block = header.private_block(0x000B, "CHUV_DEV_TML")
    return [str(block[number].value) for number in (1, 2, 3)]


def test_pacsmans_command_line_writes_code_album_and_shift(home: Path) -> None:
    code, out, err = called(
        home,
        *("add-karnak-tags", "--in_folder", "in", "--new_ids", "new_ids.json"),
        *("--album_name", "album", "--day_shift", "day_shift.json"),
    )
    assert (code, err) == (0, "")
    assert "18 DICOM instances" in out and "tagged      18" in out
    files = list((home / "in").glob("sub-*/ses-*/*/CT.*"))
    assert len(files) == 18
    for path in files:
        subject = path.parts[-4]
        assert told(path) == [CODES[subject], "album", str(SHIFTS[subject])]


@pytest.mark.parametrize(("arguments", "shift"), [([], "0"), (["-s", "-7"], "-7")])
def test_the_shift_is_one_number_or_none(home: Path, arguments: list[str], shift: str) -> None:
    command = ["add-karnak-tags", "-d", "in", "-n", "new_ids.json", "-a", "album", *arguments]
    assert called(home, *command)[0] == 0
    assert {told(path)[2] for path in (home / "in").rglob("CT.*")} == {shift}
    before = contents(home / "in")
    code, out, _ = called(home, *command, "--json")
    assert code == 0 and json.loads(out)["tagged"] == 0
    assert contents(home / "in") == before


def test_codes_come_from_a_csv_of_ids_too(home: Path) -> None:
    (home / "ids.csv").write_text("PatientID,Pseudonym\nP1,A\nP2,B\nP3,C\n")
    assert called(home, "add-karnak-tags", "-d", "in", "-n", "ids.csv", "-a", "x")[0] == 0
    assert told(next((home / "in" / "sub-P2").rglob("CT.*")))[0] == "B"


def test_two_folders_of_one_code_are_noted(home: Path) -> None:
    (home / "new_ids.json").write_text(json.dumps(CODES | {"sub-P3": "000001"}))
    code, _, err = called(home, "add-karnak-tags", "-d", "in", "-n", "new_ids.json", "-a", "x")
    assert code == 0 and "1 codes stand for several folders" in err


@pytest.mark.parametrize("option", ["-n", "-s"])
def test_a_folder_without_entry_changes_nothing(home: Path, option: str) -> None:
    saved(instance_of("Q", 1, 1, 1), home / "in" / "sub-Quixotesson" / "a")
    before = contents(home / "in")
    if option == "-s":
        codes = CODES | {"sub-Quixotesson": "4"}
        (home / "new_ids.json").write_text(json.dumps(codes))
    code, out, err = called(
        home,
        *("add-karnak-tags", "-d", "in", "-n", "new_ids.json", "-a", "x", "-s", "day_shift.json"),
    )
    assert (code, out) == (2, "")
    assert "1 folder has no entry" in err and "Quixotesson" not in err
    (listed,) = (home / ".pacstream" / "offline").glob("*-problems-*.csv")
    assert str(listed) in err and "sub-Quixotesson,no entry" in listed.read_text()
    assert contents(home / "in") == before


def test_an_instance_that_can_not_be_tagged_is_an_exit_code(home: Path) -> None:
    path = next((home / "in").rglob("CT.*"))
    path.write_bytes(path.read_bytes()[:-9])
    (home / "in" / "sub-P1" / "notes.txt").write_text("notes")
    code, out, _ = called(home, "add-karnak-tags", "-d", "in", "-n", "new_ids.json", "-a", "x")
    assert code == 3
    assert "tagged      17" in out and "left out    1 truncated" in out
    assert "no instance 1 not_dicom" in out


def test_a_killed_run_leaves_whole_files_and_is_gone_on_with(home: Path) -> None:
    fill(home / "in", series=4, files=15)
    before = contents(home / "in")
    command = ("add-karnak-tags", "-d", "in", "-n", "new_ids.json", "-a", "x")
    process = started(home, *command)
    while process.poll() is None and not list(home.glob("in/*/*/*/.group-*")):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    files = {path for path in (home / "in").rglob("*") if path.name.startswith("CT.")}
    assert {str(path.relative_to(home / "in")) for path in files} == set(before)
    assert all(dcmread(path).PixelData == bytes(range(32)) for path in files)
    assert called(home, *command)[0] == 0
    assert {path for path in (home / "in").rglob("*") if path.is_file()} == files
    assert {tuple(told(path)[1:]) for path in files} == {("x", "0")}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-d", "nowhere", "-n", "new_ids.json", "-a", "x"], "--in_folder"),
        (["-d", "in", "-n", "nowhere.json", "-a", "x"], "--new_ids"),
        (["-d", "in", "-n", "new_ids.json"], "--album_name"),
        (["-d", "in", "-n", "new_ids.json", "-a", "a\\b"], "--album_name"),
        (["-d", "in", "-n", "new_ids.json", "-a", "x", "--creator", " "], "--creator"),
        (["-d", "in", "-n", "new_ids.json", "-a", "x", "-s", "1.5"], "--day_shift"),
        (["-d", "in", "-n", "new_ids.json", "-a", "x", "-s", "new_ids.csv"], "--day_shift"),
        (["-d", "in", "-n", "new_ids.json", "-a", "x", "-s", "wrong.json"], "entry 2"),
        (["-d", "in", "-n", "wrong.json", "-a", "x"], "entry 1"),
        (["-d", "bare", "-n", "new_ids.json", "-a", "x"], "no DICOM instance"),
        (["-d", "in/sub-P1", "-n", "new_ids.json", "-a", "x"], "no folder sub-*"),
    ],
)
def test_wrong_input_is_told_and_changes_nothing(
    home: Path, arguments: list[str], said: str
) -> None:
    (home / "bare" / "sub-P1").mkdir(parents=True)
    (home / "wrong.json").write_text('{"sub-P1": 1, "sub-P2": "x"}')
    before = contents(home / "in")
    code, out, err = called(home, "add-karnak-tags", *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert contents(home / "in") == before
