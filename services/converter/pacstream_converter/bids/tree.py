"""From converted series to a BIDS data set: the whole use case."""

from __future__ import annotations

import contextlib
import fcntl
import filecmp
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pacstream.archive import PART_SUFFIX, replacing
from pacstream.errors import InputError, RejectedError
from pacstream.messages import Series
from pacstream.results import output_errors
from pacstream_converter.bids import tables
from pacstream_converter.bids.book import (
    BOOK,
    Entry,
    State,
    read_book,
    write_book,
    write_if_changed,
    write_table,
)
from pacstream_converter.bids.consistency import wrong_tables
from pacstream_converter.bids.facts import read_header, read_products
from pacstream_converter.bids.fieldmaps import link_fieldmaps
from pacstream_converter.bids.labels import Labels
from pacstream_converter.bids.planning import ConvertedSeries, Item, assign, make_items
from pacstream_converter.bids.required import missing
from pacstream_converter.bids.rules import Json, Rule
from pacstream_converter.bids.sidecars import asl_context, sidecar_of
from pacstream_converter.cleaner import refuse_echoes
from pacstream_converter.identifiers import identifiers_of

Progress = Callable[[int, int], None]
"""Told how many products of how many are in the data set."""

SLICES = "slices"
"""What an image lacks of which instances never came."""

EXTENSIONS = (".nii.gz", ".json", ".bval", ".bvec")


@dataclass(frozen=True)
class Result:
    """What became of the products of a run, by state; `incomplete` names what BIDS requires and the
    header does not tell, with the number of images, `left_out` images by reason. `misfits` of those
    that are unmatched have a rule, and too many or too few dimensions for it."""

    products: int
    states: Mapping[str, int]
    incomplete: Mapping[str, int]
    unmatched: tuple[str, ...]
    left_out: Mapping[str, int]
    book: Path = field(repr=False)
    misfits: int = 0

    @property
    def is_whole(self) -> bool:
        """Every product is in the data set, in one place or another."""
        return not self.left_out and sum(self.states.values()) == self.products


@dataclass(frozen=True)
class _Content:
    """What is written for one item."""

    item: Item
    entry: Entry
    sidecar: Mapping[str, Json]
    context: Sequence[str] = ()


def build_tree(
    series: Sequence[ConvertedSeries],
    root: Path,
    rules: Sequence[Rule],
    *,
    withheld: Collection[str] = (),
    title: str = "Images",
    today: str = "",
    progress: Progress = lambda done, total: None,
) -> Result:
    """Put the products of all series into the data set at `root`, and complete what is there.

    May run again at any time, also with more or fewer series, and after a kill. Raises InputError
    if `root` can't be a data set or another run is at work; RejectedError `output_not_writable`,
    RetryLaterError `disk`. `today` dates the first entry of CHANGES. `withheld` are names of series
    whose products are taken out, if an earlier run has put them there.
    """
    with output_errors(), alone(root):
        return _Run(root, rules, withheld).run(series, title, today, progress)


@contextlib.contextmanager
def alone(root: Path) -> Iterator[None]:
    """Hold the data set, without what a killed run has left of files. Raises InputError."""
    check_root(root)
    lock = root / BOOK.parent / ".lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{root}: another run is writing this data set") from None
        for part in root.rglob(f".*{PART_SUFFIX}"):
            part.unlink(missing_ok=True)
        yield


def check_root(root: Path) -> None:
    """Raises InputError for a folder with other things than a data set in it."""
    if root.exists() and not root.is_dir():
        raise InputError(f"{root}: is no folder")
    if not root.is_dir() or (root / BOOK.parent).is_dir():
        return
    if any(not one.name.startswith(".") for one in root.iterdir()):
        raise InputError(f"{root}: is neither empty nor a data set that pacstream has made")


