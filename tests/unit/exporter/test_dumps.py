"""Info tables moved to another folder, and back."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from pacstream.errors import InputError, RetryLaterError
from pacstream_exporter.dumps import OccupiedError, Summary, move_dumps
from tests.unit.exporter.folders import contents

TABLES = {
    f"sub-{patient}/ses-{session}/0000{series}-T1.csv": f"{patient},{session},{series}".encode()
    for patient in ("P1", "P2")
    for session in ("20240101", "20240202")
    for series in (1, 2)
}
OTHERS = {"sub-P1/ses-20240101/00001-T1/MR.1.2": b"image", "sub-P1/table.csv": b"not of a series"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return filled(tmp_path / "data", TABLES | OTHERS | {"mapper.json": b"{}"})


def filled(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def test_there_and_back_gives_the_same_files(source: Path, tmp_path: Path) -> None:
    before, info = contents(source), tmp_path / "new" / "info"
    assert move_dumps(source, info) == Summary(moved=9, there=0)
    assert contents(info) == TABLES | {"mapper.json": b"{}"}
    assert contents(source) == OTHERS
    assert move_dumps(info, source) == Summary(moved=9, there=0)
    assert contents(source) == before
    assert list(info.iterdir()) == []


def test_folders_of_nothing_but_tables_go_with_them(source: Path, tmp_path: Path) -> None:
    move_dumps(source, tmp_path / "info")
    assert not (source / "sub-P2").exists()
    assert {path.name for path in (source / "sub-P1").iterdir()} == {"ses-20240101", "table.csv"}


def test_another_table_of_that_name_stops_it_before_anything_is_moved(
    source: Path, tmp_path: Path
) -> None:
    (name, *_) = TABLES
    info = filled(tmp_path / "info", {name: b"precious"})
    before = contents(source)
    with pytest.raises(OccupiedError, match="1 of the files") as refusal:
        move_dumps(source, info)
    assert refusal.value.paths == [Path(name)]
    assert (contents(source), contents(info)) == (before, {name: b"precious"})


def test_an_interrupted_run_is_gone_on_with(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between a table's new name and its old one's end, and once before."""
    info, unlink, calls = tmp_path / "info", Path.unlink, iter(range(1000))

    def dying(path: Path, missing_ok: bool = False) -> None:
        if next(calls) == 3:
            raise OSError(errno.EIO, "gone")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", dying)
    with pytest.raises(RetryLaterError, match="EIO"):
        move_dumps(source, info)
    monkeypatch.undo()
    assert {**contents(info), **contents(source)} == TABLES | OTHERS | {"mapper.json": b"{}"}
    assert move_dumps(source, info) == Summary(moved=5, there=1)
    assert contents(info) == TABLES | {"mapper.json": b"{}"}


def test_between_two_file_systems_tables_are_copied(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(path: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "two file systems")

    monkeypatch.setattr(Path, "hardlink_to", refuses)
    filled(tmp_path / "info", {".mapper.json.part": b"of a process that was killed"})
    (source / "mapper.json").chmod(0o600)
    assert move_dumps(source, tmp_path / "info").moved == 9
    assert contents(tmp_path / "info") == TABLES | {"mapper.json": b"{}"}
    assert (tmp_path / "info" / "mapper.json").stat().st_mode & 0o777 == 0o600
    assert contents(source) == OTHERS


def test_links_and_folders_called_csv_stay(source: Path, tmp_path: Path) -> None:
    session = source / "sub-P1" / "ses-20240101"
    (session / "folder.csv").mkdir()
    (session / "link.csv").symlink_to(source / "mapper.json")
    assert move_dumps(source, tmp_path / "info").moved == 9
    assert {path.name for path in session.iterdir()} == {"folder.csv", "link.csv", "00001-T1"}


def test_a_link_to_the_table_is_in_the_way(source: Path, tmp_path: Path) -> None:
    (tmp_path / "info").mkdir()
    (tmp_path / "info" / "mapper.json").symlink_to(source / "mapper.json")
    with pytest.raises(OccupiedError):
        move_dumps(source, tmp_path / "info")
    assert (source / "mapper.json").read_bytes() == b"{}"


def test_a_folder_without_tables_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert move_dumps(tmp_path / "data", tmp_path / "info") == Summary(0, 0)
    assert not (tmp_path / "info").exists()


@pytest.mark.parametrize(
    ("source", "target"),
    [("data", "data"), ("none", "info"), ("data", "data/sub-P1/info"), ("data", "data/mapper.json"),
     ("data/sub-P1", "data")],
)  # fmt: skip
def test_folders_that_can_not_be_are_refused(source: str, target: str, tmp_path: Path) -> None:
    before = contents(filled(tmp_path / "data", TABLES | {"mapper.json": b"{}"}))
    with pytest.raises(InputError):
        move_dumps(tmp_path / source, tmp_path / target)
    assert contents(tmp_path / "data") == before
