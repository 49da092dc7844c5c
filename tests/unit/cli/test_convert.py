"""`pacstream convert` as a user calls it."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import click
import nibabel
import pytest
from click.testing import CliRunner
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from pacstream.errors import InputError
from pacstream.keys import create_key, load_key
from pacstream_cli.commands_convert import convert
from tests.unit.converter.samples import ECHOES, PLANTED, SERIES_UID, SIZE, STUDY_UID, image, write

COMMAND = [sys.executable, "-c", "from pacstream_cli.main import main; main()", "convert"]
WITHHELD = ("ExplVR_BigEnd.dcm", "SC_rgb_small_odd.dcm")
SECOND_UID = "1.2.826.0.1.4711.22"


def started(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PACSTREAM_DATA"}
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def called(folder: Path, *arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and errors; none of the last two names anybody."""
    process = started(folder, *arguments)
    out, err = process.communicate(timeout=120)
    assert not [echo for echo in ECHOES if echo in (out + err).upper()]
    return process.returncode, out, err


def told(folder: Path, *arguments: object) -> tuple[int, dict[str, Any]]:
    """Exit code and summary, in this process."""
    with contextlib.chdir(folder):
        words = ["in", "-o", "out", "--json", *map(str, arguments)]
        result = CliRunner(env={"PACSTREAM_DATA": None}).invoke(convert, words)
    assert not [echo for echo in ECHOES if echo in result.output.upper()]
    assert result.exc_info and result.exc_info[0] is SystemExit, result.exception
    summary: dict[str, Any] = json.loads(result.stdout)
    return result.exit_code, summary


def slices(count: int, modality: str = "MR", **changes: object) -> list[Dataset]:
    made = [image(modality, number) for number in range(count)]
    for ds in made:
        for keyword, value in changes.items():
            setattr(ds, keyword, value)
    return made


