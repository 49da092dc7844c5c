"""Programs from PyPI that only benches need, each in a virtual environment of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import venv
from pathlib import Path

PACSIFIER = "pacsifier==1.0.0"
DICOGNITO = "dicognito==0.19.0"
DICOM_ANONYMIZER = "dicom-anonymizer==2.1.0"
DCMANON = "dcmanon==0.3.1"
PY_SPY = "py-spy==0.4.3"


class BenchError(RuntimeError):
    """A contender did not do its work: its time would say nothing."""


def exit_on_sigterm() -> None:
    """So that what was started ends with the bench, when `timeout` ends it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def installed(requirement: str, program: str = "python") -> Path:
    """The path of `program`; its environment, below the cache folder, is made at the first call."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "pacstream-bench" / requirement.replace("==", "-")
    if not (folder / "finished").exists():
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True, symlinks=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", requirement]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            raise BenchError(f"{requirement} can't be installed by {sys.executable}: {done.stderr}")
        (folder / "finished").touch()
    return folder / "bin" / program
