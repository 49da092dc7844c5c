"""`pacstream convert --bids` as a user calls it."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pacstream_cli.commands_convert import convert
from tests.unit.converter.bids import scanner
from tests.unit.converter.bids.validator import errors_in
from tests.unit.converter.samples import PLANTED, write

PATIENT, STUDY = PLANTED["PatientID"], "1.2.826.0.1.4711.1"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Series of one study in one folder, as a CD has them."""
    (tmp_path / "in").mkdir()
    scans = (scanner.MPRAGE, scanner.BOLD, scanner.DWI, scanner.CT, scanner.STRANGE)
    for scan in scans:
        for ds in scan.instances(PATIENT, STUDY):
            write(ds, tmp_path / "in" / f"{ds.SOPInstanceUID}")
    return tmp_path


def told(folder: Path, *arguments: object) -> tuple[int, dict[str, Any]]:
    with contextlib.chdir(folder):
        words = ["in", "-o", "out", "--json", *map(str, arguments)]
        result = CliRunner(env={"PACSTREAM_DATA": None}).invoke(convert, words)
    assert result.exc_info and result.exc_info[0] is SystemExit, result.exception
    summary: dict[str, Any] = json.loads(result.stdout)
    return result.exit_code, summary


def refused(folder: Path, *arguments: object) -> str:
    with contextlib.chdir(folder):
        words = ["in", "-o", "out", *map(str, arguments)]
        result = CliRunner(env={"PACSTREAM_DATA": None}).invoke(convert, words)
    assert result.exception is not None
    return "\n".join([str(result.exception), *getattr(result.exception, "problems", ())])


def images(root: Path) -> list[str]:
    """Without what names subject and session."""
    found = root.glob("sub-*/ses-*/*/*.nii.gz")
    return sorted(f"{path.parent.name}/{path.name.split('_', 2)[2]}" for path in found)


def test_a_folder_becomes_a_valid_data_set(folder: Path) -> None:
    code, summary = told(folder, "--bids")
    assert code == 0
    assert summary["bids"]["states"] == {"beside": 1, "bids": 3, "unmatched": 1}
    assert images(folder / "out") == [
        "anat/acq-mprage_T1w.nii.gz",
        "ct/ct.nii.gz",
        "dwi/dwi.nii.gz",
        "func/task-rest_bold.nii.gz",
    ]
    assert errors_in(folder / "out") == []
    names = [str(path.relative_to(folder)) for path in (folder / "out").rglob("*")]
    assert not [name for name in names if PATIENT in name or "4711" in name or "PLANT" in name]


def test_images_are_second_names_of_what_was_converted(folder: Path) -> None:
    told(folder, "--bids")
    converted = {path.stat().st_ino for path in (folder / "out/sourcedata/nifti").rglob("*.nii.gz")}
    dataset = {path.stat().st_ino for path in (folder / "out").glob("sub-*/ses-*/*/*.nii.gz")}
    assert dataset < converted


def test_dates_of_sessions_are_shifted_and_ages_are_told(folder: Path) -> None:
    told(folder, "--bids")
    (session,) = (folder / "out").glob("sub-*/ses-*")
    assert session.name.startswith("ses-20") and not session.name.startswith("ses-20200102")
    assert (folder / "out/participants.tsv").read_text().splitlines()[1].split("\t")[1] == "74"


def test_own_rules_come_first(folder: Path) -> None:
    rules = folder / "rules.toml"
    rules.write_text(
        '[[rules]]\nname = "house"\nfolder = "anat"\nsuffix = "T2w"\n'
        'when.SeriesDescription = "dr house"\nentities.acq = "house"\n'
    )
    code, summary = told(folder, "--bids", "--bids-rules", "rules.toml")
    assert code == 0
    assert summary["bids"]["states"] == {"beside": 1, "bids": 4}
    assert "anat/acq-house_T2w.nii.gz" in images(folder / "out")


def test_wrong_rules_are_refused_before_anything_starts(folder: Path) -> None:
    (folder / "rules.toml").write_text('[[rules]]\nname = "x"\nfolder = "anatt"\n')
    said = refused(folder, "--bids-rules", "rules.toml")
    assert "rules.toml" in said and "line 1" in said
    assert not (folder / "out").exists()


def test_a_folder_with_other_things_is_refused(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "thesis.doc").write_text("chapter 1")
    assert "neither empty nor a data set" in refused(folder, "--bids")
    assert [path.name for path in (folder / "out").iterdir()] == ["thesis.doc"]


def add_knee(folder: Path) -> None:
    told = {"BodyPartExamined": "KNEE", "StudyDescription": "", "SeriesNumber": 50}
    for ds in replace(scanner.MPRAGE, number=50, description="t1_tse").instances(PATIENT, "1.2.77"):
        for keyword, value in told.items():
            setattr(ds, keyword, value)
        write(ds, folder / "in" / f"{ds.SOPInstanceUID}")


def test_what_may_be_a_face_is_withheld_and_taken_back(folder: Path) -> None:
    add_knee(folder)
    code, _ = told(folder, "--bids")
    assert code == 0 and "anat/acq-mprage_T1w.nii.gz" in images(folder / "out")
    code, summary = told(folder, "--bids", "--deface")
    assert code == 3
    assert summary["states"] == {"converted": 1, "withheld": 5}
    withheld = [one for one in summary["series"] if one["state"] == "withheld"]
    assert {one["reason"] for one in withheld} == {"deface_small"}
    assert images(folder / "out") == ["anat/acq-tse_T1w.nii.gz"]
    kinds = (".nii.gz", ".png", ".bval", ".bvec")
    left = [path for path in (folder / "out").rglob("*") if path.name.endswith(kinds)]
    assert len(left) == 3
    (sidecar,) = (folder / "out").glob("sub-*/ses-*/anat/*.json")
    assert "Defaced" not in json.loads(sidecar.read_text())
    assert errors_in(folder / "out") == []


def test_a_tool_would_convert_the_faces_once_more(folder: Path) -> None:
    (folder / "config.json").write_text('{"descriptions": []}')
    assert "--deface" in refused(folder, "--bids", "dcm2bids:config.json", "--deface")
