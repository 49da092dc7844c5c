"""The same folder in and out: a source goes only when its replacement is safe."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from pacstream import archive, durable
from pacstream.errors import RetryLaterError
from pacstream_anonymizer import deidentifier
from pacstream_anonymizer.offline import book, job, work
from pacstream_anonymizer.offline.layout import Layout
from tests.unit.anonymizer.instances import saved
from tests.unit.anonymizer.offline.folders import (
    contents,
    done,
    fill,
    instance_of,
    mentions,
)

TRACED = {one.__file__ for one in (archive, durable, deidentifier, book, job, work)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight good instances, one to withhold, a copy, another content of a UID, and a text."""
    root = fill(tmp_path / "folder")
    place = root / "sub-MRN_88213" / "ses-20240229101530"
    saved(instance_of("MRN-88213", 5, 1, BurnedInAnnotation="YES"), place / "5" / "screen")
    shutil.copyfile(place / "00000-for_Quixotesson" / "CT.1", place / "5" / "copy")
    saved(instance_of("MRN-88213", 0, 0, Rows=2, Columns=8), place / "6" / "other")
    (place / "notes.txt").write_text("seen by Quixotesson")
    return root


def test_only_the_release_is_left(folder: Path, tmp_path: Path) -> None:
    before = contents(folder)
    shutil.copytree(folder, tmp_path / "in")
    apart = done(tmp_path / "in", tmp_path / "out", data=tmp_path / "data1")
    summary = done(folder, folder)
    assert contents(folder) == contents(tmp_path / "out")
    assert summary.withheld == apart.withheld == {"burned_in_annotation": 1, "duplicate_uid": 1}
    names = [str(path.relative_to(folder)) for path in folder.rglob("*")]
    assert not mentions(names, "Quixotesson", "88213", "20240229")
    kept = contents(tmp_path / "data" / "quarantine").values()
    assert set(kept) == {
        content
        for path, content in before.items()
        if path.endswith(("screen", "other", "notes.txt"))
    }


def test_a_second_run_takes_results_for_results(folder: Path) -> None:
    first = done(folder, folder)
    whole = contents(folder)
    second = done(folder, folder)
    assert contents(folder) == whole
    assert (second.released, second.before, second.withheld) == (8, 8, first.withheld)


def test_what_is_added_later_is_de_identified_too(folder: Path) -> None:
    done(folder, folder)
    whole = contents(folder)
    saved(instance_of("MRN-88213", 1, 9), folder / "new" / "one")
    saved(instance_of("MRN-88213", 0, 0), folder / "new" / "again")
    saved(instance_of("MRN-88213", 0, 1, Rows=2, Columns=8), folder / "new" / "differs")
    summary = done(folder, folder)
    assert summary.withheld == {"burned_in_annotation": 1, "duplicate_uid": 2}
    after = contents(folder)
    assert whole.items() < after.items()
    assert len(after) == 9


def test_what_is_put_back_from_quarantine_is_not_lost(folder: Path, tmp_path: Path) -> None:
    (screen,) = folder.rglob("screen")
    before = screen.read_bytes()
    first = done(folder, folder)
    (kept,) = (tmp_path / "data" / "quarantine" / "burned_in_annotation").iterdir()
    screen.parent.mkdir(parents=True)
    kept.rename(screen)
    assert done(folder, folder) == replace(first, before=8)
    assert not screen.exists()
    assert kept.read_bytes() == before


def test_nothing_is_removed_if_the_disk_refuses(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(folder)

    def refuse(_: int) -> None:
        raise OSError(28, "full")

    monkeypatch.setattr(os, "fdatasync", refuse)
    with pytest.raises(RetryLaterError):
        done(folder, folder)
    assert contents(folder) == before


def kill_at(line: int) -> None:
    """From now on: die without a farewell before the so many-th line of the code that counts."""
    left = [line]

    def trace(frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        if frame.f_code.co_filename not in TRACED:
            return None
        if event == "line":
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


def run_and_die(folder: Path, line: int) -> bool:
    """Work in a child that is killed; False if it came to its end before."""
    child = os.fork()
    if child == 0:
        kill_at(line)
        done(folder, folder, layout=Layout.UIDS)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def originals(folder: Path) -> set[bytes]:
    return set(contents(folder).values())


def test_a_run_killed_at_any_line_loses_nothing_and_is_gone_on_with(
    folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "untouched")
    data = tmp_path / "data"
    done(folder, folder, layout=Layout.UIDS)
    whole, kept = contents(folder), originals(data / "quarantine")
    line, killed = 0, 0
    dice = random.Random(5)
    while True:
        line += dice.randrange(1, 160)
        shutil.rmtree(data)
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / "untouched", folder)
        if not run_and_die(folder, line):
            break
        killed += 1
        left = {p: c for p, c in contents(folder).items() if not Path(p).name.startswith(".")}
        results = {path: content for path, content in left.items() if path.endswith(".dcm")}
        assert results.items() <= whole.items(), line
        summary = done(folder, folder, layout=Layout.UIDS)
        assert contents(folder) == whole, line
        assert originals(data / "quarantine") == kept, line
        assert (summary.released, summary.duplicates) == (8, 1), line
        assert not (data / "run" / "offline").exists() or not contents(data / "run"), line
    assert killed > 20
