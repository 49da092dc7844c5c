"""The benches' own arithmetic: a wrong ratio would look like any other figure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydicom import dcmread

from bench.images import WrittenSeries, write_series
from bench.processes import cpu_seconds
from bench.profiles import Share, shares
from bench.rounds import Contender, Goal, Taken, print_goals, run_interleaved


def contender(name: str, *runs: Taken) -> Contender:
    left = list(runs)
    return Contender(name, lambda: left.pop(0))


def test_a_goal_compares_medians_on_the_clock_or_of_cpu() -> None:
    ours = contender("ours", Taken(1.0, 4.0), Taken(9.0, 5.0), Taken(2.0, 6.0))
    theirs = contender("theirs", Taken(4.0, 5.0), Taken(4.0, 2.5), Taken(4.0, 1.0))
    run_interleaved([ours, theirs], 3)
    assert Goal("ours", "theirs", 1.0).ratio([ours, theirs]) == 2.0
    assert Goal("ours", "theirs", 1.0, "cpu").ratio([ours, theirs]) == 0.5


def test_goals_are_judged_on_the_geometric_mean_of_all_jobs() -> None:
    slow = [contender("ours", Taken(2, 1)), contender("theirs", Taken(1, 1))]
    fast = [contender("ours", Taken(1, 1)), contender("theirs", Taken(8, 1))]
    run_interleaved([*slow, *fast], 1)
    assert print_goals([slow, fast], [Goal("ours", "theirs", 1.99)])
    assert not print_goals([slow, fast], [Goal("ours", "theirs", 2.01)])
    assert not print_goals([slow], [Goal("ours", "theirs", 1.0)])


def test_a_goal_without_its_contender_is_not_judged(capsys: pytest.CaptureFixture[str]) -> None:
    ours = contender("ours", Taken(1, 1))
    run_interleaved([ours], 1)
    assert print_goals([[ours]], [Goal("ours", "theirs", 1.0)])
    assert "not judged" in capsys.readouterr().out


def test_what_runs_once_runs_in_the_first_round_only() -> None:
    once, always = Contender("once", lambda: 1.0, once=True), Contender("always", lambda: 1.0)
    run_interleaved([once, always], 3)
    assert (len(once.seconds), len(always.seconds)) == (1, 3)


def test_cpu_seconds_count_children_that_have_ended_and_that_run() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass\n"
    parent = (
        "import subprocess, sys\n"
        f"subprocess.run([sys.executable, '-c', {burn!r}])\n"
        f"child = subprocess.Popen([sys.executable, '-c', {burn + 'input()'!r}],"
        " stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "print('ready', flush=True)\ninput()\nchild.communicate(b'end')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        used = cpu_seconds([process.pid])
        while cpu_seconds([process.pid]) < 0.5:  # the clock ticks in 10 ms
            assert process.poll() is None
        assert used >= 0.25
        process.communicate(b"end\n")


def test_functions_are_counted_once_a_stack_and_waiting_ones_not_at_all(tmp_path: Path) -> None:
    stacks = tmp_path / "stacks.txt"
    stacks.write_text(
        "main (a.py:1);walk (a.py:5);walk (a.py:6) 3\n"
        "main (a.py:1);write (b.py:2) 1\n"
        "main (a.py:1);Hub.do_poll (eventlet/hubs/epolls.py:31) 90\n"
    )
    assert shares(stacks) == [
        Share("walk (a.py)", 0.75, 0.75),
        Share("write (b.py)", 0.25, 0.25),
        Share("main (a.py)", 0.0, 1.0),
    ]


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_images_are_of_the_size_that_the_readme_tells(tmp_path: Path, modality: str) -> None:
    series: WrittenSeries = write_series(tmp_path, "CT" if modality == "CT" else "MR", 2)
    paths = sorted(series.folder.iterdir())
    assert series.size == sum(path.stat().st_size for path in paths)
    first, second = (dcmread(path) for path in paths)
    assert len(first) == 184
    assert (first.SOPInstanceUID, second.SOPInstanceUID) == series.sop_instance_uids
    assert first.PixelData != second.PixelData
