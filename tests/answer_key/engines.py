"""The engines that the scorer can judge: each a command of its own, with an environment of its own.

A function takes a folder of originals, an empty folder and the options of PS3.15 Annex E; it
raises EngineError only if the engine has written nothing: one that fails on a file still is scored.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.tools import DCMANON, DICOGNITO, DICOM_ANONYMIZER, installed

LONGEST_S = 600
Engine = Callable[[Path, Path, frozenset[str]], None]


class EngineError(RuntimeError):
    """The engine did not do its work."""


def ours(in_folder: Path, out_folder: Path, options: frozenset[str]) -> None:
    """`pacstream anonymize`, with a trusted zone beside the output."""
    trusted = out_folder.with_name(out_folder.name + "-trusted")
    _run(
        str(Path(sys.executable).with_name("pacstream")), "anonymize", "-d", str(in_folder),
        "-o", str(out_folder), "--any-layout", "--data", str(trusted),
        "--options", ",".join(sorted(options)) or "none", out_folder=out_folder,
    )  # fmt: skip


def _peer(requirement: str, script: str) -> Engine:
    """An engine without options of the standard, each file for itself with what it does by
    default."""

    def run(in_folder: Path, out_folder: Path, options: frozenset[str]) -> None:
        del options
        path = Path(__file__).with_name(script)
        _run(
            str(installed(requirement)),
            str(path),
            str(in_folder),
            str(out_folder),
            out_folder=out_folder,
        )

    return run


ENGINES: Mapping[str, Engine] = {
    "ours": ours,
    "dicognito": _peer(DICOGNITO, "dicognito_folder.py"),
    "dicom-anonymizer": _peer(DICOM_ANONYMIZER, "dicom_anonymizer_folder.py"),
    "dcmanon": _peer(DCMANON, "dcmanon_folder.py"),
}


def _run(*command: str, out_folder: Path) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, timeout=LONGEST_S
    )
    if not any(path.is_file() for path in out_folder.rglob("*")):
        raise EngineError(f"{command[:3]} ends with {done.returncode}: {done.stderr[-1500:]}")
