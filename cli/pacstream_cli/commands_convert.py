"""`pacstream convert`: NIfTI of a folder, without a PACS and without services."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import importlib.util
import io
import json
import os
import sqlite3
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from pacstream.archive import write_atomically
from pacstream.errors import InputError, RetryLaterError
from pacstream.keys import KeyRing
from pacstream.messages import Dates
from pacstream.settings import load_settings
from pacstream_anonymizer.offline import records
from pacstream_anonymizer.offline.book import Book, Job
from pacstream_anonymizer.offline.inventory import take_inventory
from pacstream_anonymizer.offline.new_ids import Entry
from pacstream_anonymizer.offline.people import PatientsRefusedError, name_people
from pacstream_anonymizer.offline.reasons import NO_INSTANCE
from pacstream_anonymizer.shelf import Shelf
from pacstream_cli import bids_stage
from pacstream_cli.bids_stage import BidsWish
from pacstream_cli.commands_anonymize import (
    DEFAULT_PROJECT,
    FOLDER,
    NOT_ALL,
    check_writable,
    ring_of,
    worker_count,
)
from pacstream_cli.conversion_plan import Found, find_series
from pacstream_cli.deid_profile import load_profile
from pacstream_cli.id_mapping import read_mapping
from pacstream_converter.bids.tree import Result as DatasetResult
from pacstream_converter.dcm2niix import Dcm2niix, version
from pacstream_converter.folder import Outcome, convert_folder
from pacstream_converter.limits import limits_of

DELIVERED = frozenset({"converted", "converted_with_warnings", "not_an_image"})
PAGE = 120
"""Characters of a line where there is no terminal."""

HARMLESS = NO_INSTANCE | {"same_content"}
"""Files for which nobody waits."""


@dataclass(frozen=True)
class Wish:
    """What the user wants. All paths are resolved; `ring` has the keys of the project."""

    source: Path
    out: Path
    data: Path
    project: str
    ring: KeyRing
    new_ids: Sequence[Entry] | None
    jobs: int
    time_limit_s: float
    bids: BidsWish | None = None
    deface: bool = False

    @property
    def job(self) -> str:
        """The name of the pair of folders."""
        pair = b"convert\0" + os.fsencode(self.source) + b"\0" + os.fsencode(self.out)
        return hashlib.blake2s(pair, digest_size=8).hexdigest()


@dataclass(frozen=True)
class Result:
    outcomes: list[Outcome]
    found: Found
    report: Path = field(repr=False)
    bids: DatasetResult | None = None

    @property
    def is_whole(self) -> bool:
        """Every image has been converted, and every DICOM file was an instance."""
        if self.bids is not None and not self.bids.is_whole:
            return False
        return all(one.conversion.state in DELIVERED for one in self.outcomes) and all(
            reason in HARMLESS for reason in self.found.rest.values()
        )


@click.command()
@click.argument("source", metavar="FOLDER", type=FOLDER)
@click.option(
    "--out_folder",
    "--out-folder",
    "-o",
    "out",
    type=FOLDER,
    required=True,
    help="where the NIfTI files go, which may be given away",
)
@click.option(
    "--project",
    default="",
    metavar="NAME",
    help=f"whose key is used  [default: `{DEFAULT_PROJECT}`, made on first use]",
)
@click.option(
    "--new_ids",
    "--new-ids",
    "-n",
    "new_ids",
    type=FOLDER,
    help="pseudonyms: new_ids.json or CSV  [default: the project key's]",
)
@click.option(
    "--data",
    type=FOLDER,
    metavar="FOLDER",
    help="the trusted zone: keys, mapping, work in progress  [default: "
    "PACSTREAM_DATA, or .pacstream]",
)
@click.option(
    "--jobs",
    default="auto",
    show_default=True,
    metavar="N|auto",
    help="series at a time; auto: one for each core",
)
@click.option(
    "--time-limit",
    default=0.0,
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="longest conversion of one series  [default: PACSTREAM_DCM2NIIX_TIMEOUT_S, 900]",
)
@click.option(
    "--bids",
    is_flag=False,
    flag_value=bids_stage.RULES,
    default="",
    metavar="[TOOL:FILE]",
    help="make a BIDS data set in --out_folder; by heudiconv:FILE or dcm2bids:FILE instead of "
    "pacstream's rules",
)
@click.option(
    "--bids-rules",
    "--bids_rules",
    type=FOLDER,
    metavar="FILE",
    help="rules of your own for names in the data set (docs/bids.md); implies --bids",
)
@click.option(
    "--deface",
    is_flag=True,
    help="take the face off volumes of heads; what may be a head and can't be defaced is withheld "
    "(extra `deface`)",
)
@click.option("--json", "as_json", is_flag=True, help="the summary as JSON")
def convert(as_json: bool, **typed: Any) -> None:
    """Convert the DICOM series of a FOLDER of any shape to NIfTI that names nobody.

    Give it the originals: de-identified DICOM has lost what a conversion needs. Run it again to go
    on after an interruption. Exit code 0 only if every image was converted, 3 if one was not, 2 for
    wrong input.
    """
    wish = prepare(**typed)
    result = _run(wish)
    if as_json:
        click.echo(json.dumps(as_dict(result, wish), indent=1))
    else:
        print_result(result, wish)
    sys.exit(0 if result.is_whole else NOT_ALL)


def prepare(
    source: Path,
    out: Path,
    project: str,
    new_ids: Path | None,
    data: Path | None,
    jobs: str,
    time_limit: float,
    bids: str = "",
    bids_rules: Path | None = None,
    deface: bool = False,
) -> Wish:
    """All that can be checked before a file is looked at. Raises InputError."""
    if deface:
        _check_deface(bids)
    settings = load_settings()
    zone = (data or settings.data).resolve()
    source, out = source.resolve(), out.resolve()
    check_zones(source, out, zone)
    count = _job_count(jobs)
    entries = read_mapping(new_ids) if new_ids else None
    check_writable(out, zone)
    dataset = None
    if bids or bids_rules:
        profile = load_profile("", project or DEFAULT_PROJECT, zone)
        dataset = bids_stage.prepare(out, zone, bids, bids_rules, profile)
    zone.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Wish(
        source,
        out / bids_stage.CONVERTED if dataset else out,
        zone,
        project or DEFAULT_PROJECT,
        ring_of(project, zone),
        entries,
        count,
        time_limit or settings.dcm2niix_timeout_s,
        dataset,
        deface,
    )


def _check_deface(bids: str) -> None:
    """Raises InputError if it can't be done, or if a tool would convert the faces once more."""
    if importlib.util.find_spec("SimpleITK") is None:
        raise InputError("--deface needs an extra: pip install 'pacstream[deface]'")
    if bids not in ("", bids_stage.RULES):
        raise InputError(f"--deface: not with --bids {bids}, which converts the originals anew")


