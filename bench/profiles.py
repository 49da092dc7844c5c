"""py-spy on running Python processes: flame graphs, and where the time goes."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.tools import PY_SPY, BenchError, installed

RATE_HZ = 100
WRITE_S = 60.0

WAITING = re.compile(r"Hub\.do_poll|\w*Selector\.select|Condition\.wait|Event\.wait")
"""Where a thread has nothing to do; py-spy takes some of its samples for work."""


@contextlib.contextmanager
def recorded(
    path: Path, pid: int, form: str, *options: str, longest_s: float = 3600.0
) -> Iterator[Callable[[], bool]]:
    """Sample a process into `path` while the block runs, `longest_s` at most; the value tells
    whether it still does. Raises BenchError if there is no result."""
    program = str(installed(PY_SPY, "py-spy"))
    process = subprocess.Popen(
        [program, "record", "--pid", str(pid), "--output", str(path), "--format", form,
         "--rate", str(RATE_HZ), "--nonblocking", "--duration", str(round(longest_s)), *options],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield lambda: process.poll() is None
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=WRITE_S)
    if not path.exists():
        raise BenchError(f"py-spy: {error[-500:]}")


def make_picture(path: Path, title: str) -> None:
    """Of py-spy's flame graph only the picture: without its script, its command line and its
    paths, so that it can lie in the docs."""
    drawn = path.read_text("utf-8")
    drawn = re.sub(r"<script.*?</script>", "", drawn, flags=re.DOTALL)
    drawn = drawn.replace(' onload="init(evt)"', "")
    drawn = re.sub(r'(<text id="title"[^>]*>)[^<]*', lambda match: match[1] + title, drawn)
    path.write_text(drawn, "utf-8")


@dataclass(frozen=True)
class Share:
    """A function's share of the samples, alone and with what it calls."""

    function: str
    itself: float
    whole: float


def shares(path: Path) -> list[Share]:
    """From py-spy's `raw` format: all functions, those that cost most themselves first."""
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for line in path.read_text("utf-8").splitlines():
        stack, _, samples = line.rpartition(" ")
        frames = [_without_line(frame) for frame in stack.split(";")]
        if WAITING.match(frames[-1]):
            continue
        own[frames[-1]] += int(samples)
        for frame in set(frames):
            whole[frame] += int(samples)
    total = own.total() or 1
    found = [Share(name, own[name] / total, count / total) for name, count in whole.items()]
    return sorted(found, key=lambda share: (share.itself, share.whole), reverse=True)


def _without_line(frame: str) -> str:
    """`function (file.py:12)` without the number: a function is one, wherever it stands."""
    return re.sub(r":\d+\)$", ")", frame)
