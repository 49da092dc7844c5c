"""Answers wait in memory while they are few, and on disk without a name when they are many."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pacstream_query.spool import Spool


@pytest.mark.parametrize("few", [2, 100])
def test_each_key_is_kept_once_and_given_in_order(tmp_path: Path, few: int) -> None:
    with Spool(tmp_path, few=few) as spool:
        added = [spool.add(f"{n % 10}", f"text {n}") for n in range(15)]
        assert added == [True] * 10 + [False] * 5
        assert len(spool) == 10
        assert list(spool) == [(f"{n}", f"text {n}") for n in range(10)]


def test_the_file_has_no_name_while_it_is_used(tmp_path: Path) -> None:
    with Spool(tmp_path / "answers", few=1) as spool:
        for n in range(5000):
            spool.add(f"{n}", "x" * 1000)
        assert list((tmp_path / "answers").iterdir()) == []
        assert sum(1 for _ in spool) == 5000


def test_an_iteration_that_is_given_up_ends_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ignored: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    with Spool(tmp_path, few=1) as spool:
        for n in range(10):
            spool.add(f"{n}")
        iteration = iter(spool)
        next(iteration)
    del iteration
    assert ignored == []