def fill(folder: Path, images: Mapping[str, Dataset]) -> None:
    for name, ds in images.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write(ds, folder / name)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two series in one folder, one of them in another one too; no extensions, no numbers."""
    first, second = slices(5), slices(4, "CT", SeriesInstanceUID=SECOND_UID)
    for number, ds in enumerate([*first, *second]):
        ds.SOPInstanceUID = f"1.2.826.0.1.4711.3.{number + 1}"
        del ds.SeriesNumber
    fill(tmp_path / "in", {f"ANASTASIA/{n}": ds for n, ds in enumerate(first[:3])})
    fill(tmp_path / "in", {f"more/of/it/{n}": ds for n, ds in enumerate(first[3:])})
    fill(tmp_path / "in", {f"ANASTASIA/CT{n}": ds for n, ds in enumerate(second)})
    return tmp_path / "in"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def stem_of(folder: Path, series_uid: str, project: str = "default") -> Path:
    key = load_key(folder / ".pacstream" / "keys", project)
    patient = key.pseudonym(PLANTED["PatientID"])
    return folder / "out" / patient / key.uid(STUDY_UID) / key.uid(series_uid)


def shape(stem: Path) -> tuple[int, ...]:
    return tuple(nibabel.Nifti1Image.from_filename(f"{stem}.nii.gz").shape)


def test_series_are_told_apart_by_uid_whatever_the_folders(source: Path, tmp_path: Path) -> None:
    before = contents(source)
    code, out, err = called(tmp_path, "in", "-o", "out")
    assert code == 0, err
    assert "2 series" in out and "5/5" in out and "4/4" in out
    assert shape(stem_of(tmp_path, SERIES_UID)) == (SIZE, SIZE, 5)
    assert shape(stem_of(tmp_path, SECOND_UID)) == (SIZE, SIZE, 4)
    assert contents(source) == before
    names = {name.partition(".")[2] for name in contents(tmp_path / "out")}
    assert all(name.endswith((".nii.gz", ".json", ".png")) for name in names)


def test_what_is_finished_is_not_done_again(source: Path, tmp_path: Path) -> None:
    assert told(tmp_path, "--jobs", "2")[0] == 0
    before = contents(tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.gz")}
    code, summary = told(tmp_path)
    assert code == 0
    assert [one["earlier"] for one in summary["series"]] == [True, True]
    assert {path: path.stat().st_mtime_ns for path in times} == times
    Path(f"{stem_of(tmp_path, SECOND_UID)}.nii.gz").write_bytes(b"damaged")
    write(image("MR", 6), source / "one more")
    code, summary = told(tmp_path)
    assert {one["earlier"] for one in summary["series"]} == {False}
    after = contents(tmp_path / "out")
    changed = {name for name in before if before[name] != after[name]}
    assert all(load_key(tmp_path / ".pacstream/keys", "default").uid(SERIES_UID) in name
               for name in changed)  # fmt: skip


def test_a_killed_run_is_gone_on_with(source: Path, tmp_path: Path) -> None:
    assert told(tmp_path)[0] == 0
    whole = contents(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    process = started(tmp_path, "in", "-o", "out", "--jobs", "1")
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("out/*/*/*.nii.gz")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (folder,) = tmp_path.glob("out/*/*")
    (folder / f".{'0' * 32}.part").write_bytes(b"half a file")
    code, _ = told(tmp_path)
    assert code == 0
    assert contents(tmp_path / "out") == whole


def test_what_is_no_image_is_listed_with_a_reason(source: Path, tmp_path: Path) -> None:
    shutil.copy(str(get_testdata_file("reportsi.dcm")), source / "report")
    shutil.copy(str(get_testdata_file("rtplan.dcm")), source / "plan")
    (source / "notes.txt").write_text("not DICOM")
    (source / "empty").write_bytes(b"")
    shutil.copy(source / "ANASTASIA" / "0", source / "copy")
    code, summary = told(tmp_path)
    assert code == 0
    assert summary["states"] == {"converted": 2, "not_an_image": 2}
    assert summary["excluded"] == {"empty": 1, "not_dicom": 1, "same_content": 1}
    reasons = {one["reason"] for one in summary["series"]}
    assert reasons == {"", "structured_report", "radiotherapy_object"}
    rows = Path(summary["report"]).read_text("utf-8").splitlines()[1:]
    assert len(rows) == sum(1 for path in source.rglob("*") if path.is_file())


def test_real_files_of_several_makers_in_one_folder(tmp_path: Path) -> None:
    """Siemens mosaics, an enhanced MR of ten frames, a dose of fifteen, a compressed CT, a report,
    an ultrasound and a screen capture."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("emri_small.dcm", "rtdose.dcm", "693_J2KI.dcm", "reportsi.dcm", *WITHHELD):
        shutil.copy(str(get_testdata_file(name)), folder / name)
    mosaics = Path(str(files("nibabel"))) / "nicom" / "tests" / "data"
    for name in ("siemens_dwi_0", "siemens_dwi_1000"):
        (folder / name).write_bytes(gzip.decompress((mosaics / f"{name}.dcm.gz").read_bytes()))
    code, summary = told(tmp_path)
    assert code == 3
    states = {one["state"]: 0 for one in summary["series"]} | summary["states"]
    assert states.pop("not_an_image") == 1 and states.pop("withheld") == len(WITHHELD)
    assert set(states) <= {"converted", "converted_with_warnings"}
    converted = [one for one in summary["series"] if one["products"]]
    slices = sorted(one["slices_converted"] for one in converted)
    assert slices == [1, 10, 15, 2 * 48]
    assert slices == sorted(one["slices_expected"] for one in converted)
    (dwi,) = [one for one in converted if one["slices_converted"] == 2 * 48]
    kinds = {name[name.index(dwi["series"]) + len(dwi["series"]) :] for name in dwi["products"]}
    assert kinds == {".nii.gz", ".json", ".bval", ".bvec", ".png", ".conversion.json"}


