"""All series of a folder, several at a time. What an earlier run has finished is not done again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from pacstream import logs
from pacstream.archive import PART_SUFFIX
from pacstream.errors import PacstreamError, RejectedError
from pacstream.messages import Series
from pacstream.pseudonyms import ProjectKey
from pacstream_converter.dcm2niix import ARGUMENTS, Dcm2niix, version
from pacstream_converter.limits import NO_LIMITS, Limits
from pacstream_converter.originals import read_originals
from pacstream_converter.record import Conversion, finished
from pacstream_converter.series import SeriesFiles, convert, left_out

OF_THE_SERIES = frozenset(
    {"nifti_echo", "bad_nifti", "bad_sidecar", "original_missing", "interrupted"}
)
"""Codes of errors that end one series; all others would end the next one, too."""

Progress = Callable[["Outcome"], None]
"""Told what became of a series, in the thread that asked for them all."""


@dataclass(frozen=True)
class FolderSeries:
    """A series of a folder: its instances by SOP Instance UID, and what its products are called."""

    series: Series = field(repr=False)
    instances: dict[str, Path] = field(repr=False)
    stem: Path
    key: ProjectKey
    limits: Limits = NO_LIMITS
    deface: bool = False


@dataclass(frozen=True)
class Outcome:
    """`is_old`: an earlier run has done it. `left_out` are files without a part in the products, or
    what they are instead of an image."""

    files: FolderSeries
    conversion: Conversion
    is_old: bool = False
    left_out: dict[Path, str] = field(default_factory=dict, repr=False)


def convert_folder(
    all_series: Sequence[FolderSeries],
    run: Path,
    converter: Dcm2niix,
    jobs: int = 1,
    progress: Progress = lambda outcome: None,
) -> list[Outcome]:
    """Convert all series for a release; the outcomes are in the order of `all_series`.

    `run` is a folder in the trusted zone; nobody else writes where the products go. A series that
    can't be cleaned or read fails alone.
    Raises what ends all: RetryLaterError `disk`; RejectedError `output_not_writable`,
    `dcm2niix_missing`, and `error` for a defect. What is done by then stays done.
    """
    for folder in {one.stem.parent for one in all_series}:
        _remove_parts(folder)
    done: dict[int, Outcome] = {}
    with ThreadPoolExecutor(jobs) as pool:
        numbers = {
            pool.submit(convert_one, one, run, converter): number
            for number, one in _largest_first(all_series)
        }
        try:
            for future in as_completed(numbers):
                done[numbers[future]] = future.result()
                progress(done[numbers[future]])
        except BaseException:
            _cancel(numbers)
            raise
    return [done[number] for number in range(len(all_series))]


def _remove_parts(folder: Path) -> None:
    """What a killed run has left of files that it was writing."""
    for path in folder.glob(f".*{PART_SUFFIX}"):
        path.unlink(missing_ok=True)


def _largest_first(
    all_series: Sequence[FolderSeries],
) -> Iterator[tuple[int, FolderSeries]]:
    """None of the largest is what all others wait for in the end."""
    yield from sorted(enumerate(all_series), key=lambda one: -len(one[1].instances))


def _cancel(futures: dict[Future[Outcome], int]) -> None:
    for future in futures:
        future.cancel()


def convert_one(files: FolderSeries, run: Path, converter: Dcm2niix) -> Outcome:
    """Convert a series, unless that is done. Raises as `convert_folder` does."""
    try:
        return _converted(files, run, converter)
    except PacstreamError as error:
        if error.code not in OF_THE_SERIES:
            raise
        return Outcome(files, Conversion("failed", error.code))
    except Exception as error:  # noqa: BLE001 - its text may quote a value, or a path
        what = f"{type(error).__name__} at {logs.place_of(error.__traceback__)}"
        raise RejectedError(f"a defect: {what}", code="error") from None


def _converted(files: FolderSeries, run: Path, converter: Dcm2niix) -> Outcome:
    originals = read_originals(files.instances.values())
    inputs = _fingerprint(files)
    wanted = SeriesFiles(
        originals,
        files.series,
        files.stem,
        limits=files.limits,
        inputs=inputs,
        deface=files.deface,
    )
    known = finished(files.stem, inputs)
    conversion = known or convert(wanted, run, converter)
    return Outcome(files, conversion, known is not None, left_out(wanted))


def _fingerprint(files: FolderSeries) -> str:
    """Changes with the originals and with how they are converted; keyed, for a release has it."""
    told = [f"{ARGUMENTS} {version()} {files.limits}"]
    if files.deface:
        told.append("deface")
    for uid, path in sorted(files.instances.items()):
        status = path.stat()
        told.append(f"{uid} {status.st_size} {status.st_mtime_ns}")
    return files.key.value_hash("\n".join(told).encode())
