"""Karnak's elements and file-sets of a batch."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.fileset import FileSet

from pacstream.archive import Archive
from pacstream.batch_action import Task
from pacstream.errors import RejectedError
from pacstream.keys import create_key, load_key
from pacstream.manifest import Manifest, SeriesResult
from pacstream.messages import Actions, Batch, Order, PacsNode, Series
from pacstream.pseudonyms import release_series_folder
from pacstream.results import originals_folder
from pacstream_exporter.folder_actions import add_karnak_tags, make_file_set
from tests.unit.anonymizer.instances import saved
from tests.unit.exporter.folders import contents, instance_of

SERIES = {"1.2.1": "", "1.2.2": "HOSPITAL A", "1.2.3": ""}
"""Issuers of the patient ID, by series."""


def order(out: Path, uid: str, actions: Actions) -> Order:
    return Order(
        batch_id="b-0001",
        series=Series(study_uid="1.2", series_uid=uid, patient_id="P1", study_date="20240229"),
        actions=actions,
        project="trial" if actions.anonymize else "",
        out=str(out),
        subject="sub-P1",
        session="ses-1",
        folder=f"{uid[-1]}-T1",
        release_folder=f"{uid[-1]}-CT",
    )


def task(home: Path, actions: Actions, options: dict[str, str], **changes: Any) -> Task:
    """Two instances in each of three series, the last of which failed; and a stranger in OUT."""
    archive, out = Archive(home / "data"), home / "out"
    create_key(archive.keys, "trial")
    key = load_key(archive.keys, "trial")
    results = []
    for place, (uid, issuer) in enumerate(SERIES.items()):
        one = order(out, uid, actions)
        is_there = place < 2
        release = out / release_series_folder(one, key, issuer)
        for number in (1, 2) if is_there else ():
            image = instance_of("P1", 1, place, number, IssuerOfPatientID=issuer)
            saved(image, archive.instance_path(uid, str(image.SOPInstanceUID)))
            folder = release if actions.anonymize else originals_folder(one)
            saved(image, folder / f"{image.SOPInstanceUID}.dcm")
        state = "complete" if is_there else "failed"
        released = 2 if is_there and actions.anonymize else 0
        exported = is_there and actions.save
        results.append(SeriesResult(order=one, state=state, exported=exported, released=released))
    saved(instance_of("P9", 1, 1, 1), out / "release" / "sub-other" / "ses-1" / "1-CT" / "x.dcm")
    batch = Batch(
        batch_id="b-0001", rows=1, submitted_at="2026", actions=actions, out=str(out),
        pacs=PacsNode(address="a", port=1, called_aet="P", calling_aet="U"), destination="U",
    )  # fmt: skip
    may_go_on = changes.get("may_go_on", lambda: True)
    return Task(Manifest(batch, tuple(results)), archive, options, may_go_on)


RELEASE = Actions(anonymize=True)


def block(path: Path) -> list[str]:
    creator = str(dcmread(path)[0x000B0010].value)
    found = dcmread(path).private_block(0x000B, creator)
    return [creator, *(str(found[number].value) for number in (1, 2, 3))]


def test_the_release_gets_the_pseudonyms_of_its_patients(tmp_path: Path) -> None:
    given = task(tmp_path, RELEASE, {"album": "Study 1"})
    stranger = next((tmp_path / "out" / "release" / "sub-other").rglob("x.dcm"))
    before = stranger.read_bytes()
    outcome = add_karnak_tags(given)
    assert outcome.counts == {"instances": 4, "tagged": 4, "left_out": 0}
    assert (outcome.reason, outcome.going_on) == ("", False)
    key = load_key(given.archive.keys, "trial")
    names = {key.pseudonym("P1", issuer) for issuer in SERIES.values()}
    files = [path for path in (tmp_path / "out").rglob("*.dcm") if path != stranger]
    assert {tuple(block(path)) for path in files} == {
        ("CHUV_DEV_TML", name, "Study 1", "0") for name in names
    }
    for path in files:
        assert block(path)[1] == path.parts[-4].removeprefix("sub-")
    assert stranger.read_bytes() == before
    again = add_karnak_tags(task(tmp_path / "b", RELEASE, {"album": "a", "creator": "OURS"}))
    assert again.counts["tagged"] == 4


def test_a_second_request_counts_the_same_and_changes_nothing(tmp_path: Path) -> None:
    given = task(tmp_path, RELEASE, {"album": "Study 1"})
    first = add_karnak_tags(given)
    before = contents(tmp_path / "out")
    assert add_karnak_tags(given) == first
    assert contents(tmp_path / "out") == before


def test_originals_have_no_pseudonym(tmp_path: Path) -> None:
    with pytest.raises(RejectedError) as refusal:
        add_karnak_tags(task(tmp_path, Actions(save=True), {"album": "a"}))
    assert refusal.value.code == "no_release"


@pytest.mark.parametrize("actions", [RELEASE, Actions(save=True)])
def test_a_file_set_has_what_the_batch_delivered_and_nothing_else(
    actions: Actions, tmp_path: Path
) -> None:
    given = task(tmp_path, actions, {})
    outcome = make_file_set(given)
    assert outcome.counts == {"instances": 4, "written": 4, "duplicates": 0, "left_out": 0}
    assert outcome.reason == ""
    listed = FileSet(tmp_path / "out" / "media" / "b-0001" / "DICOMDIR")
    assert {one.PatientID for one in listed} == {"P1"} and len(listed) == 4
    assert make_file_set(given) == outcome


def test_an_instance_that_can_not_be_listed_fails_the_action(tmp_path: Path) -> None:
    given = task(tmp_path, RELEASE, {})
    path = next((tmp_path / "out" / "release").glob("sub-P*/*/*/*.dcm"))
    path.write_bytes(path.read_bytes()[:-9])
    outcome = make_file_set(given)
    assert outcome.reason == "instances_left_out"
    assert outcome.counts["left_out"] == 1


def test_files_that_are_gone_or_in_the_way_fail_the_action(tmp_path: Path) -> None:
    given = task(tmp_path, RELEASE, {"album": "a"})
    strange = tmp_path / "out" / "media" / "b-0001" / "thesis.doc"
    strange.parent.mkdir(parents=True)
    strange.write_text("precious")
    with pytest.raises(RejectedError) as refusal:
        make_file_set(given)
    assert refusal.value.code == "file_set_folder"
    shutil.rmtree(next((tmp_path / "out" / "release").glob("sub-P*/*/*")))
    for action in (make_file_set, add_karnak_tags):
        with pytest.raises(RejectedError) as refusal:
            action(given)
        assert refusal.value.code == "instances_missing"
    assert strange.read_text() == "precious"


def test_an_action_that_has_to_pause_says_so(tmp_path: Path) -> None:
    given = task(tmp_path, RELEASE, {"album": "a"}, may_go_on=lambda: False)
    assert add_karnak_tags(given).going_on
    assert make_file_set(given).going_on
    assert not (tmp_path / "out" / "media" / "b-0001" / "DICOMDIR").exists()


def test_a_batch_that_delivered_nothing_is_done(tmp_path: Path) -> None:
    given = task(tmp_path, RELEASE, {"album": "a"})
    nothing = Task(Manifest(given.manifest.batch, ()), given.archive, given.options, lambda: True)
    assert make_file_set(nothing).counts == {"instances": 0, "written": 0}
    assert add_karnak_tags(nothing).counts["instances"] == 0
