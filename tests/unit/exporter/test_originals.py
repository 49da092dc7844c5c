from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pacstream.archive import Archive
from pacstream.errors import RejectedError, RetryLaterError, ZoneError
from pacstream.logs import ref
from pacstream.messages import Actions, Order, Series
from pacstream.results import originals_folder
from pacstream_exporter.originals import export_originals

SERIES_UID = "1.2.826.0.1.77.2"
UIDS = ("1.2.826.0.1.77.3.1", "1.2.826.0.1.77.3.2", "1.2.826.0.1.77.3.3")

MakeOrder = Callable[..., Order]


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """An archive with three originals of some thousand bytes, each different."""
    archive = Archive(tmp_path / "data")
    archive.series_folder(SERIES_UID).mkdir(parents=True)
    for number, uid in enumerate(UIDS, 1):
        archive.instance_path(SERIES_UID, uid).write_bytes(bytes([number]) * (1000 * number + 1))
    return archive


@pytest.fixture
def make_order(tmp_path: Path) -> MakeOrder:
    def make(
        *, modality: str = "MR", folder: str = "00004-T1_sag", out: Path | None = None
    ) -> Order:
        return Order(
            batch_id="batch-1",
            series=Series(study_uid="1.2.826.0.1.77.1", series_uid=SERIES_UID, modality=modality),
            actions=Actions(save=True),
            out=str(out or tmp_path / "out"),
            subject="sub-A_1",
            session="ses-20200102101112.5",
            folder=folder,
            release_folder="00004-MR",
        )

    return make


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def originals(archive: Archive, prefix: str = "MR") -> dict[str, bytes]:
    return {f"{prefix}.{uid}": archive.instance_path(SERIES_UID, uid).read_bytes() for uid in UIDS}


def test_originals_lie_byte_for_byte_in_the_layout_of_pacsman(
    archive: Archive, make_order: MakeOrder, tmp_path: Path
) -> None:
    assert export_originals(make_order(), UIDS, archive) == 3
    folder = tmp_path / "out" / "sub-A_1" / "ses-20200102101112.5" / "00004-T1_sag"
    assert contents(folder) == originals(archive)


def test_nothing_but_the_series_folder_is_left_beside_it(
    archive: Archive, make_order: MakeOrder
) -> None:
    export_originals(make_order(), UIDS, archive)
    assert [path.name for path in originals_folder(make_order()).parent.iterdir()] == [
        "00004-T1_sag"
    ]


@pytest.mark.parametrize(("modality", "prefix"), [("", "OT"), ("ct", "CT"), ("../M R", "MR")])
def test_file_names_begin_with_a_safe_modality(
    archive: Archive, make_order: MakeOrder, modality: str, prefix: str
) -> None:
    order = make_order(modality=modality)
    export_originals(order, UIDS, archive)
    assert contents(originals_folder(order)) == originals(archive, prefix)


def test_copies_share_no_bytes_with_the_originals(archive: Archive, make_order: MakeOrder) -> None:
    export_originals(make_order(), UIDS, archive)
    before = archive.instance_path(SERIES_UID, UIDS[0]).read_bytes()
    copy = originals_folder(make_order()) / f"MR.{UIDS[0]}"
    with copy.open("r+b") as file:
        file.write(b"edited by the user")
    assert archive.instance_path(SERIES_UID, UIDS[0]).read_bytes() == before


def test_a_second_run_changes_nothing(archive: Archive, make_order: MakeOrder) -> None:
    export_originals(make_order(), UIDS, archive)
    folder = originals_folder(make_order())
    for path in folder.iterdir():
        os.utime(path, ns=(1, 1))
    before = {path.name: path.stat() for path in folder.iterdir()}
    export_originals(make_order(), UIDS, archive)
    after = {path.name: path.stat() for path in folder.iterdir()}
    assert {name: (s.st_ino, s.st_mtime_ns) for name, s in after.items()} == {
        name: (s.st_ino, s.st_mtime_ns) for name, s in before.items()
    }


