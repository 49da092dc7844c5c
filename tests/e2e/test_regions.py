"""A project that blacks out regions: the whole line and the offline command make the same bytes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pydicom
import pytest

from demo import data
from demo.data import Manifest
from demo.pacs import Pacs
from tests.e2e.line import Line, released, run_cli
from tests.e2e.test_new_ids import smallest

pytestmark = [pytest.mark.rabbitmq, pytest.mark.pacs]

LEFT, TOP, WIDTH, HEIGHT = 2, 3, 40, 5
PROFILE = """
name = "scanner"
options = ["retain_longitudinal_modified_dates"]
[[regions]]
manufacturer = "{manufacturer}"
rows = {rows}
columns = {columns}
rectangles = [[{left}, {top}, {width}, {height}]]
"""


def test_a_batch_and_a_folder_are_blacked_out_alike(
    line: Line, orthanc: Pacs, manifest: Manifest, tmp_path: Path
) -> None:
    wanted = smallest(manifest, data.AMARA.patient_id)
    head = pydicom.dcmread(wanted[0].path, stop_before_pixels=True)
    (tmp_path / "in").mkdir()
    for instance in wanted:
        shutil.copy(instance.path, tmp_path / "in")
    profile = tmp_path / "profile.toml"
    profile.write_text(
        PROFILE.format(
            manufacturer=head.Manufacturer, rows=head.Rows, columns=head.Columns,
            left=LEFT, top=TOP, width=WIDTH, height=HEIGHT,
        )
    )  # fmt: skip
    made = run_cli(line.data, "project", "create", "regions", "--profile", str(profile))
    assert made.returncode == 0, made.stderr

    row = {"PatientID": head.PatientID, "SeriesInstanceUID": head.SeriesInstanceUID}
    batch_id = line.submit(tmp_path, orthanc, [row], "--anonymize", "--project", "regions")
    assert line.wait(batch_id) == 0
    done = run_cli(
        line.data, "anonymize", "-d", str(tmp_path / "in"), "-o", str(tmp_path / "offline"),
        "--any-layout", "--project", "regions", "--workers", "1",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    batch = {path.name: path.read_bytes() for path in released(tmp_path / "out")}
    offline = {path.name: path.read_bytes() for path in (tmp_path / "offline").rglob("*.dcm")}
    assert len(batch) == len(wanted)
    assert batch == offline
    assert {value for path in released(tmp_path / "out") for value in inside(path)} == {-32768}
    assert all(len(inside(instance.path)) > 1 for instance in wanted)


def inside(path: Path) -> set[int]:
    """The values of the pixels in the rectangle; the demo's images are signed."""
    pixels = pydicom.dcmread(path).pixel_array
    return set(pixels[TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH].flatten().tolist())
