"""A folder in, a release out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread

from pacstream.archive import Archive
from pacstream.errors import InputError, RejectedError, RetryLaterError
from pacstream.messages import Dates
from pacstream.pseudonyms import shifted_date
from pacstream_anonymizer.audited import account_of
from pacstream_anonymizer.decisions import Decision, Decisions, digest_of
from pacstream_anonymizer.deidentifier import Released, deidentify_instance
from pacstream_anonymizer.offline import plan
from pacstream_anonymizer.offline.job import check_zones, workers_for
from pacstream_anonymizer.offline.layout import Layout
from pacstream_anonymizer.profile import DEFAULT
from tests.unit.anonymizer.instances import KEY, order_for, saved
from tests.unit.anonymizer.offline.folders import (
    PATIENTS,
    SESSION,
    contents,
    done,
    fill,
    instance_of,
    mentions,
    plain,
    wish,
)

IDENTIFYING = ("Quixotesson", "Vandersloot", "88213", "HU_101", "20240229", "CT.0")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return fill(tmp_path / "in")


def test_every_instance_is_what_the_pipeline_makes_of_it(source: Path, tmp_path: Path) -> None:
    summary = done(source, tmp_path / "out")
    assert (summary.instances, summary.released, summary.is_whole) == (8, 8, True)
    offline = {Path(path).name: content for path, content in contents(tmp_path / "out").items()}
    for path in source.rglob("CT.*"):
        order = order_for(dcmread(path))
        result = deidentify_instance(path, order, KEY, tmp_path / "pipeline")
        assert isinstance(result, Released)
        assert offline.pop(result.path.name) == result.path.read_bytes()
    assert offline == {}


def test_the_layout_of_pacsman_stays_and_names_nobody(source: Path, tmp_path: Path) -> None:
    summary = done(source, tmp_path / "out")
    assert summary.layout is Layout.PACSMAN
    paths = contents(tmp_path / "out")
    assert not mentions(paths, *IDENTIFYING)
    folders = {str(Path(path).parent) for path in paths}
    date = shifted_date("20240229", KEY.shift_days("HU/101 A"))
    assert f"sub-{KEY.pseudonym('HU/101 A')}/ses-{date}101530/00001-CT" in folders
    assert len(folders) == 4


def test_another_shape_of_folders_gets_paths_of_pseudonyms_and_uids(tmp_path: Path) -> None:
    name = tmp_path / "in" / "Quixotesson 1941" / "deep" / "down" / "image"
    data_set = instance_of("MRN-88213", 1, 1)
    saved(data_set, name)
    summary = done(tmp_path / "in", tmp_path / "out")
    assert summary.layout is Layout.UIDS and summary.is_fallback
    uids = (
        data_set.StudyInstanceUID,
        data_set.SeriesInstanceUID,
        data_set.SOPInstanceUID,
    )
    study, series, instance = map(KEY.uid, uids)
    expected = f"{KEY.pseudonym('MRN-88213')}/{study}/{series}/{instance}.dcm"
    assert list(contents(tmp_path / "out")) == [expected]


def test_any_layout_can_be_asked_for(source: Path, tmp_path: Path) -> None:
    summary = done(source, tmp_path / "out", layout=Layout.UIDS)
    assert not summary.is_fallback
    assert {path.split("/")[0] for path in contents(tmp_path / "out")} == {
        KEY.pseudonym(patient) for patient in PATIENTS
    }


def test_two_series_of_one_number_do_not_share_a_folder(tmp_path: Path) -> None:
    for series in (1, 2):
        folder = tmp_path / "in" / "sub-x" / "ses-y" / f"series{series}"
        saved(instance_of("MRN-88213", series, 1, SeriesNumber=4), folder / "1")
    done(tmp_path / "in", tmp_path / "out")
    names = sorted(Path(path).parts[2] for path in contents(tmp_path / "out"))
    assert names == ["00004-CT", "00004-CT_2"]
    saved(instance_of("MRN-88213", 2, 2, SeriesNumber=4), tmp_path / "in/sub-x/ses-y/series2/2")
    saved(instance_of("MRN-88213", 0, 1, SeriesNumber=4), tmp_path / "in/sub-x/ses-y/a/1")
    done(tmp_path / "in", tmp_path / "out")
    names = sorted(Path(path).parts[2] for path in contents(tmp_path / "out"))
    assert names == ["00004-CT", "00004-CT_2", "00004-CT_2", "00004-CT_3"]


def test_patient_folders_keep_their_names_if_the_user_wants_that(
    source: Path, tmp_path: Path
) -> None:
    done(source, tmp_path / "out", keep_patient_folders=True)
    assert {path.split("/")[0] for path in contents(tmp_path / "out")} == {
        f"sub-{plain(patient)}" for patient in PATIENTS
    }


def test_a_session_is_named_as_its_dates_are_treated(source: Path, tmp_path: Path) -> None:
    done(source, tmp_path / "kept", dates=Dates.KEPT)
    done(source, tmp_path / "removed", dates=Dates.REMOVED)
    kept = {Path(path).parts[1] for path in contents(tmp_path / "kept")}
    removed = {Path(path).parts[1] for path in contents(tmp_path / "removed")}
    assert kept == {"ses-20240229101530"}
    studies = {instance_of(patient, 0, 0).StudyInstanceUID for patient in PATIENTS}
    assert removed == {f"ses-{KEY.uid(study)}" for study in studies}


def test_two_processes_make_what_one_makes(source: Path, tmp_path: Path) -> None:
    saved(instance_of("MRN-88213", 7, 7, BurnedInAnnotation="YES"), source / "sub-a/ses-b/c/d")
    one = done(source, tmp_path / "one", data=tmp_path / "data1")
    two = done(source, tmp_path / "two", data=tmp_path / "data2", workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert one.withheld == two.withheld == {"burned_in_annotation": 1}


def test_a_small_folder_is_not_worth_a_second_process() -> None:
    assert [workers_for(number) for number in (0, 1, 399)] == [1, 1, 1]
    assert workers_for(10**6) == len(os.sched_getaffinity(0))


def test_another_process_makes_the_same_bytes(source: Path, tmp_path: Path) -> None:
    done(source, tmp_path / "here", data=tmp_path / "data1")
    code = (
        "import sys; from pathlib import Path; from tests.unit.anonymizer.offline.folders import *;"
        "done(*map(Path, sys.argv[1:3]), data=Path(sys.argv[3]))"
    )
    arguments = [source, tmp_path / "there", tmp_path / "data2"]
    env = os.environ | {"PYTHONHASHSEED": "77"}
    subprocess.run([sys.executable, "-c", code, *map(str, arguments)], env=env, check=True)
    assert contents(tmp_path / "here") == contents(tmp_path / "there")


def test_a_second_run_does_nothing_again(source: Path, tmp_path: Path) -> None:
    done(source, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.dcm")}
    saved(instance_of("MRN-88213", 0, 9), source / f"sub-{plain('MRN-88213')}" / "ses-x/y/new")
    summary = done(source, tmp_path / "out")
    assert (summary.released, summary.before) == (9, 8)
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.dcm")}
    assert before.items() < after.items()


def test_what_has_changed_or_is_lost_is_done_again(source: Path, tmp_path: Path) -> None:
    done(source, tmp_path / "out")
    whole = contents(tmp_path / "out")
    lost, cut, *_ = sorted((tmp_path / "out").rglob("*.dcm"))
    lost.unlink()
    cut.write_bytes(b"cut")
    summary = done(source, tmp_path / "out")
    assert summary.before == 6
    assert contents(tmp_path / "out") == whole


def test_other_rules_for_the_same_folders_are_refused(source: Path, tmp_path: Path) -> None:
    done(source, tmp_path / "out")
    whole = contents(tmp_path / "out")
    others = (
        {"project": "other"},
        {"profile": type(DEFAULT)(frozenset())},
        {"layout": Layout.UIDS},
        {"keep_patient_folders": True},
    )
    for other in others:
        with pytest.raises(InputError, match="earlier run"):
            done(source, tmp_path / "out", **other)
    assert contents(tmp_path / "out") == whole


def test_what_is_no_instance_is_listed_and_never_copied(source: Path, tmp_path: Path) -> None:
    (source / "notes.txt").write_text("Quixotesson was here")
    (source / "empty").touch()
    meta = b"\2\0\2\0UI\x14\x001.2.840.10008.1.3.10\0"
    (source / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + meta)
    summary = done(source, tmp_path / "out")
    assert summary.others == {"dicomdir": 1, "empty": 1, "not_dicom": 1}
    assert summary.is_whole and len(contents(tmp_path / "out")) == 8
    assert not (tmp_path / "data" / "quarantine").exists()
    assert "notes.txt,other,not_dicom," in summary.report.read_text().splitlines()


def test_a_damaged_instance_is_kept_in_quarantine(source: Path, tmp_path: Path) -> None:
    first, second, third, *_ = sorted(source.rglob("CT.*"))
    whole = {path: path.read_bytes() for path in (first, second, third)}
    first.write_bytes(whole[first][:-7])
    second.write_bytes(whole[second][132:])
    third.write_bytes(whole[third][:300])
    summary = done(source, tmp_path / "out")
    assert summary.withheld == {"no_preamble": 1, "truncated": 2}
    assert summary.released == 5 and not summary.is_whole
    kept = contents(tmp_path / "data" / "quarantine")
    assert sorted(kept.values()) == sorted(path.read_bytes() for path in whole)
    assert not mentions(kept, *IDENTIFYING)
    assert contents(tmp_path / "data" / "quarantine") == kept
    assert done(source, tmp_path / "out").withheld == summary.withheld


def test_what_an_operator_lets_pass_is_released_by_the_next_run(
    source: Path, tmp_path: Path
) -> None:
    burned = instance_of("MRN-88213", 7, 7, BurnedInAnnotation="YES")
    held = saved(burned, source / "sub-a/ses-b/c/d")
    assert done(source, tmp_path / "out").withheld == {"burned_in_annotation": 1}
    decision = Decision(
        at="2026-11-25",
        by="operator",
        why="looked at",
        decision="release",
        reason="burned_in_annotation",
        sop_instance_uid=burned.SOPInstanceUID,
        content=digest_of(held),
        version="1",
    )
    Decisions(Archive(tmp_path / "data").decisions).append([decision])
    summary = done(source, tmp_path / "out")
    assert (summary.released, summary.before, summary.is_whole) == (9, 8, True)
    assert contents(tmp_path / "data" / "quarantine") == {}
    saved(instance_of("MRN-88213", 7, 7, BurnedInAnnotation="YES", Rows=2, Columns=8), held)
    assert done(source, tmp_path / "out").withheld == {"burned_in_annotation": 1}


def test_a_name_that_is_no_text_is_a_name(source: Path, tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(source / "sub-x" / "ses-y" / "z") + b"\xe9")
    saved(instance_of("MRN-88213", 7, 7), Path(name))
    Path(name + "2").write_bytes(b"text")
    summary = done(source, tmp_path / "out", workers=2)
    assert (summary.released, summary.others) == (9, {"not_dicom": 1})
    assert os.fsencode(Path(name).name) in summary.report.read_bytes()
    assert done(source, tmp_path / "out").before == 9


def test_an_error_of_the_system_or_of_ours_names_no_path(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(error: Exception) -> Callable[..., None]:
        def failing(*_: object, **__: object) -> None:
            raise error

        return failing

    monkeypatch.setattr(Path, "unlink", fail(PermissionError(13, "no", "sub-Quixotesson")))
    with pytest.raises(RetryLaterError) as caught:
        done(source, source)
    assert "Quixotesson" not in str(caught.value) and caught.value.__suppress_context__
    monkeypatch.setattr(plan, "make_plan", fail(KeyError("Quixotesson")))
    with pytest.raises(RejectedError, match="KeyError at ") as defect:
        done(source, tmp_path / "out")
    assert "Quixotesson" not in str(defect.value)


def test_a_file_that_nobody_may_read_is_not_forgotten(source: Path, tmp_path: Path) -> None:
    (source / "gone").symlink_to(tmp_path / "nowhere")
    (source / "elsewhere").symlink_to(tmp_path)
    summary = done(source, tmp_path / "out")
    assert summary.withheld == {"linked_folder": 1, "no_access": 1}


def test_the_same_file_twice_is_released_once(source: Path, tmp_path: Path) -> None:
    copied = sorted(source.rglob("CT.*"))[0]
    shutil.copyfile(copied, source / "sub-HU_101_A" / "copy")
    summary = done(source, tmp_path / "out")
    assert (summary.released, summary.duplicates, summary.is_whole) == (8, 1, True)
    assert len(contents(tmp_path / "out")) == 8


def test_another_content_of_the_same_uid_is_withheld(source: Path, tmp_path: Path) -> None:
    other = instance_of("MRN-88213", 0, 0, Rows=2, Columns=8)
    saved(other, source / "sub-zzz" / "ses-z" / "z" / "z")
    alone = done(fill(tmp_path / "plain" / "in"), tmp_path / "alone")
    summary = done(source, tmp_path / "out")
    assert (summary.released, summary.withheld) == (alone.released, {"duplicate_uid": 1})
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")
    assert len(contents(tmp_path / "data" / "quarantine" / "duplicate_uid")) == 1


@pytest.mark.parametrize("in_place", [False, True])
def test_a_whole_instance_is_released_though_a_cut_one_of_its_uid_comes_first(
    in_place: bool, source: Path, tmp_path: Path
) -> None:
    whole = sorted(source.rglob("CT.*"))[0]
    expected = whole.read_bytes()
    before = saved(instance_of("MRN-88213", 0, 0), source / "sub-0" / "ses-0" / "0" / "a")
    (source / "sub-0" / "ses-0" / "0" / "copy").write_bytes(expected)
    uid = dcmread(whole).SOPInstanceUID
    before.write_bytes(expected[:-9])
    out = source if in_place else tmp_path / "out"
    summary = done(source, out)
    assert (summary.released, summary.duplicates) == (8, 1)
    assert summary.withheld == {"truncated": 1}
    assert len(list(out.rglob(f"{KEY.uid(uid)}.dcm"))) == 1
    again = done(source, out)
    assert (again.released, again.before, again.withheld) == (8, 8, {"truncated": 1})


def test_a_file_of_another_folder_is_not_overwritten_by_one_of_its_uid(
    source: Path, tmp_path: Path
) -> None:
    done(source, tmp_path / "out")
    whole = contents(tmp_path / "out")
    same = saved(instance_of("MRN-88213", 0, 0), tmp_path / "in2/sub-a/ses-b/c/d")
    assert done(same.parents[3], tmp_path / "out").released == 1
    other = instance_of("MRN-88213", 0, 0, Rows=2, Columns=8)
    saved(other, tmp_path / "in3/sub-a/ses-b/c/d")
    assert done(tmp_path / "in3", tmp_path / "out").withheld == {"duplicate_uid": 1}
    assert contents(tmp_path / "out") == whole


def test_padded_ids_are_one_patient(tmp_path: Path) -> None:
    for number, patient in enumerate(("MRN-88213", " MRN-88213 ")):
        data_set = instance_of("MRN-88213", number, 0, PatientID=patient)
        saved(data_set, tmp_path / "in" / str(number))
    done(tmp_path / "in", tmp_path / "out")
    assert {path.split("/")[0] for path in contents(tmp_path / "out")} == {
        KEY.pseudonym("MRN-88213")
    }


def test_what_pacsman_deleted_can_be_withheld(source: Path, tmp_path: Path) -> None:
    saved(
        instance_of("MRN-88213", 5, 1, ImageType=["DERIVED", "SECONDARY", "MPR"]),
        source / "sub-MRN_88213" / "ses-x" / "y" / "reformat",
    )
    kept = done(source, tmp_path / "with", data=tmp_path / "data1")
    assert kept.released == 9
    summary = done(source, tmp_path / "out", without_identifiable=True)
    assert (summary.released, summary.withheld) == (8, {"identifiable": 1})
    assert len(list(source.rglob("reformat"))) == 1


def test_the_trusted_zone_knows_who_is_who(source: Path, tmp_path: Path) -> None:
    summary = done(source, tmp_path / "out")
    rows = [
        f"{patient},,{KEY.pseudonym(patient)},{KEY.shift_days(patient)}"
        for patient in sorted(PATIENTS)
    ]
    lines = (summary.records / "mapping.csv").read_text().splitlines()
    assert lines == ["PatientID,IssuerOfPatientID,Pseudonym,DateShiftDays", *rows]
    mapper = json.loads((summary.records / "mapper.json").read_text())
    assert mapper == {KEY.pseudonym(patient): patient for patient in PATIENTS}
    offsets = (summary.records / "date_offsets.csv").read_text()
    assert offsets == ",".join(str(KEY.shift_days(p)) for p in sorted(PATIENTS)) + "\n"
    assert summary.records.is_relative_to(tmp_path / "data")


def test_a_key_that_is_newer_than_a_job_is_not_used_for_it(source: Path, tmp_path: Path) -> None:
    half = wish(source, tmp_path / "out")
    done(source, tmp_path / "out")
    whole = contents(tmp_path / "out")
    sorted((tmp_path / "out").rglob("*.dcm"))[0].unlink()
    rotated = type(half.ring)((KEY.secret, b"\7" * 32))
    assert done(source, tmp_path / "out", ring=rotated).key_id == "1"
    assert contents(tmp_path / "out") == whole
    assert done(source, tmp_path / "new", ring=rotated).key_id == "2"


def test_zones_that_would_lie_in_one_another_are_refused(tmp_path: Path) -> None:
    source, out, data = tmp_path / "in", tmp_path / "out", tmp_path / "data"
    source.mkdir()
    check_zones(source, out, data)
    check_zones(source, source, data)
    check_zones(source, source / "out", data)
    check_zones(source, out, source / "data")
    refused = [
        (tmp_path / "nothing", out, data),
        (source, out, out / "data"),
        (source, out, out),
        (source, data / "out", data),
        (source, tmp_path, data),
        (source, source, source / "data"),
    ]
    for zones in refused:
        with pytest.raises(InputError):
            check_zones(*zones)


def test_a_release_inside_the_originals_is_no_original(source: Path) -> None:
    assert done(source, source / "out", data=source / "data").released == 8
    assert done(source, source / "out", data=source / "data").instances == 8


def test_a_folder_without_instances_is_wrong_input(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "text").write_text("x")
    with pytest.raises(InputError, match="no DICOM instance"):
        done(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_audit_has_every_instance_once_however_often_a_folder_is_done(tmp_path: Path) -> None:
    source = fill(tmp_path / "in")
    burned = instance_of("MRN-88213", 1, 9, BurnedInAnnotation="YES")
    saved(burned, source / "sub-MRN_88213" / SESSION / "00001-for" / "CT.9")
    one = wish(source, tmp_path / "out", workers=2)
    first = done(source, tmp_path / "out", workers=2)
    done(source, tmp_path / "out", workers=2)
    account = account_of(one.data, one.audit)
    assert (account.released, account.withheld) == (first.released, {"burned_in_annotation": 1})
    assert account.keys == {("trial", "1")}