def _job_count(text: str) -> int:
    try:
        return worker_count(text) or len(os.sched_getaffinity(0))
    except InputError:
        raise InputError("--jobs: a number from 1, or auto") from None


def check_zones(source: Path, out: Path, data: Path) -> None:
    """Raises InputError unless originals, output and trusted zone lie apart. All are resolved."""
    if not source.is_dir():
        raise InputError("FOLDER is no folder")
    if out.exists() and not out.is_dir():
        raise InputError("--out_folder is no folder")
    if out.is_relative_to(source):
        raise InputError(
            "--out_folder lies inside FOLDER: give another one, FOLDER is never touched"
        )
    if source.is_relative_to(out):
        raise InputError("FOLDER lies inside --out_folder: originals would lie among the results")
    if data.is_relative_to(out):
        raise InputError(
            "the trusted zone (--data, PACSTREAM_DATA, or .pacstream here) would lie inside "
            "--out_folder, and with it the keys: give another --data"
        )
    if out.is_relative_to(data):
        raise InputError("--out_folder lies inside the trusted zone: nobody may be given that")


def _run(wish: Wish) -> Result:
    """Raises InputError for all that can be known before the start, RetryLaterError `disk`."""
    try:
        with contextlib.closing(Book(wish.data / "offline")) as book, book.alone(wish.job):
            found = _planned(wish, book)
            outcomes = _converted(wish, found)
            report = _write_report(wish, found, outcomes)
            dataset = bids_stage.make_dataset(wish.bids, outcomes) if wish.bids else None
            return Result(outcomes, found, report, dataset)
    except PatientsRefusedError as error:
        path = records.write_problems(wish.data, wish.project, error.refused)
        error.problems.append(f"they are listed in {path}")
        raise
    except RetryLaterError as error:
        raise RetryLaterError(f"{error}: make room, and run it again to go on") from None
    except (OSError, sqlite3.Error) as error:
        what = type(error).__name__
        raise RetryLaterError(f"a file can't be read or written ({what})", code="disk") from None


