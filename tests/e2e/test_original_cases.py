"""What PACSMAN and PACSIFIER did with a real PACS, case by case; `docs/cases.md` has the list."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow.parquet
import pydicom
import pytest
from pydicom import dcmread
from pydicom.fileset import FileSet

from demo import data
from demo.data import Instance, Manifest
from demo.pacs import Pacs
from tests.e2e.line import Line, assert_exactly, originals, select

pytestmark = [pytest.mark.rabbitmq, pytest.mark.pacs]

JPEG_2000, JPEG_LOSSLESS = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.70"


@pytest.fixture(params=["orthanc", "dcmqrscp"])
def pacs(request: pytest.FixtureRequest) -> Pacs:
    found: Pacs = request.getfixturevalue(request.param)
    return found


def retrieve(line: Line, folder: Path, pacs: Pacs, rows: list[dict[str, str]]) -> list[str]:
    """Save what the rows match, though some of it may be here already; the rows' states."""
    line.forget_images()
    batch_id = line.submit(folder, pacs, rows, "--save")
    assert line.wait(batch_id) == 0, line.report(batch_id)
    return [row["state"] for row in line.report(batch_id)["report"]]


def test_each_series_folder_of_a_patient_with_several_series_holds_that_series_only(
    line: Line, pacs: Pacs, manifest: Manifest, tmp_path: Path
) -> None:
    """The originals put all images of the patient into each of the folders."""
    wanted = select(manifest, patient_id=data.ROSALIND.patient_id)
    assert len({one.study_uid for one in wanted}) == 2
    assert len({one.series_uid for one in wanted}) == 8
    retrieve(line, tmp_path, pacs, [{"PatientID": data.ROSALIND.patient_id}])
    assert_exactly(tmp_path / "out", wanted)


def test_rows_by_accession_number_only_series_uid_only_and_wildcard_only_are_retrieved(
    line: Line, pacs: Pacs, manifest: Manifest, tmp_path: Path
) -> None:
    """The originals found these and could not move one; an unknown number stops nothing."""
    study = select(manifest, patient_id=data.BERTRAND.patient_id)
    series = select(manifest, series_description="T1 VIBE pre")
    localizers = [
        *select(manifest, patient_id=data.ROSALIND.patient_id, series_description="Localizer"),
        *select(manifest, patient_id=data.ROSALIND.patient_id, series_description="Topogramm"),
    ]
    rows = [
        {"AccessionNumber": "ACC000000000"},
        {"AccessionNumber": pydicom.dcmread(study[0].path).AccessionNumber},
        {"SeriesInstanceUID": series[0].series_uid},
        {"PatientID": "HX4471-A?1", "SeriesNumber": "1"},
    ]
    states = retrieve(line, tmp_path, pacs, rows)
    assert states == ["no_match", "answered", "answered", "answered"]
    assert_exactly(tmp_path / "out", [*study, *series, *localizers])


def test_one_patient_of_many_on_dcmqrscp_gets_that_patients_images_only(
    line: Line, dcmqrscp: Pacs, manifest: Manifest, tmp_path: Path
) -> None:
    """dcmqrscp ignored the PatientID of PACSIFIER's queries, and answered all patients' series."""
    rows = [{"PatientID": data.BERTRAND.patient_id, "Modality": "CT"}]
    retrieve(line, tmp_path, dcmqrscp, rows)
    assert_exactly(tmp_path / "out", select(manifest, patient_id=data.BERTRAND.patient_id))
    assert len(list((tmp_path / "out").glob("sub-*"))) == 1


