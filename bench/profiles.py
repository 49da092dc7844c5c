"""py-spy on running Python processes: flame graphs, and where the time goes."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.tools import PY_SPY, BenchError, installed

RATE_HZ = 100
WRITE_S = 60.0


@contextlib.contextmanager
def recorded(
    path: Path, pid: int, form: str, longest_s: float = 3600.0
) -> Iterator[Callable[[], bool]]:
    """Sample a process into `path` while the block runs, `longest_s` at most; the value tells
    whether it still does. Raises BenchError if there is no result."""
    program = str(installed(PY_SPY, "py-spy"))
    process = subprocess.Popen(
        [program, "record", "--pid", str(pid), "--output", str(path), "--format", form,
         "--rate", str(RATE_HZ), "--nonblocking", "--duration", str(round(longest_s))],
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
