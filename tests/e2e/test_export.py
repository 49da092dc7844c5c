"""A batch that sends its release on when all of it is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread

from demo.data import Manifest
from demo.pacs import Pacs
from tests.e2e.line import Line
from tests.fakes.store_node import StoreNode

pytestmark = [pytest.mark.rabbitmq, pytest.mark.pacs]


def test_the_release_of_a_batch_arrives_at_another_node(
    line: Line, orthanc: Pacs, manifest: Manifest, tmp_path: Path
) -> None:
    wanted = next(one for one in manifest.instances if one.modality == "CT")
    rows = [{"SeriesInstanceUID": wanted.series_uid}]
    flags = ("--anonymize", "--project", "export", "--karnak", "Album 7")
    with StoreNode().running() as node:
        batch_id = line.submit(tmp_path, orthanc, rows, *flags, "--export", node.address)
        assert line.wait(batch_id) == 0
        report = line.report(batch_id)
    assert [(one["action"], one["state"]) for one in report["afterwards"]] == [
        ("karnak", "done"), ("export", "done"),
    ]  # fmt: skip
    released = {dcmread(path).SOPInstanceUID for path in (tmp_path / "out").rglob("*.dcm")}
    assert set(node.held) == released and len(released) > 1
    for instance in node.held.values():
        assert instance.PatientID != wanted.patient_id
        assert instance.private_block(0x000B, "CHUV_DEV_TML")[0x02].value == "Album 7"
