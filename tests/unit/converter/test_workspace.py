from __future__ import annotations

import time
from pathlib import Path

import pytest

from pacstream.errors import RetryLaterError
from pacstream_converter.workspace import ABANDONED_S, workspace


def test_a_working_folder_is_new_empty_and_gone_afterwards(tmp_path: Path) -> None:
    with workspace(tmp_path / "run") as first, workspace(tmp_path / "run") as second:
        assert first != second
        assert list(first.iterdir()) == []
        (first / "log.txt").write_text("identifiers")
    assert list((tmp_path / "run").iterdir()) == []


def test_what_a_killed_process_left_goes_when_it_is_old(tmp_path: Path) -> None:
    remains = tmp_path / "convert-dead"
    remains.mkdir()
    with workspace(tmp_path):
        pass
    assert remains.exists()
    with workspace(tmp_path, now=time.time() + ABANDONED_S + 60):
        pass
    assert not remains.exists()


def test_a_conversion_that_takes_long_keeps_its_folder(tmp_path: Path) -> None:
    with workspace(tmp_path) as work:
        with workspace(tmp_path, now=time.time() + ABANDONED_S + 60):
            pass
        assert work.exists()


def test_folders_of_others_stay(tmp_path: Path) -> None:
    (tmp_path / "supervisor").mkdir()
    with workspace(tmp_path, now=time.time() + ABANDONED_S + 60):
        pass
    assert (tmp_path / "supervisor").exists()


def test_a_disk_error_inside_is_tried_again(tmp_path: Path) -> None:
    with pytest.raises(RetryLaterError), workspace(tmp_path) as work:
        (work / "missing" / "file").write_text("")
    assert list(tmp_path.iterdir()) == []
