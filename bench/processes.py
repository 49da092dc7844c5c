"""Processes that a bench starts, and the CPU time of whole process trees (Linux)."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import psutil

from bench.tools import BenchError

START_S = 60.0
STOP_S = 30.0


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of these processes and all their children, dead or alive."""
    return sum(_times(process) for pid in pids for process in _tree(pid))


def ended_children_cpu() -> float:
    """User and system time of all processes that this one has started and waited for."""
    times = resource.getrusage(resource.RUSAGE_CHILDREN)
    return times.ru_utime + times.ru_stime


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        raise BenchError("a process that was to be measured has ended") from None


def _times(process: psutil.Process) -> float:
    """With what its children took that it has waited for; 0 if its parent has waited for it."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


class Spawned:
    """A process in a session of its own; all of it ends with `stop`."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, env=environ, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self._log = log

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Raises BenchError with the end of its log if it ends before, or takes too long."""
        deadline = time.monotonic() + START_S
        while not ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"not ready: {self._log.read_text('utf-8', 'replace')[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def run_together(commands: Sequence[Sequence[str]], environ: Mapping[str, str]) -> float:
    """Seconds from the first start to the last end. Raises BenchError if one fails."""
    started = time.perf_counter()
    running = [
        subprocess.Popen(
            command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, errors="replace",
        )
        for command in commands
    ]  # fmt: skip
    errors = [process.communicate()[1] for process in running]
    seconds = time.perf_counter() - started
    for process, error in zip(running, errors, strict=True):
        if process.returncode:
            raise BenchError(f"{process.args!r} ends with {process.returncode}: {error[-500:]}")
    return seconds