def _planned(wish: Wish, book: Book) -> Found:
    """What is to be done. The book knows the patients on return, and the key for ever."""
    inventory = take_inventory(wish.source, {wish.data}, ())
    lost = [one for one in inventory.rest if one.reason not in NO_INSTANCE]
    if not (inventory.instances or lost):
        raise InputError("there is no DICOM instance below FOLDER")
    job = book.job(wish.job) or Job(wish.project, "", "nifti", wish.ring.current_id)
    if job.project != wish.project:
        raise InputError(
            "an earlier run on these folders had another project: take another --out_folder, "
            "or one series would lie there under two names"
        )
    key = wish.ring.key(job.key_id)
    with book.at_once():
        names = name_people(inventory.instances, wish.new_ids, job, key, Dates.SHIFTED, book)
        if book.job(wish.job) is None:
            book.add_job(wish.job, wish.source, wish.out, job)
    records.write_people(book, wish.data, job)
    found = find_series(inventory, wish.source, wish.out, key, names)
    project = Shelf(wish.data).project(wish.project)
    limits = limits_of(wish.data, wish.project, project.profile if project else "")
    series = [replace(one, limits=limits, deface=wish.deface) for one in found.series]
    return replace(found, series=series)


def _converted(wish: Wish, found: Found) -> list[Outcome]:
    """With a bar on a terminal, which counts instances."""
    console = Console(stderr=True)
    columns = (TextColumn("converting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    total = sum(len(one.instances) for one in found.series)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        instances = bar.add_task("", total=total)
        return convert_folder(
            found.series,
            wish.data / "run",
            Dcm2niix(wish.time_limit_s),
            wish.jobs,
            lambda outcome: bar.advance(instances, len(outcome.files.instances)),
        )


def _write_report(wish: Wish, found: Found, outcomes: Sequence[Outcome]) -> Path:
    """What became of each file, for the trusted zone."""
    rows = [(path, "excluded", reason, "") for path, reason in found.rest.items()]
    for one in outcomes:
        stem = str(one.files.stem.relative_to(wish.out))
        for path in one.files.instances.values():
            reason = one.left_out.get(path, "")
            state = "excluded" if reason else one.conversion.state
            name = str(path.relative_to(wish.source))
            rows.append((name, state, reason or one.conversion.reason, stem))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("file", "outcome", "reason", "series"))
    writer.writerows(sorted(rows))
    target = records.folder(wish.data, wish.project) / f"convert-{wish.job}.csv"
    write_atomically(target, text.getvalue().encode("utf-8", "surrogateescape"))
    return target


def as_dict(result: Result, wish: Wish) -> dict[str, object]:
    """For machines: states, reasons and counts, and where the trusted zone has the rest."""
    return {
        "project": wish.project,
        "dcm2niix": version(),
        "whole": result.is_whole,
        "states": dict(sorted(Counter(one.conversion.state for one in result.outcomes).items())),
        "series": [_series_dict(one, result, wish) for one in result.outcomes],
        "excluded": dict(sorted(Counter(result.found.rest.values()).items())),
        "report": str(result.report),
        **({"bids": bids_stage.as_dict(result.bids)} if result.bids else {}),
    }


def _series_dict(one: Outcome, result: Result, wish: Wish) -> dict[str, object]:
    conversion = one.conversion
    return {
        "series": str(one.files.stem.relative_to(wish.out)),
        "modality": result.found.modalities[one.files.stem],
        "state": conversion.state,
        "reason": conversion.reason,
        "earlier": one.is_old,
        **asdict(conversion.counts),
        "products": [str(path.relative_to(wish.out)) for path in conversion.products],
    }


def print_result(result: Result, wish: Wish) -> None:
    table = Table(title=f"{len(result.outcomes)} series")
    for column in ("patient", "series", "modality"):
        table.add_column(column, no_wrap=True)
    for column in ("instances", "excluded", "slices", "volumes"):
        table.add_column(column, justify="right")
    table.add_column("state", overflow="fold")
    for one in result.outcomes:
        table.add_row(*_row(one, result, wish))
    console = Console()
    if not console.is_terminal:
        console.width = PAGE
    console.print(table)
    for reason, number in sorted(Counter(result.found.rest.values()).items()):
        click.echo(f"  excluded files  {number} {reason}")
    click.echo(f"NIfTI (names nobody):       {wish.out}")
    click.echo(f"what became of each file:   {result.report}")
    if result.bids and wish.bids:
        bids_stage.print_result(result.bids, wish.bids)


def _row(one: Outcome, result: Result, wish: Wish) -> tuple[str, ...]:
    """The series by the end of its UID: the whole is too long for a terminal."""
    conversion, counts = one.conversion, one.conversion.counts
    state = f"{conversion.state}: {conversion.reason}" if conversion.reason else conversion.state
    patient, _, series = one.files.stem.relative_to(wish.out).parts
    there = counts.slices_expected + counts.slices_missing
    return (
        patient,
        f"…{series[-8:]}",
        result.found.modalities[one.files.stem],
        str(len(one.files.instances)),
        str(sum(counts.excluded.values())),
        f"{counts.slices_converted}/{there}",
        str(len(conversion.volumes)),
        state + (" (earlier)" if one.is_old else ""),
    )
