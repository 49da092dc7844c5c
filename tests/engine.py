"""The docker engine of this machine, if it has one: used through its own command line."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
SERVICES = ("query", "retrieve", "store_scp", "anonymizer", "converter", "exporter", "ledger")


def image(service: str) -> str:
    return f"pacstream/{service.replace('_', '-')}:dev"


def docker(*arguments: str, timeout_s: float = 120.0, check: bool = True) -> str:
    """Standard output of `docker ARGUMENTS`; an AssertionError quotes what went wrong."""
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=timeout_s, cwd=CHECKOUT
    )
    assert not check or done.returncode == 0, f"docker {arguments[0]}: {done.stderr[-2000:]}"
    return done.stdout.strip()


@functools.cache
def missing(*upstream: str) -> str:
    """What keeps containers from being run here, or empty: no engine, or no image to start from."""
    if shutil.which("docker") is None:
        return "there is no docker command on this machine's PATH"
    if not _works("version"):
        return "no docker engine answers (docker version fails)"
    for name in upstream:
        here = subprocess.run(["docker", "image", "inspect", name], capture_output=True)
        if (
            here.returncode
            and subprocess.run(["docker", "pull", name], capture_output=True).returncode
        ):
            return f"the docker engine has no image {name} and can't pull it"
    return ""


def _works(*arguments: str) -> bool:
    return subprocess.run(["docker", *arguments], capture_output=True).returncode == 0


def inspect(name: str) -> dict[str, Any]:
    """What the engine tells of an image or a container."""
    answer: list[dict[str, Any]] = json.loads(docker("inspect", name))
    return answer[0]


def until(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(0.25)