class _Run:
    def __init__(self, root: Path, rules: Sequence[Rule], withheld: Collection[str]) -> None:
        self._root = root
        self._rules = rules
        self._withheld = withheld
        self._book = read_book(root)

    def run(
        self, series: Sequence[ConvertedSeries], title: str, today: str, progress: Progress
    ) -> Result:
        items, left_out = self._items(series)
        contents = self._clean_contents(items, left_out)
        before = dict(self._book)
        touched = self._take_out(self._withheld)
        self._book |= {one.item.source: one.entry for one in contents}
        write_book(self._root, self._book)
        progress(0, len(contents))
        for number, one in enumerate(contents, start=1):
            self._write(one)
            progress(number, len(contents))
        self._remove_moved(before)
        self._write_tables(contents, touched, title, today)
        return self._result(contents, left_out)

    def _take_out(self, names: Collection[str]) -> set[tuple[str, str]]:
        """The sessions, by subject, that images were taken out of."""
        gone = [entry for source, entry in self._book.items() if _series_of(source, names)]
        for entry in gone:
            target = self._root / entry.target
            for end in EXTENSIONS:
                target.with_name(f"{target.name}{end}").unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # others are in the folder, or it is gone
                target.parent.rmdir()
            del self._book[entry.source]
        return {(entry.subject, entry.session) for entry in gone}

    def _items(self, series: Sequence[ConvertedSeries]) -> tuple[list[Item], Counter[str]]:
        """Series whose originals or products can't be read are left out, with a reason."""
        found, left_out = [], Counter[str]()
        for one in series:
            try:
                header = read_header(one.originals)
                found.append((one, header, read_products(one.named_images(), header)))
            except RejectedError as error:
                left_out[error.code] += len(one.images)
        return make_items(found, self._rules, Labels(self._book.values())), left_out

    def _contents(self, items: Sequence[Item]) -> list[_Content]:
        entries = assign(items, self._book)
        additions = link_fieldmaps(items, entries)
        return [
            _content(item, entries[item.source], additions.get(item.source, {})) for item in items
        ]

    def _clean_contents(self, items: Sequence[Item], left_out: Counter[str]) -> list[_Content]:
        """Everything is known, and free of identifiers, before the first file is written. What is
        not is left out, and nothing else refers to it."""
        while True:
            contents = self._contents(items)
            clean = [one.item for one in contents if not _echoes(one)]
            if len(clean) == len(items):
                return contents
            left_out["nifti_echo"] += len(items) - len(clean)
            items = clean

    def _write(self, one: _Content) -> None:
        target = self._root / one.entry.target
        product = one.item.product
        for source in (*product.companions, product.image):
            end = ".nii.gz" if source == product.image else source.suffix
            _put(source, target.with_name(target.name + end))
        text = json.dumps(one.sidecar, indent=1, ensure_ascii=False)
        write_if_changed(target.with_name(f"{target.name}.json"), f"{text}\n".encode())
        if one.context:
            name = target.name.removesuffix("asl") + "aslcontext.tsv"
            write_table(target.with_name(name), ["volume_type"], ([kind] for kind in one.context))

    def _remove_moved(self, before: Mapping[str, Entry]) -> None:
        """What other rules have put elsewhere is taken away, when it lies in its new place."""
        targets = {entry.target for entry in self._book.values()}
        for entry in before.values():
            if entry.target not in targets:
                for end in EXTENSIONS:
                    (self._root / f"{entry.target}{end}").unlink(missing_ok=True)

    def _write_tables(
        self,
        contents: Sequence[_Content],
        touched: Collection[tuple[str, str]],
        title: str,
        today: str,
    ) -> None:
        items = [one.item for one in contents]
        tables.write_participants(self._root, items)
        tables.write_scans(self._root, items, self._book, touched)
        tables.write_ignored(self._root, self._book.values())
        tables.write_description(self._root, title, today)

    def _result(self, contents: Sequence[_Content], left_out: Counter[str]) -> Result:
        entries = [one.entry for one in contents]
        unmatched = [entry for entry in entries if entry.state == State.UNMATCHED]
        lacking = Counter(
            key
            for entry in entries
            if entry.state == State.INCOMPLETE
            for key in entry.missing.split()
        )
        return Result(
            products=len(entries),
            states=dict(Counter(str(entry.state) for entry in entries)),
            incomplete=dict(sorted(lacking.items())),
            unmatched=tuple(entry.source for entry in unmatched),
            left_out=dict(left_out),
            book=self._root / BOOK,
            misfits=sum(bool(entry.missing) for entry in unmatched),
        )


def _series_of(source: str, names: Collection[str]) -> bool:
    """Whether a product is of one of these series: its name, or that and a suffix behind a `-`."""
    return any(source == name or source.startswith(f"{name}-") for name in names)


def _content(item: Item, entry: Entry, additions: Mapping[str, Json]) -> _Content:
    sidecar = sidecar_of(item, additions)
    if item.kind is None or not item.kind.rule.is_bids:
        return _Content(item, entry, sidecar)
    rule = item.kind.rule
    context = asl_context(rule.volumes, item.product.values)
    files = {path.suffix for path in item.product.companions}
    if context:
        files.add("aslcontext.tsv")
    entities = dict(item.kind.entities)
    lacking = missing(rule.folder, rule.suffix, entities, sidecar, frozenset(files))
    lacking += wrong_tables(item.product.companions, item.product.grid)
    lacking += [key for key in rule.sidecar if key not in sidecar and key not in lacking]
    if not item.series.is_complete:
        lacking.append(SLICES)
    if lacking:
        entry = replace(entry, state=State.INCOMPLETE, missing=" ".join(lacking))
    return _Content(item, entry, sidecar, context)


def _echoes(one: _Content) -> bool:
    """Names, and what was added since the product was cleaned, are looked at as the product was."""
    if not one.item.series.release:
        return False
    first = one.item.header.first
    series = Series(
        study_uid=first("StudyInstanceUID"),
        series_uid=first("SeriesInstanceUID"),
        patient_id=first("PatientID"),
    )
    try:
        refuse_echoes(
            b"",
            {**one.sidecar, "": [one.entry.target, one.entry.source]},
            identifiers_of(series, ()),
        )
    except RejectedError:
        return True
    return False


def _put(source: Path, target: Path) -> None:
    """A second name for the same content, or a copy where the file system has no such thing."""
    if target.is_file() and (source.samefile(target) or filecmp.cmp(source, target, shallow=False)):
        return
    with replacing(target) as part:
        try:
            os.link(source, part)
        except OSError:
            shutil.copyfile(source, part)