def test_a_second_run_restores_what_is_missing_or_differs(
    archive: Archive, make_order: MakeOrder
) -> None:
    export_originals(make_order(), UIDS, archive)
    folder = originals_folder(make_order())
    (folder / f"MR.{UIDS[0]}").unlink()
    (folder / f"MR.{UIDS[1]}").write_bytes(b"x" * 2001)
    (folder / f"MR.{UIDS[2]}").write_bytes(b"short")
    export_originals(make_order(), UIDS, archive)
    assert contents(folder) == originals(archive)


def test_a_link_to_the_original_is_replaced_by_a_copy(
    archive: Archive, make_order: MakeOrder
) -> None:
    folder = originals_folder(make_order())
    folder.mkdir(parents=True)
    (folder / f"MR.{UIDS[0]}").symlink_to(archive.instance_path(SERIES_UID, UIDS[0]))
    (folder / f"MR.{UIDS[1]}").hardlink_to(archive.instance_path(SERIES_UID, UIDS[1]))
    export_originals(make_order(), UIDS, archive)
    assert not (folder / f"MR.{UIDS[0]}").is_symlink()
    assert (folder / f"MR.{UIDS[1]}").stat().st_nlink == 1
    assert contents(folder) == originals(archive)


def test_files_of_the_user_stay(archive: Archive, make_order: MakeOrder) -> None:
    export_originals(make_order(), UIDS, archive)
    notes = originals_folder(make_order()) / "notes.txt"
    notes.write_text("mine")
    export_originals(make_order(), UIDS, archive)
    assert notes.read_text() == "mine"


def test_a_missing_original_is_refused_and_leaves_no_folder(
    archive: Archive, make_order: MakeOrder
) -> None:
    archive.instance_path(SERIES_UID, UIDS[2]).unlink()
    with pytest.raises(RejectedError) as refusal:
        export_originals(make_order(), UIDS, archive)
    assert refusal.value.code == "original_missing"
    assert not originals_folder(make_order()).parent.exists()


def test_an_original_that_fails_half_way_leaves_no_half_folder(
    archive: Archive, make_order: MakeOrder
) -> None:
    bad = archive.instance_path(SERIES_UID, UIDS[2])
    bad.unlink()
    # A file for stat(2), but read(2) answers EIO: a process's memory at address 0.
    bad.symlink_to("/proc/self/mem")
    with pytest.raises(RetryLaterError) as failure:
        export_originals(make_order(), UIDS, archive)
    assert failure.value.code == "disk"
    assert list(originals_folder(make_order()).parent.iterdir()) == []


def test_what_a_killed_process_left_of_this_series_goes_and_of_others_stays(
    archive: Archive, make_order: MakeOrder
) -> None:
    session = originals_folder(make_order()).parent
    (session / f".{ref(SERIES_UID)}-f00d.part").mkdir(parents=True)
    (session / f".{ref('1.2.3')}-f00d.part").mkdir()
    export_originals(make_order(), UIDS, archive)
    assert {path.name for path in session.iterdir()} == {
        f".{ref('1.2.3')}-f00d.part",
        "00004-T1_sag",
    }


@pytest.mark.parametrize("folder", ["../../../away", "..", "a/b", "", "."])
def test_a_folder_that_is_no_plain_name_is_refused(
    archive: Archive, make_order: MakeOrder, tmp_path: Path, folder: str
) -> None:
    with pytest.raises(ZoneError):
        export_originals(make_order(folder=folder), UIDS, archive)
    assert not (tmp_path / "out").exists()


def test_a_uid_that_is_no_uid_is_refused(archive: Archive, make_order: MakeOrder) -> None:
    with pytest.raises(ZoneError):
        export_originals(make_order(), ["../../order"], archive)


def test_an_output_folder_that_can_not_be_one_is_refused_without_its_name(
    archive: Archive, make_order: MakeOrder, tmp_path: Path
) -> None:
    (tmp_path / "a_file").write_text("no folder")
    with pytest.raises(RejectedError) as refusal:
        export_originals(make_order(out=tmp_path / "a_file"), UIDS, archive)
    assert refusal.value.code == "output_not_writable"
    assert "sub-" not in str(refusal.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write_is_refused(
    archive: Archive, make_order: MakeOrder, tmp_path: Path
) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(RejectedError) as refusal:
        export_originals(make_order(out=tmp_path / "locked"), UIDS, archive)
    assert refusal.value.code == "output_not_writable"
