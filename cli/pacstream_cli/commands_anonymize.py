"""`pacstream anonymize`: de-identify a folder, without a PACS and without services."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pacstream.errors import InputError, RejectedError
from pacstream.keys import KeyRing, create_key, load_ring
from pacstream.settings import load_settings
from pacstream_anonymizer.offline import records
from pacstream_anonymizer.offline.job import Summary, Wish, check_zones, run
from pacstream_anonymizer.offline.layout import Layout
from pacstream_anonymizer.offline.people import PatientsRefusedError
from pacstream_anonymizer.profile import OPTIONS
from pacstream_anonymizer.second_look import look_for
from pacstream_cli.deid_profile import chosen, dates_of, load_profile, short
from pacstream_cli.id_mapping import read_mapping
from pacstream_cli.submission import folder_problem

DEFAULT_PROJECT = "default"
NOT_ALL = 3

FOLDER = click.Path(path_type=Path)


F = TypeVar("F", bound=Callable[..., object])


def anonymize_options(command: F) -> F:
    """PACSMAN's own spellings first."""
    for option in reversed(
        (
            click.option("--in_folder", "--in-folder", "-d", "source", type=FOLDER, required=True,
                         help="the originals"),
            click.option("--out_folder", "--out-folder", "-o", "out", type=FOLDER, required=True,
                         help="what may be given away; the same as --in_folder: in place"),
            click.option("--new_ids", "--new-ids", "-n", "new_ids", type=FOLDER,
                         help="pseudonyms: new_ids.json or CSV  [default: the project key's]"),
            click.option("--delete_identifiable", "--delete-identifiable", "-i", "identifiable",
                         is_flag=True, help="withhold screenshots, secondary CT images, reports"),
            click.option("--fuzz_acq_dates", "--fuzz-acq-dates", "-a", "shifted", is_flag=True,
                         help="shift dates, also where the profile removes them"),
            click.option("--remove_private_tags", "--remove-private-tags", "-p", "without_private",
                         is_flag=True, help="remove all private attributes, safe ones too"),
            click.option("--keep_patient_dir_names", "--keep-patient-dir-names", "-k", "keep",
                         is_flag=True, help="keep the names of sub-* folders, which may identify"),
            click.option("--any-layout", is_flag=True,
                         help="output paths of pseudonyms and UIDs, whatever --in_folder is like"),
            click.option("--project", default="", metavar="NAME",
                         help=f"whose key is used  [default: `{DEFAULT_PROJECT}`, made on first "
                         "use]"),
            click.option("--profile", default="", metavar="NAME|FILE",
                         help="what is kept and removed  [default: the project's, else research]"),
            click.option("--options", default="", metavar="NAMES",
                         help="instead of the profile's: `none`, or with commas of "
                         + ", ".join(sorted(map(short, OPTIONS)))),
            click.option("--data", type=FOLDER, metavar="FOLDER",
                         help="the trusted zone: keys, mapping, quarantine  [default: "
                         "PACSTREAM_DATA, or .pacstream]"),
            click.option("--workers", default="auto", show_default=True, metavar="N|auto",
                         help="processes"),
            click.option("--json", "as_json", is_flag=True, help="the summary as JSON"),
        )
    ):  # fmt: skip
        command = option(command)
    return command


@dataclass(frozen=True)
class Typed:
    """The command line."""

    source: Path
    out: Path
    new_ids: Path | None
    identifiable: bool
    shifted: bool
    without_private: bool
    keep: bool
    any_layout: bool
    project: str
    profile: str
    options: str
    data: Path | None
    workers: str


@click.command()
@anonymize_options
def anonymize(as_json: bool, **typed: Any) -> None:
    """De-identify the DICOM files of a folder, with the engine and the results of the pipeline.

    Run it again to go on after an interruption. Exit code 0 only if every DICOM instance was
    released, 3 if one was withheld, 2 for wrong input.
    """
    given = Typed(**typed)
    wish = prepare(given)
    summary = _run(wish)
    if as_json:
        click.echo(json.dumps(as_dict(summary, wish), indent=1))
    else:
        print_summary(summary, wish)
    sys.exit(0 if summary.is_whole else NOT_ALL)


