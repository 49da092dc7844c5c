"""Pseudonyms that the query file gives to accession numbers, through the whole line."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest

from demo import data
from demo.data import Instance, Manifest
from demo.pacs import Pacs
from tests.e2e.line import Line, released, select

pytestmark = [pytest.mark.rabbitmq, pytest.mark.pacs]

FLAGS = ("--anonymize", "--project", "given", "--convert")


def smallest(manifest: Manifest, patient_id: str) -> list[Instance]:
    """A patient's smallest MR series."""
    series: dict[str, list[Instance]] = {}
    for instance in select(manifest, patient_id=patient_id, modality="MR"):
        series.setdefault(instance.series_uid, []).append(instance)
    return min(series.values(), key=len)


def row(instances: list[Instance], pseudonym: str) -> dict[str, str]:
    """A row that finds the series without the patient's ID."""
    head = pydicom.dcmread(instances[0].path, stop_before_pixels=True)
    keys = {"AccessionNumber": head.AccessionNumber, "SeriesNumber": instances[0].series_number}
    return {**keys, "new_ids": pseudonym}


def content(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()
    }


def test_each_patient_is_called_as_its_row_says_and_never_otherwise(
    line: Line, orthanc: Pacs, manifest: Manifest, tmp_path: Path
) -> None:
    amara, rosalind = (
        smallest(manifest, patient.patient_id) for patient in (data.AMARA, data.ROSALIND)
    )
    rows = [row(amara, "Cohort-01"), row(rosalind, "Cohort-02")]
    assert line.wait(line.submit(tmp_path / "a", orthanc, rows, *FLAGS)) == 0
    release = tmp_path / "a" / "out" / "release"
    assert {path.name for path in release.iterdir()} == {"sub-Cohort-01", "sub-Cohort-02"}
    for pseudonym, wanted in (("Cohort-01", amara), ("Cohort-02", rosalind)):
        folder = release / f"sub-{pseudonym}"
        heads = [pydicom.dcmread(path) for path in folder.rglob("*.dcm")]
        assert {(str(one.PatientID), str(one.PatientName)) for one in heads} == {
            (pseudonym, pseudonym)
        }
        assert len(heads) == len(wanted)
        assert list(folder.rglob("*.nii.gz"))

    assert line.wait(line.submit(tmp_path / "b", orthanc, rows, *FLAGS)) == 0
    assert content(tmp_path / "b" / "out" / "release") == content(release)

    swapped = [row(amara, "Cohort-02"), row(rosalind, "Cohort-03")]
    batch_id = line.submit(tmp_path / "c", orthanc, swapped, *FLAGS)
    assert line.wait(batch_id) == 3
    series = [one for told in line.report(batch_id)["report"] for one in told["series"]]
    assert {(one["state"], one["reason"]) for one in series} == {("failed", "pseudonym_conflict")}
    assert released(tmp_path / "c" / "out") == []
