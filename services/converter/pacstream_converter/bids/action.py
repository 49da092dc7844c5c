"""The BIDS data set of a batch: a batch action over what the batch has converted."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pacstream.archive import Archive, inside
from pacstream.batch_action import Outcome, Task
from pacstream.errors import InputError, RejectedError
from pacstream.keys import load_key
from pacstream.manifest import SeriesResult
from pacstream.messages import Dates, Order
from pacstream.pseudonyms import ProjectKey, subject_of
from pacstream_converter.bids.planning import ConvertedSeries
from pacstream_converter.bids.rules_file import default_rules, parse_rules
from pacstream_converter.bids.tree import Result, build_tree
from pacstream_converter.originals import read_original
from pacstream_converter.products import products_folder
from pacstream_converter.record import record_of

FOLDER = "bids"
RULES, CHARACTERISTICS = "rules", "characteristics"
"""Options of the action: a file of rules as text, and `yes` if age and sex may be told."""

NIFTI = ".nii.gz"


class _PausedError(Exception):
    """The action's time is over. What is in the data set stays; the next part goes on."""


@dataclass(frozen=True)
class _Source:
    """What the series of a batch have in common. `keys` keeps what was read."""

    archive: Archive
    characteristics: bool
    keys: dict[tuple[str, str], ProjectKey] = field(default_factory=dict, repr=False)

    def key(self, order: Order) -> ProjectKey:
        name = (order.project, order.key_id)
        if name not in self.keys:
            self.keys[name] = load_key(self.archive.keys, *name)
        return self.keys[name]


def make_dataset(task: Task) -> Outcome:
    """Make, or complete, the data set of a batch's output folder: `OUT/release/bids` of what was
    de-identified, else `OUT/bids`.

    `counts` has what went in and where it is. Raises RejectedError `bids_refused` for rules or a
    folder that can't be used, `output_not_writable`, `project_key_missing` and others;
    RetryLaterError.
    """
    source = _Source(task.archive, task.options.get(CHARACTERISTICS) == "yes")
    series = [_series(one, source) for one in task.manifest.series if _images(one)]
    withheld = set(_taken_back(task.manifest.series, task.archive))
    parts = ("release", FOLDER) if task.manifest.batch.actions.anonymize else (FOLDER,)

    def progress(done: int, total: int) -> None:
        if done < total and not task.may_go_on():
            raise _PausedError

    try:
        rules = parse_rules(task.options[RULES]) if RULES in task.options else default_rules()
        today = datetime.date.today().isoformat()
        root = inside(task.out, Path(*parts))
        result = build_tree(series, root, rules, withheld=withheld, today=today, progress=progress)
        return _outcome(result)
    except _PausedError:
        return Outcome(going_on=True)
    except InputError:
        raise RejectedError("rules or folder can't be used", code="bids_refused") from None


def _taken_back(results: Iterable[SeriesResult], archive: Archive) -> Iterator[str]:
    """Names of series of which this batch has no NIfTI, and no other batch any more either."""
    for one in results:
        if _images(one) or not (one.order.actions.convert and one.order.actions.anonymize):
            continue
        stem = products_folder(one.order, archive, _issuer(one.order, archive))
        if not record_of(stem).exists():
            yield "/".join(stem.parts[-3:])


def _issuer(order: Order, archive: Archive) -> str:
    originals = _originals(order, archive)
    try:
        return read_original(originals[0]).issuer if originals else ""
    except RejectedError:
        return ""


def _images(series: SeriesResult) -> list[str]:
    return [product for product in series.products if product.endswith(NIFTI)]


def _series(result: SeriesResult, source: _Source) -> ConvertedSeries:
    order = result.order
    out = Path(order.out)
    images = tuple(inside(out, product) for product in _images(result))
    release = order.actions.anonymize
    name = order.release_folder if release else order.folder
    patient, session = images[0].relative_to(inside(out, "")).parts[-3:-1]
    return ConvertedSeries(
        name=f"{patient}/{session}/{name}",
        images=images,
        originals=_originals(order, source.archive),
        shift_days=_shift_days(order, source) if release else 0,
        characteristics=source.characteristics or not release,
        release=release,
        is_complete=not _lacks_slices(record_of(images[0].with_name(name))),
    )


def _lacks_slices(record: Path) -> bool:
    """Raises RejectedError `bad_record`."""
    try:
        return bool(json.loads(record.read_text("utf-8"))["state"] == "incomplete")
    except FileNotFoundError:
        return False  # of a version that wrote none
    except (ValueError, KeyError, TypeError):
        raise RejectedError("the record of a conversion can't be read", code="bad_record") from None


def _originals(order: Order, archive: Archive) -> tuple[Path, ...]:
    uid = order.series.series_uid
    return tuple(archive.instance_path(uid, one) for one in sorted(archive.instances(uid)))


def _shift_days(order: Order, source: _Source) -> int | None:
    """None for a release without dates, and for a patient of whom nothing is left to ask."""
    if order.dates is Dates.KEPT:
        return 0
    originals = _originals(order, source.archive)
    if order.dates is Dates.REMOVED or not originals:
        return None
    try:
        issuer = read_original(originals[0]).issuer
    except RejectedError:
        return None
    return subject_of(order, issuer).shift_days(source.key(order))


def _outcome(result: Result) -> Outcome:
    left = sum(result.left_out.values())
    counts: Mapping[str, int] = {
        "images": result.products + left,
        **dict(sorted(result.states.items())),
        "left_out": left,
    }
    reason = "" if result.is_whole else "bids_left_out"
    return Outcome(counts, reason)
