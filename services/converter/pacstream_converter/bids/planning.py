"""From products and rules to names in the data set. Names that were given once stay."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pacstream_converter.bids import schema
from pacstream_converter.bids.book import UNMATCHED, Entry, State
from pacstream_converter.bids.consistency import has_wrong_dimensions
from pacstream_converter.bids.facts import Header, Product
from pacstream_converter.bids.labels import Labels
from pacstream_converter.bids.rules import Kind, Rule, kind_of

WRONG_DIMENSIONS = "dimensions"
"""What a product lacks for its rule if BIDS wants another number of them."""

RUN = re.compile(r"_run-(\d+)(?=_)")


@dataclass(frozen=True)
class ConvertedSeries:
    """A series with its products, as a conversion left them.

    `name` is `<patient>/<session>/<series>`, unique and the same in each run: folders of the
    release, or of PACSMAN's layout. An image is called like `name`'s last part, plus a suffix.
    `originals` are its instances in the trusted zone. `shift_days` is what is added to dates;
    None: a release without dates. `characteristics`: age and sex may be told. `session`: what the
    session's label is made of, if not of its folder's name. `is_complete`: no slice is missing.
    """

    name: str
    images: tuple[Path, ...] = field(repr=False)
    originals: tuple[Path, ...] = field(repr=False)
    shift_days: int | None = 0
    characteristics: bool = True
    session: str = ""
    is_complete: bool = True
    release: bool = True

    def named_images(self) -> list[tuple[Path, str]]:
        """Each image with dcm2niix's suffix."""
        stem = self.name.rpartition("/")[2]
        return [
            (image, image.name.removesuffix(".nii.gz").removeprefix(stem).lstrip("-"))
            for image in self.images
        ]


@dataclass(frozen=True)
class Item:
    """A product on its way into the data set; `kind` is None if no rule knows it, or if it can't be
    what the rule `misfit` says."""

    series: ConvertedSeries
    header: Header = field(repr=False)
    product: Product
    kind: Kind | None
    subject: str
    session: str
    misfit: str = ""

    @property
    def source(self) -> str:
        suffix = f"-{self.product.suffix}" if self.product.suffix else ""
        return f"{self.series.name}{suffix}"

    @property
    def folder(self) -> str:
        return f"sub-{self.subject}/ses-{self.session}"

    @property
    def order(self) -> tuple[str, str, tuple[str, float, str, str], str]:
        return self.subject, self.session, self.header.order, self.source


def make_items(
    found: Iterable[tuple[ConvertedSeries, Header, Sequence[Product]]],
    rules: Sequence[Rule],
    labels: Labels,
) -> list[Item]:
    """In the order in which labels and runs are given."""
    order = schema.entity_order()
    items = []
    for series, header, products in sorted(found, key=lambda one: (one[1].order, one[0].name)):
        subject_folder, session_folder, _ = series.name.split("/")
        subject = labels.subject(subject_folder)
        session = labels.session(subject_folder, session_folder, series.session)
        for product in products:
            kind = kind_of(product.values, rules, order)
            misfit = kind.rule.name if kind and _is_misfit(kind, product) else ""
            kind = None if misfit else kind
            items.append(Item(series, header, product, kind, subject, session, misfit))
    return sorted(items, key=lambda item: item.order)


def _is_misfit(kind: Kind, product: Product) -> bool:
    rule = kind.rule
    return rule.is_bids and has_wrong_dimensions(rule.folder, rule.suffix, product.grid)


def assign(items: Sequence[Item], book: Mapping[str, Entry]) -> dict[str, Entry]:
    """An entry for each item, by source: that of the book if the item is still of its kind."""
    groups: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        groups[_stem(item)].append(item)
    taken: dict[str, list[int]] = defaultdict(list)
    for entry in book.values():
        taken[without_run(entry.target)].append(run_of(entry.target))
    entries = {}
    for stem, group in groups.items():
        entries.update(_entries(stem, group, book, taken.get(stem, [])))
    return entries


def _entries(
    stem: str, group: Sequence[Item], book: Mapping[str, Entry], runs: list[int]
) -> dict[str, Entry]:
    """The entries of those that differ in nothing but their run."""
    old = [item for item in group if _is_known(item, stem, book)]
    new = [item for item in group if not _is_known(item, stem, book)]
    entries = {item.source: _entry(item, book[item.source].target) for item in old}
    last = max(runs, default=0)
    for number, item in enumerate(new, start=last + 1):
        is_alone = last == 0 and len(new) == 1
        entries[item.source] = _entry(item, stem if is_alone else _with_run(stem, number))
    return entries


def _is_known(item: Item, stem: str, book: Mapping[str, Entry]) -> bool:
    entry = book.get(item.source)
    return entry is not None and without_run(entry.target) == stem


def _entry(item: Item, target: str) -> Entry:
    if item.kind is None:
        missing = WRONG_DIMENSIONS if item.misfit else ""
        return Entry(item.source, target, State.UNMATCHED, item.misfit, missing)
    state = State.BIDS if item.kind.rule.is_bids else State.BESIDE
    return Entry(item.source, target, state, item.kind.rule.name)


def _stem(item: Item) -> str:
    if item.kind is None:
        return f"{UNMATCHED}/{item.folder}/{item.source.rpartition('/')[2]}"
    entities = [("sub", item.subject), ("ses", item.session), *item.kind.entities]
    name = "_".join(f"{key}-{value}" for key, value in entities)
    return f"{item.folder}/{item.kind.rule.folder}/{name}_{item.kind.rule.suffix}"


def _with_run(stem: str, number: int) -> str:
    """With `run` at its place among the entities."""
    folder, _, name = stem.rpartition("/")
    *entities, suffix = name.split("_")
    order = schema.entity_order()
    entities.append(f"run-{number}")
    entities.sort(key=lambda one: order.index(one.partition("-")[0]))
    return f"{folder}/{'_'.join([*entities, suffix])}"


def without_run(target: str) -> str:
    return RUN.sub("", target)


def run_of(target: str) -> int:
    """A name without a run is that of the first."""
    match = RUN.search(target)
    return int(match[1]) if match else 1
