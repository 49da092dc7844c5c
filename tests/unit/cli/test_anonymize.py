"""`pacstream anonymize` as a user calls it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pacstream.keys import create_key, load_key
from pacstream_anonymizer.shelf import Project, Shelf
from tests.unit.anonymizer.instances import saved
from tests.unit.anonymizer.offline.folders import (
    PATIENTS,
    contents,
    fill,
    instance_of,
    mentions,
    plain,
)

COMMAND = [sys.executable, "-c", "from pacstream_cli.main import main; main()", "anonymize"]
IDENTIFYING = ("Quixotesson", "Vandersloot", "88213", "101 A", "101_A", "20240229")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return fill(tmp_path / "in")


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
    """Exit code, standard output and errors; none of the last two names anybody."""
    process = started(folder, *arguments)
    out, err = process.communicate(timeout=120)
    assert not mentions([out, err], *IDENTIFYING)
    return process.returncode, out, err


def test_two_folders_are_all_that_is_needed(source: Path, tmp_path: Path) -> None:
    code, out, err = called(tmp_path, "-d", "in", "-o", "out")
    assert code == 0
    assert "8 DICOM instances" in out and "released    8 of 2 patients" in out
    assert (tmp_path / ".pacstream").stat().st_mode & 0o777 == 0o700
    key = load_key(tmp_path / ".pacstream" / "keys", "default")
    assert f"made in {tmp_path / '.pacstream' / 'keys'}" in err
    assert {path.split("/")[0] for path in contents(tmp_path / "out")} == {
        f"sub-{key.pseudonym(patient)}" for patient in PATIENTS
    }
    code, out, err = called(tmp_path, "-d", "in", "-o", "out")
    assert (code, err) == (0, "")
    assert "released    8 of 2 patients, 8 of them earlier" in out


def test_the_exit_code_tells_that_something_was_withheld(source: Path, tmp_path: Path) -> None:
    saved(instance_of("MRN-88213", 5, 1, BurnedInAnnotation="YES"), source / "Quixotesson" / "x")
    code, out, err = called(tmp_path, "-d", source, "-o", "out", "--json")
    assert code == 3
    told = json.loads(out)
    assert told["withheld"] == {"burned_in_annotation": 1}
    assert (told["instances"], told["released"], told["layout"]) == (9, 8, "uids")
    assert told["is_fallback"] and told["project"] == "default"
    code, out, err = called(tmp_path, "-d", source, "-o", "out")
    assert code == 3
    assert "as with --any-layout" in err
    assert "withheld    1 burned_in_annotation" in out


def test_names_of_pacsmans_options_work_as_they_did(source: Path, tmp_path: Path) -> None:
    new_ids = {f"sub-{plain(patient)}": f"00000{n}" for n, patient in enumerate(PATIENTS)}
    (tmp_path / "new_ids.json").write_text(json.dumps(new_ids))
    code, _, err = called(
        tmp_path,
        *("--in_folder", source, "--out_folder", source, "--new_ids", "new_ids.json"),
        *("--delete_identifiable", "--fuzz_acq_dates", "--remove_private_tags"),
    )
    assert code == 0, err
    assert {path.split("/")[0] for path in contents(source)} == {"sub-000000", "sub-000001"}


def test_kept_folder_names_come_with_a_warning(source: Path, tmp_path: Path) -> None:
    code, _, err = called(tmp_path, "-d", source, "-o", "out", "-k")
    assert code == 0 and "they may identify" in err
    assert f"sub-{plain('HU/101 A')}" in {p.split("/")[0] for p in contents(tmp_path / "out")}


def test_a_mapping_without_a_patient_starts_nothing(source: Path, tmp_path: Path) -> None:
    (tmp_path / "ids.csv").write_text("sub-MRN_88213,S1\n")
    code, _, err = called(tmp_path, "-d", source, "-o", "out", "-n", "ids.csv")
    assert code == 2
    assert "1 patient: has no entry" in err
    listed = tmp_path / ".pacstream" / "offline" / "default" / "problems.csv"
    assert str(listed) in err
    assert "HU/101 A,,has no entry" in listed.read_text()
    assert not (tmp_path / "out").exists() or not contents(tmp_path / "out")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-d", "nowhere", "-o", "out"], "--in_folder"),
        (["-d", "in"], "--out_folder"),
        (["-d", "in", "-o", "out", "--project", "unknown"], "--project"),
        (["-d", "in", "-o", "out", "--project", "../x"], "--project"),
        (["-d", "in", "-o", "out", "--profile", "unknown"], "--profile"),
        (["-d", "in", "-o", "out", "--options", "everything"], "--options"),
        (["-d", "in", "-o", "out", "--options", "full_dates", "-a"], "--fuzz_acq_dates"),
        (["-d", "in", "-o", "out", "--workers", "0"], "--workers"),
        (["-d", "in", "-o", "out", "--any-layout", "-k"], "--any-layout"),
        (["-d", "in", "-o", "out", "-n", "nowhere.json"], "--new_ids"),
        (["-d", "in", "-o", "out", "--data", "out/x"], "trusted zone"),
        (["-d", "in", "-o", ".", "--data", "../zone"], "--in_folder"),
    ],
)
def test_wrong_input_is_told_and_starts_nothing(
    source: Path, tmp_path: Path, arguments: list[str], told: str
) -> None:
    code, out, err = called(tmp_path, *arguments)
    assert (code, out) == (2, "")
    assert told in err and "Traceback" not in err
    assert not (tmp_path / "out").exists() or not contents(tmp_path / "out")


def test_a_project_that_is_there_is_used(source: Path, tmp_path: Path) -> None:
    create_key(tmp_path / "zone" / "keys", "trial")
    code, _, err = called(
        tmp_path, "-d", source, "-o", "out", "--data", "zone", "--project", "trial"
    )
    assert (code, err) == (0, "")
    key = load_key(tmp_path / "zone" / "keys", "trial")
    assert mentions(contents(tmp_path / "out"), key.pseudonym("MRN-88213"))
    assert not (tmp_path / ".pacstream").exists()


def test_a_projects_own_profile_is_the_default(source: Path, tmp_path: Path) -> None:
    zone = Shelf(tmp_path / "zone")
    profile = zone.put("trial", "name = 'mine'\noptions = ['retain_patient_characteristics']\n")
    zone.write(Project(name="trial", profile=profile.digest))
    create_key(tmp_path / "zone" / "keys", "trial")
    arguments = ["-d", source, "--data", "zone", "--project", "trial", "--json"]
    told = json.loads(called(tmp_path, *arguments, "-o", "own")[1])
    assert (told["profile"], told["profile_digest"]) == ("mine", profile.digest)
    told = json.loads(called(tmp_path, *arguments, "-o", "strict", "--profile", "strict")[1])
    assert (told["profile"], told["options"]) == ("strict", [])
    told = json.loads(called(tmp_path, *arguments, "-o", "none", "--options", "none")[1])
    assert (told["profile"], told["options"]) == ("mine", [])
    code, _, err = called(tmp_path, *arguments, "-o", "none")
    assert code == 2 and "earlier run" in err


@pytest.mark.parametrize("in_place", [False, True])
def test_a_killed_run_is_gone_on_with(in_place: bool, tmp_path: Path) -> None:
    source = fill(tmp_path / "in", series=4, instances=80)
    number = len(contents(source))
    out = source if in_place else tmp_path / "out"
    process = started(tmp_path, "-d", source, "-o", out, "--workers", 2)
    deadline = time.monotonic() + 60
    while not list(out.rglob("2.25.*.dcm")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    code, told, err = called(tmp_path, "-d", source, "-o", out, "--workers", 2, "--json")
    assert code == 0, err
    assert json.loads(told)["released"] == number
    again = fill(tmp_path / "again" / "in", series=4, instances=80)
    plain_run = ["-d", again, "-o", tmp_path / "whole", "--data", tmp_path / "other"]
    create_key(tmp_path / "other" / "keys", "default")
    key = (tmp_path / ".pacstream" / "keys" / "default.key").read_bytes()
    (tmp_path / "other" / "keys" / "default.key").write_bytes(key)
    assert called(tmp_path, *plain_run, "--workers", 1)[0] == 0
    assert contents(out) == contents(tmp_path / "whole")
