"""`pacstream move-dumps` as a user calls it."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.unit.exporter.folders import called, contents, fill, started


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The layout of a batch with --save --info: a table beside each series folder."""
    fill(tmp_path / "data", files=1)
    for series in (tmp_path / "data").glob("sub-*/ses-*/*"):
        series.with_name(f"{series.name}.csv").write_text(f"PatientID\n{series.parts[-3]}\n")
    (tmp_path / "data" / "mapper.json").write_text("{}")
    return tmp_path


def tables(folder: Path) -> set[str]:
    return {name for name in contents(folder) if not name.rpartition("/")[2].startswith("CT.")}


def test_pacsmans_command_line_moves_all_tables_there_and_back(home: Path) -> None:
    before = contents(home / "data")
    names = tables(home / "data")
    assert len(names) == 19
    code, out, err = called(home, "move-dumps", "--data_folder", "data", "--info_folder", "info")
    assert (code, out, err) == (0, "19 files moved\n", "")
    assert (tables(home / "data"), tables(home / "info")) == (set(), names)
    assert called(home, "move-dumps", "-d", "info", "-o", "data")[0] == 0
    assert contents(home / "data") == before
    assert contents(home / "info") == {}


def test_a_table_in_the_way_is_told_and_nothing_is_moved(home: Path) -> None:
    name = "sub-P1/ses-1/00001-T1.csv"
    (home / "info" / name).parent.mkdir(parents=True)
    (home / "info" / name).write_text("precious")
    before = contents(home / "data")
    code, out, err = called(home, "move-dumps", "-d", "data", "-o", "info")
    assert (code, out) == (2, "")
    assert "1 of the files" in err and "sub-P1" not in err
    (listed,) = (home / ".pacstream" / "offline").glob("move-dumps-*.csv")
    assert str(listed) in err and name in listed.read_text()
    assert contents(home / "data") == before
    assert contents(home / "info") == {name: b"precious"}


def test_a_killed_run_loses_nothing_and_is_gone_on_with(home: Path) -> None:
    for number in range(2000):
        (home / "data" / "sub-P1" / "ses-1" / f"{number}.csv").write_text(str(number))
    names = tables(home / "data")
    process = started(home, "move-dumps", "-d", "data", "-o", "info")
    while process.poll() is None and not (home / "info").exists():
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert tables(home / "data") | tables(home / "info") >= names
    assert called(home, "move-dumps", "-d", "data", "-o", "info")[0] == 0
    assert (tables(home / "data"), tables(home / "info")) == (set(), names)


def test_tables_do_not_go_into_a_release(home: Path) -> None:
    before = contents(home / "data")
    code, _, err = called(home, "move-dumps", "-d", "data", "-o", "results/release/info")
    assert code == 2 and "release folder" in err
    assert called(home, "anonymize", "-d", "data", "-o", "for all")[0] == 0
    code, _, err = called(home, "move-dumps", "-d", "data", "-o", "for all/info")
    assert code == 2 and "release folder" in err
    assert contents(home / "data") == before
    assert not (home / "for all" / "info").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-d", "nowhere", "-o", "info"], "--data_folder"),
        (["-d", "data"], "--info_folder"),
        (["-d", "data", "-o", "data"], "--info_folder"),
        (["-d", "data", "-o", "data/sub-P1"], "inside"),
        (["-d", "data", "-o", "data/mapper.json"], "--info_folder"),
    ],
)
def test_wrong_input_is_told_and_moves_nothing(home: Path, arguments: list[str], said: str) -> None:
    before = contents(home / "data")
    code, out, err = called(home, "move-dumps", *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert contents(home / "data") == before
