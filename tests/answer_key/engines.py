"""The engines that the scorer can judge: each a command of its own, with an environment of its own.

A function takes a folder of originals, an empty folder and the options of PS3.15 Annex E; it
raises EngineError only if the engine has written nothing: one that fails on a file still is scored.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
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
        "--options", ",".join(sorted(options)) or "none",
    )  # fmt: skip


def dicognito(in_folder: Path, out_folder: Path, options: frozenset[str]) -> None:
    """By `-m`: its console script starts with an error. It has no options of the standard."""
    del options
    _run(
        str(installed(DICOGNITO)), "-m", "dicognito", "--quiet", "--output-directory",
        str(out_folder), str(in_folder),
    )  # fmt: skip


def dicom_anonymizer(in_folder: Path, out_folder: Path, options: frozenset[str]) -> None:
    """One file after the other, as a folder ends at the first that it can't read."""
    del options
    script = Path(__file__).with_name("dicom_anonymizer_folder.py")
    _run(str(installed(DICOM_ANONYMIZER)), str(script), str(in_folder), str(out_folder))


def dcmanon(in_folder: Path, out_folder: Path, options: frozenset[str]) -> None:
    del options
    script = Path(__file__).with_name("dcmanon_folder.py")
    _run(str(installed(DCMANON)), str(script), str(in_folder), str(out_folder))


ENGINES: Mapping[str, Engine] = {
    "ours": ours,
    "dicognito": dicognito,
    "dicom-anonymizer": dicom_anonymizer,
    "dcmanon": dcmanon,
}


def _run(*command: str) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, timeout=LONGEST_S
    )
    if not any(path.is_file() for path in Path(_out_of(command)).rglob("*")):
        raise EngineError(f"{command[:3]} ends with {done.returncode}: {done.stderr[-1500:]}")


def _out_of(command: Sequence[str]) -> str:
    for name in ("-o", "--output-directory"):
        if name in command:
            return command[command.index(name) + 1]
    return command[-1]
