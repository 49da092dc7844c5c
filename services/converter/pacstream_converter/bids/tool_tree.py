"""A BIDS data set by a user's own tool: the use case of `tool`."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pacstream.errors import RejectedError
from pacstream.messages import Series
from pacstream.results import output_errors
from pacstream_converter.bids import schema, tables
from pacstream_converter.bids.book import BOOK, Entry, State, read_book, write_book
from pacstream_converter.bids.consistency import has_wrong_dimensions, untrue_keys
from pacstream_converter.bids.facts import Header, Product, geometry, read_header
from pacstream_converter.bids.labels import Labels
from pacstream_converter.bids.planning import WRONG_DIMENSIONS, ConvertedSeries, Item
from pacstream_converter.bids.required import missing
from pacstream_converter.bids.tool import Made, Session, Tool, run_tool
from pacstream_converter.bids.tree import EXTENSIONS, Progress, Result, alone
from pacstream_converter.identifiers import Identifiers, identifiers_of
from pacstream_converter.products import write_products
from pacstream_converter.workspace import workspace

Member = tuple[ConvertedSeries, Header]


@dataclass
class _Books:
    """What has come of it so far."""

    entries: dict[str, Entry]
    items: list[Item] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def build_tree_by_tool(
    series: Sequence[ConvertedSeries],
    root: Path,
    tool: Tool,
    run: Path,
    *,
    today: str = "",
    progress: Progress = lambda done, total: None,
) -> Result:
    """Let the tool name the images of all sessions, which it converts anew, and clean them.

    `run` is a folder of the trusted zone for work in progress. A session on which the tool fails,
    or whose names or images would hold an identifier, is left out as a whole. May run again; raises
    as `build_tree` does.
    """
    with output_errors(), alone(root):
        books = _Books(read_book(root))
        labels = Labels(books.entries.values())
        sessions = _sessions(series, books.left_out)
        for number, ((patient, study), members) in enumerate(sessions, start=1):
            session = _session(patient, study, members, labels)
            try:
                with workspace(run) as work:
                    _put(
                        run_tool(tool, session, work / "tool"), session, members, root, tool, books
                    )
            except RejectedError as error:
                books.left_out[error.code] += sum(len(one.images) for one, _ in members)
            progress(number, len(sessions))
        write_book(root, books.entries)
        tables.write_participants(root, books.items)
        tables.write_scans(root, books.items, books.entries)
        tables.write_ignored(root, books.entries.values())
        tables.write_description(root, "Images", today)
        return _result(root, books)


def _sessions(
    series: Sequence[ConvertedSeries], left_out: Counter[str]
) -> list[tuple[tuple[str, str], list[Member]]]:
    """By patient and study, in the order of acquisition."""
    found: dict[tuple[str, str], list[Member]] = defaultdict(list)
    for one in series:
        try:
            patient, study, _ = one.name.split("/")
            found[patient, study].append((one, read_header(one.originals)))
        except RejectedError as error:
            left_out[error.code] += len(one.images)
    return sorted(found.items(), key=lambda one: min(header.order for _, header in one[1]))


def _session(patient: str, study: str, members: Sequence[Member], labels: Labels) -> Session:
    first = members[0][0]
    known = Identifiers()
    for one, header in members:
        series = Series(
            study_uid=header.first("StudyInstanceUID"),
            series_uid=header.first("SeriesInstanceUID"),
            patient_id=header.first("PatientID"),
        )
        known |= identifiers_of(series, one.originals)
    return Session(
        labels.subject(patient),
        labels.session(patient, study, first.session),
        [path for one, _ in members for path in one.originals],
        known,
    )


def _put(
    made: Sequence[Made],
    session: Session,
    members: Sequence[Member],
    root: Path,
    tool: Tool,
    books: _Books,
) -> None:
    """Write the images of a session; what an earlier run made of it and this one does not, goes."""
    series, header = members[0]
    place = series.name.rpartition("/")[0]
    entries = {}
    for one in made:
        item = _item(one, f"{place}/{one.target.rpartition('/')[2]}", session, series, header, root)
        write_products([one.image], {one.image.source: ""}, root / one.target)
        entries[item.source] = _entry(item, one, tool)
        books.items.append(item)
    targets = {entry.target for entry in entries.values()}
    for entry in [*_earlier(books.entries, place, tool)]:
        del books.entries[entry.source]
        for end in () if entry.target in targets else EXTENSIONS:
            (root / f"{entry.target}{end}").unlink(missing_ok=True)
    books.entries |= entries


def _earlier(entries: Mapping[str, Entry], place: str, tool: Tool) -> Iterator[Entry]:
    for source, entry in entries.items():
        if source.startswith(f"{place}/") and entry.rule == tool.name:
            yield entry


def _item(
    made: Made, name: str, session: Session, series: ConvertedSeries, header: Header, root: Path
) -> Item:
    """The tool does not tell of which series an image is: nothing is said of its time."""
    image = root / f"{made.target}.nii.gz"
    sidecar = json.loads(made.image.companions[".json"])
    return Item(
        ConvertedSeries(
            name=name,
            images=(image,),
            originals=series.originals,
            shift_days=series.shift_days,
            characteristics=series.characteristics,
            release=series.release,
        ),
        Header(header.values, "", ""),
        Product(image, "", sidecar, {}, geometry(made.image.source)[0]),
        None,
        session.subject,
        session.session,
    )


def _entities(words: Sequence[str]) -> dict[str, str]:
    """Without subject and session."""
    return {key: value for key, _, value in (one.partition("-") for one in words[2:])}


def _entry(item: Item, made: Made, tool: Tool) -> Entry:
    """A kind that BIDS does not know lies beside, and what lacks something is ignored."""
    *words, suffix = made.target.rpartition("/")[2].split("_")
    folder = made.target.split("/")[2]
    entities = _entities(words)
    if folder not in schema.DATATYPES:
        return Entry(item.source, made.target, State.BESIDE, tool.name)
    files = frozenset(made.image.companions)
    sidecar, grid = item.product.sidecar, item.product.grid
    lacking = missing(folder, suffix, entities, sidecar, files)
    lacking += sorted(untrue_keys(suffix, entities, sidecar, grid))
    if has_wrong_dimensions(folder, suffix, grid):
        lacking.append(WRONG_DIMENSIONS)
    is_known = {"sub", "ses", *entities} <= set(schema.entities_of(folder, suffix))
    if not is_known:
        lacking.append("a-name-that-BIDS-knows")
    state = State.INCOMPLETE if lacking else State.BIDS
    return Entry(item.source, made.target, state, tool.name, " ".join(lacking))


def _result(root: Path, books: _Books) -> Result:
    entries = [books.entries[item.source] for item in books.items]
    return Result(
        products=len(entries),
        states=dict(Counter(str(entry.state) for entry in entries)),
        incomplete=dict(Counter(key for entry in entries for key in entry.missing.split())),
        unmatched=(),
        left_out=dict(books.left_out),
        book=root / BOOK,
    )