def test_every_instance_is_accounted_for_when_slices_are_lost(tmp_path: Path) -> None:
    series = slices(10, "CT")
    fill(tmp_path / "in", {str(n): ds for n, ds in enumerate(series) if n != 4})
    code, summary = told(tmp_path)
    assert code == 3
    (one,) = summary["series"]
    assert (one["state"], one["reason"]) == ("incomplete", "slices_missing")
    counts = one["instances"], one["slices_expected"], one["slices_converted"]
    assert (*counts, one["slices_missing"]) == (9, 9, 9, 1)


def test_a_truncated_file_fails_its_series_and_no_other(source: Path, tmp_path: Path) -> None:
    path = source / "ANASTASIA" / "1"
    path.write_bytes(path.read_bytes()[:-700])
    code, summary = told(tmp_path)
    assert code == 3
    assert summary["states"] == {"converted": 1, "failed": 1}
    assert {one["reason"] for one in summary["series"]} == {"", "truncated_instance"}


def test_a_second_content_of_a_uid_is_left_out_and_told(source: Path, tmp_path: Path) -> None:
    other = image("MR", 0)
    other.PixelData = bytes(len(other.PixelData))
    write(other, source / "zz")
    code, summary = told(tmp_path)
    assert code == 3
    assert summary["excluded"] == {"duplicate_uid": 1}
    assert summary["states"] == {"converted": 2}


def test_patients_are_called_as_in_their_project(source: Path, tmp_path: Path) -> None:
    create_key(tmp_path / ".pacstream" / "keys", "trial")
    (tmp_path / "ids.csv").write_text(f"{PLANTED['PatientID']},CODE-7\n")
    code, summary = told(tmp_path, "--project", "trial", "--new_ids", "ids.csv")
    assert code == 0
    assert {one["series"].split("/")[0] for one in summary["series"]} == {"CODE-7"}
    mapping = tmp_path / ".pacstream" / "offline" / "trial" / "mapping.csv"
    assert PLANTED["PatientID"] in mapping.read_text()
    with contextlib.chdir(tmp_path), pytest.raises(InputError, match="another project"):
        convert.main(["in", "-o", "out"], standalone_mode=False)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("in", "-o", "in/out"), "lies inside FOLDER"),
        (("in", "-o", "."), "FOLDER lies inside --out_folder"),
        (("in/0", "-o", "out"), "FOLDER is no folder"),
        (("nowhere", "-o", "out"), "FOLDER is no folder"),
        (("none", "-o", "out"), "no DICOM instance"),
        (("in", "-o", "out", "--jobs", "0"), "--jobs"),
        (("in", "-o", "out", "--time-limit", "-1"), "not in the range"),
        (("in", "-o", "out", "--project", "nobody"), "--project"),
        (("in", "-o", "out", "--data", "out/zone"), "the trusted zone"),
    ],
)
def test_wrong_input_is_told_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PACSTREAM_DATA", raising=False)
    fill(tmp_path / "in", {"0": image("MR", 0)})
    (tmp_path / "none").mkdir()
    with pytest.raises((InputError, click.ClickException)) as refusal:
        convert.main([*arguments], standalone_mode=False)
    assert problem in str(refusal.value)
    assert not list(tmp_path.rglob("*.nii.gz"))


def test_the_time_limit_ends_a_conversion(source: Path, tmp_path: Path) -> None:
    code, summary = told(tmp_path, "--time-limit", "0.0001")
    assert code == 3
    assert {(one["state"], one["reason"]) for one in summary["series"]} == {("failed", "timeout")}
    assert told(tmp_path)[0] == 0


LIMITED = (
    "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000));"
    "from pacstream_cli.main import main; main()"
)
"""A disk on which no file gets larger: writing fails half-way, as on a full one."""


def test_a_full_disk_is_told_with_what_to_do(tmp_path: Path) -> None:
    for number, ds in enumerate(slices(5)):
        ds.Rows = ds.Columns = 256
        ds.PixelData = bytes(range(256)) * 512
        fill(tmp_path / "in", {str(number): ds})
    command = [sys.executable, "-c", LIMITED, "convert", "in", "-o", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stdout
    assert "make room" in done.stderr
    assert not list((tmp_path / "out").rglob("*.*"))
    assert told(tmp_path)[0] == 0
