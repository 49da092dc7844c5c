from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import nibabel
import pytest

from pacstream.errors import InputError
from pacstream_converter.bids.book import read_book
from pacstream_converter.bids.planning import ConvertedSeries
from pacstream_converter.bids.rules_file import default_rules, parse_rules
from pacstream_converter.bids.tree import build_tree
from tests.unit.converter.bids.scanner import (
    BOLD,
    LOCALIZER,
    MAGNITUDES,
    MPRAGE,
    PHASE_DIFFERENCE,
    STRANGE,
    VENDORS,
    Scan,
    Session,
)
from tests.unit.converter.bids.validator import errors_in
from tests.unit.converter.samples import ECHOES

SESSION = "sub-P7Q/ses-20180405090000"
NAME = "sub-P7Q_ses-20180405090000"

Acquired = Sequence[ConvertedSeries]


def files_below(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def images_below(root: Path) -> set[str]:
    return {name for name in files_below(root) if name.endswith(".nii.gz")}


@pytest.fixture(scope="session")
def dataset(acquired: Acquired, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bids") / "dataset"
    build_tree(acquired, root, default_rules(), today="2026-11-25")
    return root


def test_the_validator_finds_no_error(dataset: Path) -> None:
    assert errors_in(dataset) == []


def test_the_validator_would_find_one(dataset: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    for name, content in files_below(dataset).items():
        (broken / name).parent.mkdir(parents=True, exist_ok=True)
        (broken / name).write_bytes(content)
    (broken / SESSION / "func" / f"{NAME}_task-rest_bold.json").write_text("{}")
    assert {code for code, _ in errors_in(broken)} >= {"SIDECAR_KEY_REQUIRED"}


def test_each_product_has_its_place(dataset: Path) -> None:
    assert images_below(dataset) == {
        f"{SESSION}/anat/{NAME}_FLAIR.nii.gz",
        f"{SESSION}/anat/{NAME}_T2w.nii.gz",
        f"{SESSION}/anat/{NAME}_acq-mprage_T1w.nii.gz",
        f"{SESSION}/ct/{NAME}_ct.nii.gz",
        f"{SESSION}/dwi/{NAME}_dir-AP_dwi.nii.gz",
        f"{SESSION}/dwi/{NAME}_dwi.nii.gz",
        f"{SESSION}/fmap/{NAME}_dir-AP_epi.nii.gz",
        f"{SESSION}/fmap/{NAME}_dir-PA_epi.nii.gz",
        f"{SESSION}/fmap/{NAME}_magnitude1.nii.gz",
        f"{SESSION}/fmap/{NAME}_magnitude2.nii.gz",
        f"{SESSION}/fmap/{NAME}_phasediff.nii.gz",
        f"{SESSION}/func/{NAME}_task-rest_bold.nii.gz",
        f"{SESSION}/scout/{NAME}_scout.nii.gz",
        f"sourcedata/unmatched/{SESSION}/00030-MR.nii.gz",
    }


def test_as_many_products_come_out_as_went_in(acquired: Acquired, tmp_path: Path) -> None:
    result = build_tree(acquired, tmp_path / "bids", default_rules())
    assert result.is_whole
    assert result.products == sum(len(series.images) for series in acquired)
    assert (
        result.products == len(images_below(tmp_path / "bids")) == len(read_book(tmp_path / "bids"))
    )
    assert result.states == {"bids": 11, "beside": 2, "unmatched": 1}
    assert result.unmatched == (f"{SESSION}/00030-MR",)


def test_no_identifier_and_no_description_is_in_the_data_set(dataset: Path) -> None:
    for name, content in files_below(dataset).items():
        text = (gzip.decompress(content) if name.endswith(".gz") else content).decode("latin-1")
        assert not [echo for echo in (*ECHOES, "HOUSE", "mprage_sag") if echo in name + text], name


def test_a_mosaic_has_its_shape_and_its_gradients(dataset: Path) -> None:
    stem = dataset / SESSION / "dwi" / f"{NAME}_dir-AP_dwi"
    assert nibabel.load(f"{stem}.nii.gz").shape == (128, 128, 48, 2)
    assert Path(f"{stem}.bval").read_text().split() == ["0", "1000"]
    assert len(Path(f"{stem}.bvec").read_text().split()) == 6


def sidecar(dataset: Path, name: str) -> dict[str, object]:
    told = json.loads((dataset / SESSION / f"{name}.json").read_text())
    assert isinstance(told, dict)
    return told


def test_sidecars_have_what_bids_requires(dataset: Path) -> None:
    bold = sidecar(dataset, f"func/{NAME}_task-rest_bold")
    assert (bold["TaskName"], bold["RepetitionTime"]) == ("rest", 2)
    difference = sidecar(dataset, f"fmap/{NAME}_phasediff")
    assert (difference["EchoTime1"], difference["EchoTime2"]) == (0.00492, 0.00738)
    opposed = [sidecar(dataset, f"fmap/{NAME}_dir-{way}_epi") for way in ("AP", "PA")]
    assert [one["PhaseEncodingDirection"] for one in opposed] == ["j-", "j"]
    assert all("TotalReadoutTime" in one for one in opposed)


def test_field_maps_name_what_they_are_for(dataset: Path) -> None:
    difference = sidecar(dataset, f"fmap/{NAME}_phasediff")
    assert f"bids::{SESSION}/func/{NAME}_task-rest_bold.nii.gz" in difference["IntendedFor"]  # type: ignore[operator]
    bold = sidecar(dataset, f"func/{NAME}_task-rest_bold")
    assert bold["B0FieldSource"] == difference["B0FieldIdentifier"]


def test_scans_have_shifted_dates_and_participants_an_age(dataset: Path) -> None:
    scans = (dataset / SESSION / f"{NAME}_scans.tsv").read_text().splitlines()
    assert f"anat/{NAME}_acq-mprage_T1w.nii.gz\t2019-12-26T09:02:00.500000" in scans
    assert "sub-P7Q\t74\tn/a" in (dataset / "participants.tsv").read_text().splitlines()


def test_a_release_without_dates_and_characteristics_tells_none(tmp_path: Path) -> None:
    series = replace(Session(tmp_path).scan(MPRAGE), shift_days=None, characteristics=False)
    build_tree([series], tmp_path / "bids", default_rules())
    scans = (tmp_path / "bids" / SESSION / f"{NAME}_scans.tsv").read_text()
    assert scans.splitlines()[1].split("\t")[1] == "n/a"
    assert "sub-P7Q\tn/a\tn/a" in (tmp_path / "bids" / "participants.tsv").read_text()


def test_a_second_run_changes_nothing(acquired: Acquired, dataset: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in dataset.rglob("*") if path.is_file()}
    build_tree(acquired, dataset, default_rules(), today="2027-01-01")
    after = {path: path.stat().st_mtime_ns for path in dataset.rglob("*") if path.is_file()}
    lock = dataset / "sourcedata" / ".lock"
    assert {**before, lock: 0} == {**after, lock: 0}


def test_a_series_that_comes_later_renumbers_nothing(tmp_path: Path) -> None:
    session, root = Session(tmp_path), tmp_path / "bids"
    later = [session.scan(replace(BOLD, number=number)) for number in (7, 9)]
    build_tree(later, root, default_rules())
    before = files_below(root / SESSION / "func")
    assert set(before) == {
        f"{NAME}_task-rest_run-{n}_bold.{e}" for n in "12" for e in ("nii.gz", "json")
    }
    earlier = session.scan(replace(BOLD, number=3))
    build_tree([*later, earlier], root, default_rules())
    assert files_below(root / SESSION / "func").items() >= before.items()
    assert f"{SESSION}/func/{NAME}_task-rest_run-3_bold.nii.gz" in images_below(root)
    assert errors_in(root) == []


def test_a_product_that_other_rules_know_moves(tmp_path: Path) -> None:
    session, root = Session(tmp_path), tmp_path / "bids"
    series = [session.scan(replace(BOLD, description="ABC12"))]
    rules = parse_rules(
        """
        [[rules]]
        name = "stroop"
        folder = "func"
        suffix = "bold"
        when.SeriesDescription = "abc12"
        entities.task = "stroop"
        [rules.sidecar]
        Instructions = "Name the colour."
        """
    )
    build_tree(series, root, parse_rules("defaults = false"))
    assert images_below(root) == {f"sourcedata/unmatched/{SESSION}/00006-MR.nii.gz"}
    build_tree(series, root, rules)
    assert images_below(root) == {f"{SESSION}/func/{NAME}_task-stroop_bold.nii.gz"}
    told = sidecar(root, f"func/{NAME}_task-stroop_bold")
    assert (told["TaskName"], told["Instructions"]) == ("stroop", "Name the colour.")


def test_what_lacks_metadata_is_told_and_ignored_by_the_validator(tmp_path: Path) -> None:
    labels = Scan(5, "pcasl_3d", {"EchoTime": "12"}, [{}] * 4)
    session, root = Session(tmp_path), tmp_path / "bids"
    series = [session.scan(MPRAGE), session.scan(labels)]
    result = build_tree(series, root, default_rules())
    assert result.states == {"bids": 1, "incomplete": 1}
    assert {"BackgroundSuppression", "PostLabelingDelay", "aslcontext.tsv"} <= set(
        result.incomplete
    )
    assert errors_in(root) == []
    told = """
        [[rules]]
        name = "our-asl"
        folder = "perf"
        suffix = "asl"
        when.SeriesDescription = "pcasl"
        volumes = ["control", "label"]
        [rules.sidecar]
        ArterialSpinLabelingType = "PCASL"
        BackgroundSuppression = false
        LabelingDuration = 1.8
        M0Type = "Absent"
        MagneticFieldStrength = 3.0
        PostLabelingDelay = 1.8
        RepetitionTimePreparation = 4.5
        """
    assert build_tree(series, root, parse_rules(told)).states == {"bids": 2}
    context = root / SESSION / "perf" / f"{NAME}_aslcontext.tsv"
    assert context.read_text().split() == ["volume_type", *["control", "label"] * 2]
    assert errors_in(root) == []


def test_an_image_without_all_slices_is_told_and_ignored(tmp_path: Path) -> None:
    series = replace(Session(tmp_path).scan(MPRAGE), is_complete=False)
    result = build_tree([series], tmp_path / "bids", default_rules())
    assert (result.states, result.incomplete) == ({"incomplete": 1}, {"slices": 1})
    assert "_acq-mprage_T1w.*" in (tmp_path / "bids" / ".bidsignore").read_text()


def test_two_patients_and_two_sessions_never_share_a_name(tmp_path: Path) -> None:
    names = ("sub-A_1/ses-20200101", "sub-A1/ses-20200101", "sub-A1/ses-2020_0101")
    series = [
        Session(tmp_path / str(number), name, study_uid=f"1.2.3.{number}").scan(MPRAGE)
        for number, name in enumerate(names)
    ]
    result = build_tree(series, tmp_path / "bids", default_rules())
    assert result.products == len(images_below(tmp_path / "bids")) == 3
    assert len({entry.target for entry in read_book(tmp_path / "bids").values()}) == 3
    assert errors_in(tmp_path / "bids") == []


def test_columns_that_others_have_added_stay(acquired: Acquired, tmp_path: Path) -> None:
    root = tmp_path / "bids"
    build_tree(acquired[:2], root, default_rules())
    table = root / "participants.tsv"
    table.write_text("participant_id\tage\tsex\tgroup\nsub-P7Q\t33\tn/a\tcontrol\n")
    (root / "README.md").write_text("Ours.")
    (root / ".bidsignore").write_text("notes/\n" + (root / ".bidsignore").read_text())
    build_tree(acquired, root, default_rules())
    assert table.read_text().splitlines()[1] == "sub-P7Q\t33\tn/a\tcontrol"
    assert (root / "README.md").read_text() == "Ours."
    assert (root / ".bidsignore").read_text().startswith("notes/\n# written by pacstream: begin\n")


def test_a_series_whose_originals_are_gone_is_left_out_with_a_reason(tmp_path: Path) -> None:
    session = Session(tmp_path)
    gone = replace(session.scan(LOCALIZER), originals=(tmp_path / "nothing.dcm",))
    result = build_tree([session.scan(MPRAGE), gone], tmp_path / "bids", default_rules())
    assert not result.is_whole
    assert result.left_out == {"original_missing": 1}
    assert result.states == {"bids": 1}


def test_an_identifier_in_a_name_is_not_released(tmp_path: Path) -> None:
    told = '[[rules]]\nname = "x"\nfolder = "anat"\nsuffix = "T1w"\nwhen.Modality = "MR"\n'
    rules = parse_rules(told + 'entities.acq = "PID00770077"')
    result = build_tree([Session(tmp_path).scan(MPRAGE)], tmp_path / "bids", rules)
    assert result.left_out == {"nifti_echo": 1}
    assert images_below(tmp_path / "bids") == set()


def test_a_folder_with_other_things_is_refused(acquired: Acquired, tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_text("chapter 1")
    with pytest.raises(InputError, match="neither empty nor a data set"):
        build_tree(acquired, tmp_path, default_rules())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.doc"]


def test_a_table_that_somebody_has_spoilt_is_refused(acquired: Acquired, tmp_path: Path) -> None:
    build_tree(acquired[:1], tmp_path, default_rules())
    book = tmp_path / "sourcedata" / "products.tsv"
    book.write_text(book.read_text().replace("sub-P7Q/ses", "../../etc"))
    with pytest.raises(InputError, match=r"products\.tsv: line 2"):
        build_tree(acquired, tmp_path, default_rules())


def _build_until(series: Acquired, root: Path, last: int) -> None:
    def stop(done: int, total: int) -> None:
        if done == last:
            os.kill(os.getpid(), signal.SIGKILL)

    build_tree(series, root, default_rules(), progress=stop)


@pytest.mark.parametrize("last", [0, 5, 14])
def test_a_killed_run_is_completed_by_the_next(
    acquired: Acquired, dataset: Path, tmp_path: Path, last: int
) -> None:
    root = tmp_path / "bids"
    process = multiprocessing.get_context("fork").Process(
        target=_build_until, args=(acquired, root, last)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    (root / "sourcedata" / ".left.part").write_text("half a file")
    build_tree(acquired, root, default_rules(), today="2026-11-25")
    assert files_below(root) == files_below(dataset)


def test_a_film_is_no_volume_and_says_why(tmp_path: Path) -> None:
    dynamic = replace(MPRAGE, volumes=[{}] * 3)
    strange = replace(dynamic, number=3, description="WORD")
    maps = replace(MAGNITUDES, number=4, volumes=[{"EchoTime": "4.92"}] * 3)
    session, root = Session(tmp_path), tmp_path / "bids"
    series = [session.scan(one) for one in (dynamic, strange, maps, PHASE_DIFFERENCE)]
    told = '[[rules]]\nname = "mine"\nfolder = "anat"\nsuffix = "T1w"\nwhen.ProtocolName = "WORD"'
    result = build_tree(series, root, parse_rules(told))
    assert errors_in(root) == []
    assert images_below(root) == {
        f"{SESSION}/dynamic/{NAME}_dynamic.nii.gz",
        f"{SESSION}/fmap/{NAME}_phasediff.nii.gz",
        f"sourcedata/unmatched/{SESSION}/00003-MR.nii.gz",
        f"sourcedata/unmatched/{SESSION}/00004-MR.nii.gz",
    }
    entry = read_book(root)[f"{SESSION}/00003-MR"]
    assert (entry.state, entry.rule, entry.missing) == ("unmatched", "mine", "dimensions")
    assert result.misfits == 2 and result.incomplete == {"EchoTime1": 1, "EchoTime2": 1}


def test_a_patient_without_a_place_is_no_participant(tmp_path: Path) -> None:
    session, root = Session(tmp_path), tmp_path / "bids"
    other = Session(tmp_path / "other", "sub-LONELY/ses-20180405090000", study_uid="1.2.3.4")
    build_tree([session.scan(MPRAGE), other.scan(STRANGE)], root, default_rules())
    assert errors_in(root) == []
    assert "LONELY" not in (root / "participants.tsv").read_text()
    assert "sub-LONELY" in (root / "sourcedata/products.tsv").read_text()
    build_tree([other.scan(STRANGE)], tmp_path / "alone", default_rules())
    assert errors_in(tmp_path / "alone") == []


def test_a_value_that_can_not_be_is_not_told(tmp_path: Path) -> None:
    scans = [
        replace(MPRAGE, changes={**MPRAGE.changes, "FlipAngle": "0"}),
        PHASE_DIFFERENCE,
        replace(MAGNITUDES, volumes=[{"EchoTime": "4.92"}, {"EchoTime": "40"}]),
    ]
    session, root = Session(tmp_path), tmp_path / "bids"
    result = build_tree([session.scan(one) for one in scans], root, default_rules())
    assert errors_in(root) == []
    assert "FlipAngle" not in sidecar(root, f"anat/{NAME}_acq-mprage_T1w")
    assert result.incomplete == {"EchoTime1": 1, "EchoTime2": 1}


def test_what_other_vendors_send_is_valid(tmp_path: Path) -> None:
    session, root = Session(tmp_path), tmp_path / "bids"
    result = build_tree([session.scan(one) for one in VENDORS], root, default_rules())
    assert errors_in(root) == []
    assert result.is_whole and result.states == {"bids": 7, "incomplete": 3}
    kinds = {name.rpartition("_")[2] for name in images_below(root)}
    phases = {"phase1.nii.gz", "phase2.nii.gz", "magnitude1.nii.gz", "magnitude2.nii.gz"}
    assert kinds >= phases | {"pet.nii.gz", "asl.nii.gz", "FLAIR.nii.gz", "angio.nii.gz"}
    assert nibabel.load(next(root.rglob("*_pet.nii.gz"))).shape[3] == 3
