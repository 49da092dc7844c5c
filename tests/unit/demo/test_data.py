"""The demo's images: what is in them, and that they are the same every time."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from pydicom import dcmread

from demo import data
from demo.data import Manifest, build


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def manifest(home: Path) -> Manifest:
    return build(home)


def test_the_demo_is_as_large_as_it_promises(manifest: Manifest) -> None:
    instances = manifest.instances
    assert len({i.patient_id for i in instances}) >= 5
    assert len({i.study_uid for i in instances}) >= 8
    assert len({i.series_uid for i in instances}) >= 30
    assert len(instances) >= 600
    assert {"CT", "MR", "CR", "NM", "US", "SR"} <= {i.modality for i in instances}
    assert sum(path.stat().st_size for path in manifest.paths) < 150_000_000


def test_every_file_is_what_the_manifest_says(manifest: Manifest) -> None:
    for instance in manifest.instances:
        dataset = dcmread(instance.path, stop_before_pixels=True)
        meta = dataset.file_meta
        assert dataset.SOPInstanceUID == instance.sop_instance_uid
        assert meta.MediaStorageSOPInstanceUID == instance.sop_instance_uid
        assert meta.TransferSyntaxUID == instance.transfer_syntax
        assert (dataset.PatientID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID) == (
            instance.patient_id,
            instance.study_uid,
            instance.series_uid,
        )


def test_no_sop_instance_uid_and_no_path_occurs_twice(manifest: Manifest) -> None:
    count = len(manifest.instances)
    assert len({i.sop_instance_uid for i in manifest.instances}) == count
    assert len(set(manifest.paths)) == count


def test_a_series_belongs_to_one_study_and_a_study_to_one_patient(manifest: Manifest) -> None:
    series = {(i.series_uid, i.study_uid) for i in manifest.instances}
    studies = {(i.study_uid, i.patient_id) for i in manifest.instances}
    assert len(series) == len({uid for uid, _ in series})
    assert len(studies) == len({uid for uid, _ in studies})


def test_two_series_of_one_study_share_number_and_description(manifest: Manifest) -> None:
    twins = {i.series_uid for i in manifest.instances if i.series_description == "DWI b1000"}
    assert len(twins) == 2


def test_withheld_kinds_have_a_patient_of_their_own(manifest: Manifest) -> None:
    withheld = {i.patient_id for i in manifest.instances if i.origin == "withheld"}
    others = {i.patient_id for i in manifest.instances if i.origin != "withheld"}
    assert withheld == {data.CASSIUS.patient_id}
    assert not withheld & others


def test_the_planted_identifiers_are_really_in_the_files(manifest: Manifest) -> None:
    content = b"".join(path.read_bytes() for path in manifest.paths)
    for identifier in manifest.identifiers:
        assert identifier.encode() in content, identifier


def test_identifiers_are_planted_deep_and_in_private_elements(manifest: Manifest) -> None:
    phantom = next(i for i in manifest.instances if i.patient_id == data.LUCJA.patient_id)
    dataset = dcmread(phantom.path)
    request = dataset.RequestAttributesSequence[0]
    assert request.ReferencedPatientSequence[0].PatientName == data.LUCJA.name
    assert dataset.private_block(0x0029, "PACSTREAM DEMO")[0x01].value == data.LUCJA.name


def test_a_compressed_series_decodes_to_the_drawn_pixels(manifest: Manifest) -> None:
    series = manifest.series(data.LUCJA.patient_id).values()
    compressed = next(s for s in series if s[0].transfer_syntax == "1.2.840.10008.1.2.5")
    pixels = dcmread(compressed[len(compressed) // 2].path).pixel_array
    assert pixels.shape == (128, 128)
    assert pixels.max() > 800 > pixels.min()


def test_slices_lie_side_by_side(manifest: Manifest) -> None:
    series = next(
        s for s in manifest.series(data.BERTRAND.patient_id).values() if s[0].series_number == "2"
    )
    heights = [float(dcmread(i.path).ImagePositionPatient[2]) for i in series]
    assert {b - a for a, b in pairwise(heights)} == {2.0}


def test_a_finished_build_is_kept(home: Path, manifest: Manifest) -> None:
    before = {path: path.stat().st_mtime_ns for path in manifest.paths}
    assert build(home) == manifest
    assert {path: path.stat().st_mtime_ns for path in manifest.paths} == before


def test_a_lost_file_is_made_again_just_as_it_was(home: Path, manifest: Manifest) -> None:
    lost = manifest.paths[40]
    content = lost.read_bytes()
    lost.unlink()
    assert build(home) == manifest
    assert lost.read_bytes() == content
