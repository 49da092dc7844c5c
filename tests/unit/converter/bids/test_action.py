from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from pacstream.archive import Archive
from pacstream.batch_action import Task
from pacstream.errors import RejectedError
from pacstream.keys import create_key
from pacstream.manifest import Manifest, SeriesResult
from pacstream.messages import Actions, Batch, Dates, Order, PacsNode, Series, SeriesReceived
from pacstream_converter.bids.action import make_dataset
from pacstream_converter.conversion import convert_series
from pacstream_converter.dcm2niix import Dcm2niix
from tests.unit.converter.bids.scanner import BOLD, MPRAGE, STRANGE, Scan
from tests.unit.converter.bids.validator import errors_in
from tests.unit.converter.samples import PLANTED, STUDY_UID, write


class Hospital:
    """An archive with converted series, as a batch leaves them."""

    def __init__(self, folder: Path, *, anonymize: bool = True, dates: Dates = Dates.SHIFTED):
        self.archive = Archive(folder / "data")
        self.out = folder / "out"
        self.actions = Actions(convert=True, anonymize=anonymize)
        self.dates = dates
        self.results: list[SeriesResult] = []
        create_key(self.archive.keys, "trial")

    def add(self, scan: Scan) -> None:
        uid = f"{STUDY_UID}.{scan.number}"
        self.archive.series_folder(uid).mkdir(parents=True)
        instances = list(scan.instances(PLANTED["PatientID"], STUDY_UID))
        for ds in instances:
            write(ds, self.archive.instance_path(uid, str(ds.SOPInstanceUID)))
        order = self.order(scan, uid)
        message = SeriesReceived(
            batch_id="batch-1",
            order=order,
            instances=tuple(str(ds.SOPInstanceUID) for ds in instances),
        )
        done = convert_series(message, self.archive, Dcm2niix(timeout_s=60))
        self.results.append(SeriesResult(order=order, state="complete", products=done.products))

    def order(self, scan: Scan, uid: str) -> Order:
        return Order(
            batch_id="batch-1",
            series=Series(
                study_uid=STUDY_UID,
                series_uid=uid,
                patient_id=PLANTED["PatientID"],
                study_date=PLANTED["StudyDate"],
                study_time=PLANTED["StudyTime"],
            ),
            actions=self.actions,
            project="trial",
            out=str(self.out),
            subject="sub-PID00770077",
            session="ses-20200102102300",
            folder=f"{scan.number:05}-{scan.description.replace(' ', '_')}",
            release_folder=f"{scan.number:05}-MR",
            dates=self.dates,
        )

    def task(
        self,
        options: Mapping[str, str] | None = None,
        may_go_on: Callable[[], bool] = lambda: True,
    ) -> Task:
        node = PacsNode(address="pacs", port=104, called_aet="A", calling_aet="B")
        batch = Batch(
            batch_id="batch-1",
            rows=1,
            submitted_at="2026-11-25T18:00:00",
            pacs=node,
            destination="B",
            actions=self.actions,
            out=str(self.out),
        )
        manifest = Manifest(batch, tuple(self.results))
        return Task(manifest, self.archive, options or {}, may_go_on)


@pytest.fixture
def hospital(tmp_path: Path) -> Hospital:
    hospital = Hospital(tmp_path)
    for scan in (MPRAGE, BOLD, STRANGE):
        hospital.add(scan)
    return hospital


def test_a_batch_becomes_a_valid_data_set_in_the_release(hospital: Hospital) -> None:
    outcome = make_dataset(hospital.task())
    assert (outcome.reason, outcome.going_on) == ("", False)
    assert outcome.counts == {"images": 3, "bids": 2, "unmatched": 1, "left_out": 0}
    root = hospital.out / "release" / "bids"
    assert errors_in(root) == []
    (image,) = root.rglob("*_T1w.nii.gz")
    (patient,) = (one.name for one in (hospital.out / "release").glob("sub-*"))
    (session,) = (one.name for one in (hospital.out / "release" / patient).glob("ses-*"))
    assert image.relative_to(root).parts[:2] == (patient, session)
    assert (root / "participants.tsv").read_text().splitlines()[1] == f"{patient}\tn/a\tn/a"