def test_jpeg_2000_instances_are_saved_as_they_are(
    line: Line, orthanc: Pacs, manifest: Manifest, tmp_path: Path
) -> None:
    """movescu refused the syntax, Orthanc failed the whole C-MOVE, and PACSIFIER ended with 0."""
    wanted = select(manifest, patient_id=data.IGNATIUS.patient_id)
    assert {JPEG_2000, JPEG_LOSSLESS} < {one.transfer_syntax for one in wanted}
    retrieve(line, tmp_path, orthanc, [{"PatientID": data.IGNATIUS.patient_id}])
    saved = {path.name.split(".", 1)[1]: path for path in originals(tmp_path / "out")}
    assert set(saved) == {one.sop_instance_uid for one in wanted}
    for one in wanted:
        # Orthanc leaves out padding behind the pixels, so not every byte is the same
        before, after = pydicom.dcmread(one.path), pydicom.dcmread(saved[one.sop_instance_uid])
        assert after.file_meta.TransferSyntaxUID == one.transfer_syntax
        assert after.PixelData == before.PixelData


@pytest.mark.parametrize(
    "description",
    ["T1 MPRAGE sag", "T1 VIBE/post 20min", "Crâne osseux 1.0"],
    ids=["spaces", "slash", "accent"],
)
def test_a_value_and_an_output_folder_with_spaces_are_no_command_line(
    line: Line, orthanc: Pacs, manifest: Manifest, tmp_path: Path, description: str
) -> None:
    folder = tmp_path / "results of d'Arc & co"
    retrieve(line, folder, orthanc, [{"SeriesDescription": description}])
    wanted: list[Instance] = select(manifest, series_description=description)
    assert wanted
    assert_exactly(folder / "out", wanted)


def test_info_alone_writes_a_table_a_series_and_retrieves_nothing(
    line: Line, orthanc: Pacs, manifest: Manifest, tmp_path: Path
) -> None:
    """PACSIFIER 1.0.0 does nothing, with exit code 0."""
    rows = [{"PatientID": data.ROSALIND.patient_id}]
    batch_id = line.submit(tmp_path, orthanc, rows, "--info")
    assert line.wait(batch_id) == 0, line.report(batch_id)
    assert originals(tmp_path / "out") == []
    tables = list((tmp_path / "out").glob("sub-*/ses-*/*.csv"))
    assert len(tables) == len(manifest.series(data.ROSALIND.patient_id))


def test_a_batch_with_info_ends_with_one_table_of_all_its_series(
    line: Line, orthanc: Pacs, manifest: Manifest, tmp_path: Path
) -> None:
    patients = (data.ROSALIND.patient_id, data.AMARA.patient_id)
    batch_id = line.submit(tmp_path, orthanc, [{"PatientID": one} for one in patients], "--info")
    assert line.wait(batch_id) == 0, line.report(batch_id)
    rows = pyarrow.parquet.read_table(tmp_path / "out" / f"{batch_id}.parquet").to_pylist()
    series = {uid for patient in patients for uid in manifest.series(patient)}
    assert {row["SeriesInstanceUID"] for row in rows} == series
    with (tmp_path / "out" / f"{batch_id}.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file)) == rows
    (action,) = line.report(batch_id)["afterwards"]
    assert (action["action"], action["state"]) == ("info_table", "done")


def test_a_release_goes_on_media_with_the_elements_of_a_karnak_gateway(
    line: Line, orthanc: Pacs, manifest: Manifest, tmp_path: Path
) -> None:
    patient = data.ROSALIND.patient_id
    flags = ("--anonymize", "--project", "e2e", "--karnak", "Study 1", "--dicomdir")
    batch_id = line.submit(tmp_path, orthanc, [{"PatientID": patient}], *flags)
    assert line.wait(batch_id) == 0, line.report(batch_id)
    listed = list(FileSet(tmp_path / "out" / "media" / batch_id / "DICOMDIR"))
    assert len(listed) == len(select(manifest, patient_id=patient))
    told = {str(dcmread(one.path)[0x000B1001].value) for one in listed}
    assert told == {one.PatientID for one in listed}
    assert patient not in told
    actions = line.report(batch_id)["afterwards"]
    assert [(one["action"], one["state"]) for one in actions] == [
        ("karnak", "done"),
        ("dicomdir", "done"),
    ]
