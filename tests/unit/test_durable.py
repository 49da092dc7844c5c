"""A file of a group has its name when it is whole and durable, and not before."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from pathlib import Path
from typing import BinaryIO

import pytest

from pacstream import durable
from pacstream.archive import flush_folder
from pacstream.durable import FileGroup


def write(group: FileGroup, *targets: Path) -> None:
    for target in targets:
        with group.writing(target) as file:
            file.write(target.name.encode() * 1000)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_all_are_written_before_the_first_is_flushed_and_flushed_before_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    steps: list[str] = []
    fdatasync = os.fdatasync

    def flushed(handle: int) -> None:
        steps.append(f"file {len([name for name in names(folder) if not name.startswith('.')])}")
        fdatasync(handle)

    def folder_flushed(path: Path) -> None:
        steps.append(path.name)
        flush_folder(path)

    with FileGroup() as group:
        write(group, folder / "a", folder / "b")
        monkeypatch.setattr(os, "fdatasync", flushed)
        monkeypatch.setattr(durable, "flush_folder", folder_flushed)
        assert names(folder) != ["a", "b"]
        assert group.commit() == {}
    assert steps == ["file 0", "file 1", "folder"]
    assert names(folder) == ["a", "b"]
    assert (folder / "b").read_bytes() == b"b" * 1000


def test_new_folders_are_made_durable_in_the_folders_that_hold_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    monkeypatch.setattr(durable, "flush_folder", lambda path: flushed.append(path.name))
    durable.create_folder(tmp_path / "sub" / "ses" / "series")
    assert sorted(flushed) == sorted([tmp_path.name, "sub", "ses"])
    durable.create_folder(tmp_path / "sub" / "ses" / "series")
    assert len(flushed) == 3


@pytest.mark.parametrize("failing", ["fdatasync", "rename"])
def test_the_failure_of_one_file_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    (tmp_path / "b").write_bytes(b"before")
    calls: list[int] = []
    fdatasync = os.fdatasync

    def second_fails(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 2:
            raise OSError(errno.EIO, "no")
        fdatasync(handle)

    if failing == "fdatasync":
        monkeypatch.setattr(os, "fdatasync", second_fails)
    else:
        (tmp_path / "b").unlink()
        (tmp_path / "b" / "in the way").mkdir(parents=True)
    with FileGroup() as group:
        write(group, *(tmp_path / name for name in "abc"))
        assert list(group.commit()) == [tmp_path / "b"]
    assert names(tmp_path) == ["a", "b", "c"]
    assert (tmp_path / "b").is_dir() or (tmp_path / "b").read_bytes() == b"before"


def test_no_file_of_a_folder_that_can_not_be_flushed_is_reported_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = tmp_path / "bad", tmp_path / "good"

    def flushed(folder: Path) -> None:
        if folder == bad:
            raise OSError(errno.EIO, "no")
        flush_folder(folder)

    with FileGroup() as group:
        write(group, bad / "a", good / "b", bad / "c")
        monkeypatch.setattr(durable, "flush_folder", flushed)
        assert set(group.commit()) == {bad / "a", bad / "c"}


def test_a_file_that_is_not_written_to_its_end_is_no_part_of_the_group(tmp_path: Path) -> None:
    with FileGroup() as group:
        write(group, tmp_path / "a")
        with pytest.raises(ValueError), group.writing(tmp_path / "b") as file:
            file.write(b"half")
            raise ValueError
        assert group.commit() == {}
    assert names(tmp_path) == ["a"]


def test_what_is_not_committed_is_removed(tmp_path: Path) -> None:
    with FileGroup() as group:
        write(group, tmp_path / "a")
    assert names(tmp_path) == []


def test_files_of_a_killed_process_are_removed_and_those_of_a_living_one_are_not(
    tmp_path: Path,
) -> None:
    child = os.fork()
    if child == 0:
        write(FileGroup(), tmp_path / "a", tmp_path / "b")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert len(names(tmp_path)) == 2
    with FileGroup() as living, FileGroup() as later:
        write(living, tmp_path / "c")
        write(later, tmp_path / "d")
        assert len(names(tmp_path)) == 2
        assert living.commit() == later.commit() == {}
    assert names(tmp_path) == ["c", "d"]


def test_a_file_that_is_taken_for_abandoned_before_it_is_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock
    stolen: list[int] = []

    def late(file: BinaryIO, operation: int) -> None:
        if operation == fcntl.LOCK_EX and not stolen:
            stolen.append(1)
            durable.remove_abandoned(tmp_path)
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with FileGroup() as group:
        write(group, tmp_path / "a")
        assert group.commit() == {}
    assert stolen and names(tmp_path) == ["a"]