def prepare(typed: Typed) -> Wish:
    """All that can be checked before a file is looked at. Raises InputError."""
    settings = load_settings()
    zone = (typed.data or settings.data).resolve()
    source, out = typed.source.resolve(), typed.out.resolve()
    check_zones(source, out, zone)
    project = typed.project or DEFAULT_PROJECT
    if typed.any_layout and typed.keep:
        raise InputError("--any-layout leaves no folder its name: no --keep_patient_dir_names")
    profile = chosen(
        load_profile(typed.profile, project, zone),
        typed.options,
        without_private=typed.without_private,
        shifted=typed.shifted,
    )
    look_for(ocr=settings.ocr or profile.second_look)
    workers = worker_count(typed.workers)
    new_ids = read_mapping(typed.new_ids) if typed.new_ids else None
    check_writable(out, zone)
    zone.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Wish(
        source=source,
        out=out,
        data=zone,
        project=project,
        ring=ring_of(typed.project, zone),
        profile=profile,
        dates=dates_of(profile),
        layout=Layout.UIDS if typed.any_layout else None,
        new_ids=new_ids,
        without_identifiable=typed.identifiable,
        keep_patient_folders=typed.keep,
        workers=workers,
        ocr=settings.ocr,
    )


def worker_count(text: str) -> int | None:
    """None for auto. Raises InputError."""
    if text == "auto":
        return None
    if not re.fullmatch(r"[1-9]\d{0,2}", text, re.ASCII):
        raise InputError("--workers: a number from 1, or auto")
    return int(text)


def check_writable(*folders: Path) -> None:
    for folder in folders:
        problem = folder_problem(folder)
        if problem:
            raise InputError(f"{folder} {problem}")


def ring_of(project: str, data: Path) -> KeyRing:
    """The project's keys; the default project's first key is made here.

    Raises InputError for a project that is not there: a typing error would be a new key.
    """
    keys = data / "keys"
    if not project and create_key(keys, DEFAULT_PROJECT):
        click.echo(
            f"note: the key of project `{DEFAULT_PROJECT}` has been made in {keys}: keep it, and "
            "keep it secret; who has it can tell who is who",
            err=True,
        )
    try:
        return load_ring(keys, project or DEFAULT_PROJECT)
    except RejectedError as error:
        raise InputError(f"--project: {error} (in {keys})") from None


def _run(wish: Wish) -> Summary:
    """With a bar on a terminal. Patients are named in the trusted zone only."""
    console = Console(stderr=True)
    columns = (TextColumn("de-identifying"), BarColumn(), MofNCompleteColumn())
    try:
        with Progress(
            *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
        ) as bar:
            instances = bar.add_task("", total=None)

            def progress(done: int, total: int) -> None:
                bar.update(instances, completed=done, total=total)

            return run(wish, progress)
    except PatientsRefusedError as error:
        path = records.write_problems(wish.data, wish.project, error.refused)
        error.problems.append(f"they are listed in {path}")
        raise


def as_dict(summary: Summary, wish: Wish) -> dict[str, object]:
    """For machines: counts, reasons, and where the trusted zone has the rest."""
    told = asdict(summary) | {"records": str(summary.records), "report": str(summary.report)}
    return {
        "project": wish.project,
        "profile": wish.profile.name,
        "profile_digest": wish.profile.digest,
        "options": sorted(wish.profile.options),
        "in_place": wish.in_place,
        "audit": wish.audit,
        **told,
    }


def print_summary(summary: Summary, wish: Wish) -> None:
    if summary.is_fallback and summary.instances:
        click.echo(
            "note: --in_folder has not the layout sub-*/ses-*/<series>/<file>: output paths are "
            "made of pseudonyms and UIDs, as with --any-layout",
            err=True,
        )
    if wish.keep_patient_folders:
        click.echo("note: folder names of patients were kept; they may identify", err=True)
    before = f", {summary.before} of them earlier" if summary.before else ""
    click.echo(f"{summary.instances} DICOM instances")
    click.echo(f"  released    {summary.released} of {summary.patients} patients{before}")
    if summary.duplicates:
        click.echo(f"  duplicates  {summary.duplicates} (same content as another file)")
    for reason, number in summary.withheld.items():
        click.echo(f"  withheld    {number} {reason}")
    for reason, number in summary.others.items():
        click.echo(f"  no instance {number} {reason}")
    click.echo(f"release (de-identified):        {wish.out}")
    click.echo(f"mapping and report (identified): {summary.records}")
    click.echo(f"what was done to each:          pacstream audit {wish.audit}")
    if summary.withheld:
        click.echo(f"withheld files (identified):    {wish.data / 'quarantine'}")
