"""A profile with regions: `pacstream anonymize` and the pipeline make the same of the same."""

from __future__ import annotations

import json
from pathlib import Path

from pydicom.uid import JPEGLSLossless

from pacstream.archive import Archive
from pacstream.messages import DeidentifyRequested, InstancesDeidentified
from pacstream_anonymizer.release import release_requested
from pacstream_anonymizer.shelf import Shelf
from tests.unit.anonymizer.encoders import compressed
from tests.unit.anonymizer.instances import INSTANCE, SERIES, order_for, saved
from tests.unit.anonymizer.pictures import (
    COLUMNS,
    RECTANGLES,
    ROWS,
    a_picture,
    inside,
    samples_of,
)
from tests.unit.cli.test_anonymize import called

PROFILE = f"""
name = "scanner"
options = ["retain_longitudinal_modified_dates"]
[[regions]]
manufacturer = "ACME"
rows = {ROWS}
columns = {COLUMNS}
rectangles = {list(map(list, RECTANGLES))}
"""


def test_a_folder_and_a_batch_give_the_same_bytes(tmp_path: Path) -> None:
    uids = [f"{INSTANCE}.1", f"{INSTANCE}.2"]
    saved(a_picture(SOPInstanceUID=uids[0]), tmp_path / "in" / "1.dcm")
    compressed(a_picture(SOPInstanceUID=uids[1]), 1, JPEGLSLossless, tmp_path / "in" / "2.dcm")
    (tmp_path / "p.toml").write_text(PROFILE)
    code, out, _ = called(tmp_path, "-d", "in", "-o", "out", "--profile", "p.toml", "--json")
    assert code == 0, out
    offline = {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*.dcm")}
    assert len(offline) == 2
    assert "clean_pixel_data" not in json.loads(out)["options"]

    archive = Archive(tmp_path / ".pacstream")
    digest = Shelf(archive.root).put("default", PROFILE).digest
    for number, uid in enumerate(uids, 1):
        path = archive.instance_path(SERIES, uid)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((tmp_path / "in" / f"{number}.dcm").read_bytes())
    order = order_for(a_picture(), tmp_path / "batch", project="default", profile=digest)
    archive.write_order(order)
    request = DeidentifyRequested(batch_id="batch-1", order=order, instances=tuple(uids))
    (fact,) = release_requested(archive, request)
    assert isinstance(fact, InstancesDeidentified)
    made = {path.name: path for path in (tmp_path / "batch").rglob("*.dcm")}
    assert {name: path.read_bytes() for name, path in made.items()} == offline
    for path in made.values():
        assert not samples_of(path)[:, inside(RECTANGLES, ROWS, COLUMNS)].any()