def test_characteristics_are_told_if_the_profile_keeps_them(hospital: Hospital) -> None:
    make_dataset(hospital.task({"characteristics": "yes"}))
    table = (hospital.out / "release" / "bids" / "participants.tsv").read_text()
    assert table.splitlines()[1].endswith("\t74\tn/a")


def test_time_that_is_over_is_gone_on_with(hospital: Hospital) -> None:
    answers = iter([True, False])
    outcome = make_dataset(hospital.task(may_go_on=lambda: next(answers)))
    assert outcome.going_on
    assert make_dataset(hospital.task()).counts["images"] == 3


def test_a_second_batch_goes_into_the_same_data_set(hospital: Hospital) -> None:
    make_dataset(hospital.task())
    hospital.results.clear()
    hospital.add(replace(BOLD, number=9))
    assert make_dataset(hospital.task()).counts["bids"] == 1
    names = {path.name.split("_task-")[1] for path in hospital.out.rglob("*_bold.nii.gz")}
    assert names == {"rest_bold.nii.gz", "rest_run-2_bold.nii.gz"}


def test_rules_come_with_the_batch(hospital: Hospital) -> None:
    rules = 'defaults = false\n[[rules]]\nname = "x"\nfolder = "anat"\nsuffix = "PDw"\n'
    outcome = make_dataset(hospital.task({"rules": rules + 'when.SeriesDescription = "HOUSE"'}))
    assert outcome.counts["unmatched"] == 2
    assert list(hospital.out.rglob("*_PDw.nii.gz"))
    with pytest.raises(RejectedError) as refused:
        make_dataset(hospital.task({"rules": "["}))
    assert refused.value.code == "bids_refused"


def test_originals_that_are_gone_are_a_failure_with_counts(hospital: Hospital) -> None:
    for path in hospital.archive.series_folder(f"{STUDY_UID}.{BOLD.number}").glob("*.dcm"):
        path.unlink()
    outcome = make_dataset(hospital.task())
    assert outcome.reason == "bids_left_out"
    assert outcome.counts == {"images": 3, "bids": 1, "unmatched": 1, "left_out": 1}


def test_without_de_identification_it_lies_among_the_originals(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path, anonymize=False)
    hospital.add(MPRAGE)
    assert make_dataset(hospital.task()).counts["bids"] == 1
    root = hospital.out / "bids"
    (image,) = root.rglob("*_T1w.nii.gz")
    assert image.relative_to(root).parts[:2] == ("sub-PID00770077", "ses-20200102102300")
    (scans,) = root.rglob("*_scans.tsv")
    assert "2020-01-02T09:02:00" in scans.read_text()
    assert not (hospital.out / "release").exists()


def test_a_release_without_dates_has_counted_sessions(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path, dates=Dates.REMOVED)
    hospital.add(MPRAGE)
    make_dataset(hospital.task())
    (image,) = (hospital.out / "release" / "bids").rglob("*_T1w.nii.gz")
    assert image.parts[-3] == "ses-01"
    (scans,) = (hospital.out / "release" / "bids").rglob("*_scans.tsv")
    assert scans.read_text().splitlines()[1].endswith("\tn/a")


def test_what_is_withheld_later_is_taken_out_again(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path)
    for scan in (MPRAGE, BOLD):
        hospital.add(scan)
    make_dataset(hospital.task())
    root = hospital.out / "release" / "bids"
    assert len([*root.glob("sub-*/**/*.nii.gz")]) == 2
    gone = hospital.results[0]
    for product in gone.products:
        (hospital.out / product).unlink()
    hospital.results[0] = gone.model_copy(update={"products": (), "state": "withheld"})
    make_dataset(hospital.task())
    assert [path.parent.name for path in root.glob("sub-*/**/*.nii.gz")] == ["func"]
    assert errors_in(root) == []
