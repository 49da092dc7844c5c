"""Run dcm2niix, and read from its exit code and its log what became of a series.

Its exit codes (v1.0.20260724): 0 done; 1 failure; 2 no image found that it can read; 4 a file is
corrupt; 5 to 7 a folder is missing or read-only; 8 some series converted, some not; 10 volumes
incomplete; 12 wrong option.
"""

from __future__ import annotations

import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import dcm2niix

from pacstream.errors import RejectedError, RetryLaterError
from pacstream.messages import ConversionState

STEM = "series"
"""Start of all output names. dcm2niix's own default writes protocol and study date there."""

ARGUMENTS = ("-g", "i", "-d", "0", "-f", STEM, "-b", "y", "-ba", "y", "-z", "n", "-w", "2")
"""No defaults file, this folder only, a sidecar without dates and patient, no compression."""

LOG_REASONS = (
    ("unsupported transfer syntax", "transfer_syntax"),
    ("unable to decode", "transfer_syntax"),
    ("not large enough to store image data", "truncated_instance"),
    ("slice positions repeated", "volumes_incomplete"),
    ("missing images. found", "slices_missing"),
    ("images may be missing", "slices_missing"),
    ("interslice distance varies", "slice_distance_varies"),
    ("missing images? expected", "instance_numbers_irregular"),
    ("unable to determine spatial orientation", "orientation_unknown"),
    ("bogus spatial matrix", "orientation_unknown"),
    ("duplicates removed", "duplicates_removed"),
)
"""What dcm2niix prints, in lower case, and our reason code; the first that is found counts."""

DONE = {0: "", 8: "partly_converted", 10: "volumes_incomplete"}
"""Exit codes after which the files that were written are whole, and what each means at least."""

LOSSES = frozenset({"volumes_incomplete", "slices_missing"})
"""Reasons that mean: not all slices are here."""

STOPPED = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL})
"""Signals that come with the end of the service or of the machine's memory, not with the series."""


def version() -> str:
    """The wheel's, which is the executable's."""
    return str(dcm2niix.__version__)


NUMBERS_LACK = re.compile(
    r"expected (\d+) images, but instance number \S+ ranges from (\d+) to (\d+)"
)
NOT_DIVISIBLE = re.compile(
    r"number of slices \((\d+)\) not divisible by number of repeats \((\d+)\)"
)
UNEVEN = "interslice distance varies"


@dataclass(frozen=True)
class Verdict:
    """A last state and its reason code, as in SeriesConverted. `missing`: so many slices at least
    have to be somewhere else."""

    state: ConversionState
    reason: str = ""
    missing: int = 0
    has_volumes: bool = False


def judge(exit_code: int, log_text: str, images: int) -> Verdict:
    """What became of the series, given how many NIfTI files dcm2niix wrote.

    Raises RetryLaterError `disk` if it could not use its folders or write, `interrupted` if it was
    stopped from outside.
    """
    text = log_text.lower()
    if -exit_code in STOPPED:
        raise RetryLaterError("dcm2niix was stopped from outside", code="interrupted")
    if exit_code in (5, 6, 7, -signal.SIGXFSZ) or "disk full" in text:
        raise RetryLaterError("dcm2niix can't use its working folder", code="disk")
    reason, missing = _told(text)
    if exit_code < 0:
        return Verdict("failed", "dcm2niix_crashed")
    if exit_code in DONE and images:
        reason = reason or DONE[exit_code]
        if exit_code or reason in LOSSES:
            return Verdict("incomplete", reason, missing, has_volumes=True)
        state: ConversionState = "converted_with_warnings" if reason else "converted"
        return Verdict(state, reason, has_volumes=True)
    if reason == "volumes_incomplete":
        return Verdict("incomplete", reason, missing)
    if exit_code in (0, 2):
        return Verdict("unsupported", reason or "no_output")
    return Verdict(
        "failed", reason or ("corrupt_instance" if exit_code == 4 else "dcm2niix_failed")
    )


def _told(text: str) -> tuple[str, int]:
    """The reason that a log in lower case gives, and how many slices are missing by it."""
    repeats = [(int(n), int(times)) for n, times in NOT_DIVISIBLE.findall(text)]
    if repeats:
        return "volumes_incomplete", sum(-number % times for number, times in repeats)
    ranges = [tuple(map(int, found)) for found in NUMBERS_LACK.findall(text)]
    holes = sum(max(last - first + 1 - there, 0) for there, first, last in ranges)
    if holes and UNEVEN in text:
        # Either alone is a habit of scanners; a hole in space and in the numbers is a loss.
        return "slices_missing", holes
    return next((code for phrase, code in LOG_REASONS if phrase in text), ""), 0


@dataclass(frozen=True)
class Dcm2niix:
    """The executable of the wheel. Its Python wrapper would cost another interpreter."""

    timeout_s: float
    executable: str = str(dcm2niix.bin)

    def convert(self, originals: Path, work: Path) -> tuple[Verdict, list[Path]]:
        """Convert all files in the folder `originals`; the NIfTI files lie in `work / "out"`.

        The log, which may hold identifiers, stays in `work`. Raises RetryLaterError `disk`, and
        RejectedError `dcm2niix_missing` if there is no executable.
        """
        out, log = work / "out", work / "log.txt"
        out.mkdir()
        try:
            exit_code = self._run(originals, out, log)
        except subprocess.TimeoutExpired:
            return Verdict("failed", "timeout"), []
        images = sorted(out.glob(f"{STEM}*.nii"))
        return judge(exit_code, log.read_text("utf-8", "replace"), len(images)), images

    def _run(self, originals: Path, out: Path, log: Path) -> int:
        command = [self.executable, *ARGUMENTS, "-o", str(out), str(originals)]
        environment = {"HOME": str(out.parent), "PATH": "/usr/bin:/bin", "LC_ALL": "C"}
        # Pipes would make TimeoutExpired uncatchable under eventlet; a file does not.
        with log.open("wb") as sink:
            try:
                return subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=subprocess.STDOUT,
                    timeout=self.timeout_s,
                    env=environment,
                    check=False,
                ).returncode
            except (FileNotFoundError, PermissionError):
                raise RejectedError("dcm2niix can't be started", code="dcm2niix_missing") from None
