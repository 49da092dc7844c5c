"""`pacstream export`: the files of a folder to another node, server or store."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pacstream.errors import InputError, RetryLaterError
from pacstream.settings import load_settings
from pacstream_cli.config import read_config
from pacstream_exporter.delivery.carriers import Terms, carrier_of
from pacstream_exporter.delivery.credentials import find_credentials
from pacstream_exporter.delivery.destination import Destination, DicomNode, parse_destination
from pacstream_exporter.delivery.job import Watcher, Wish, deliver
from pacstream_exporter.delivery.node import Verify
from pacstream_exporter.delivery.outcome import Result, State

NOT_ALL = 3
FOLDER = click.Path(path_type=Path)
F = TypeVar("F", bound=Callable[..., object])


def export_options(command: F) -> F:
    for option in reversed(
        (
            click.argument("folder", type=FOLDER),
            click.option("--to", "to", default="", metavar="ADDRESS|NAME",
                         help="dicom://CALLED@host:port?calling=AET, https://host/dicom-web, "
                         "s3://bucket/prefix, sftp://user@host/path, or a name in `destinations` "
                         "of --config  [default: the PACS of --config]"),
            click.option("--config", "-c", type=FOLDER,
                         help="JSON as for `submit`; its `destinations` are names for addresses"),
            click.option("--jobs", type=click.IntRange(1, 32), default=2, show_default=True,
                         help="associations or connections at once"),
            click.option("--verify", type=click.Choice([one.value for one in Verify]),
                         default=Verify.AUTO.value, show_default=True,
                         help="how deliveries are verified; auto: the best that the destination "
                         "offers, `status`: its word is enough"),
            click.option("--commitment-wait", "commitment_s", type=click.FloatRange(0.1, 86400),
                         default=60.0, show_default=True, metavar="SECONDS",
                         help="longest wait for a report of storage commitment"),
            click.option("--decompress", is_flag=True,
                         help="instances whose transfer syntax the node refuses"),
            click.option("--replace", is_flag=True,
                         help="files of the same name with other content (s3, sftp)"),
            click.option("--tries", type=click.IntRange(1, 20), default=4, show_default=True,
                         help="of each file, with growing pauses, where time may cure it"),
            click.option("--again", is_flag=True,
                         help="also what was delivered there before"),
            click.option("--credentials", type=FOLDER, metavar="FILE",
                         help="TOML, chmod 600  [default: PACSTREAM_SECRET_FILE, or "
                         "DATA/keys/credentials.toml]"),
            click.option("--data", type=FOLDER, metavar="FOLDER",
                         help="the trusted zone: journal and report  [default: PACSTREAM_DATA, or "
                         ".pacstream]"),
            click.option("--json", "as_json", is_flag=True, help="the summary as JSON"),
        )
    ):  # fmt: skip
        command = option(command)
    return command


@dataclass(frozen=True)
class Typed:
    """The command line."""

    folder: Path
    to: str
    config: Path | None
    jobs: int
    verify: str
    commitment_s: float
    decompress: bool
    replace: bool
    tries: int
    again: bool
    credentials: Path | None
    data: Path | None


@click.command()
@export_options
def export(as_json: bool, **typed: Any) -> None:
    """Deliver the files of FOLDER, verify that they are there, and tell what became of each.

    Run it again to go on after an interruption: what is there is not sent again. Exit code 0 only
    if all was delivered and verified as asked.
    """
    wish = prepare(Typed(**typed))
    result = _run(wish)
    if as_json:
        told = asdict(result) | {"report": str(result.report), "delivered": result.is_whole}
        click.echo(json.dumps(told, indent=1))
    else:
        print_result(result)
    sys.exit(0 if result.is_whole else NOT_ALL)


def prepare(typed: Typed) -> Wish:
    """All that can be checked before the folder is looked at. Raises InputError."""
    settings = load_settings()
    folder = typed.folder.resolve()
    data = (typed.data or settings.data).resolve()
    if not folder.is_dir():
        raise InputError(f"{typed.folder}: is no folder")
    if data.is_relative_to(folder):
        raise InputError(f"{typed.folder}: holds the trusted zone, which is never delivered")
    destination = destination_of(typed.to, typed.config)
    terms = Terms(
        verify=Verify(typed.verify),
        decompress=typed.decompress,
        replace=typed.replace,
        commitment_s=typed.commitment_s,
        timeout_s=settings.dimse_timeout_s,
        connection_timeout_s=settings.connection_timeout_s,
        credentials=find_credentials(destination.name, data, typed.credentials),
    )
    return Wish(
        places=(folder,),
        name=destination.name,
        carrier=carrier_of(destination, terms),
        data=data,
        jobs=typed.jobs,
        tries=typed.tries,
        from_the_start=typed.again,
    )


def destination_of(to: str, config: Path | None) -> Destination:
    """By address, by its name in the configuration, or the configuration's own PACS."""
    if "://" in to:
        return parse_destination(to)
    if config is None:
        raise InputError("where to? --to ADDRESS, or --config with its PACS or `destinations`")
    known = read_config(config)
    if not to:
        return DicomNode(known.node())
    if to not in known.destinations:
        names = ", ".join(sorted(known.destinations)) or "none"
        raise InputError(f"--to: `destinations` of the configuration has no such name, but {names}")
    return parse_destination(known.destinations[to])


def _run(wish: Wish) -> Result:
    """With a bar on a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("delivering"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        files = bar.add_task("", total=None)

        def progress(done: int, total: int) -> None:
            bar.update(files, completed=done, total=total)

        try:
            return deliver(wish, Watcher(progress))
        except RetryLaterError as error:
            raise InputError(f"nothing was delivered: {error}; run it again later") from None


def print_result(result: Result) -> None:
    rate = result.sent_bytes / 1e6 / result.seconds if result.seconds else 0.0
    click.echo(f"{result.files} files to {result.destination}")
    delivered = result.states.get(State.DELIVERED, 0)
    before = f", {result.was_there} of them were there" if result.was_there else ""
    click.echo(f"  delivered   {delivered}{before}")
    for evidence, number in sorted(result.evidence.items()):
        click.echo(f"    known by  {number} {evidence}")
    for warning, number in sorted(result.warnings.items()):
        click.echo(f"    warning   {number} {warning}")
    for state in (State.FAILED, State.UNVERIFIED, State.WAITING):
        if number := result.states.get(state, 0):
            click.echo(f"  {state.value:<11} {number}")
    for reason, number in sorted(result.reasons.items()):
        click.echo(f"    reason    {number} {reason}")
    for reason, number in sorted(result.left_out.items()):
        click.echo(f"  left out    {number} {reason}")
    megabytes = f"{result.sent_bytes / 1e6:.1f} MB in {result.seconds:.1f} s ({rate:.1f} MB/s)"
    click.echo(f"sent: {megabytes}")
    click.echo(f"each file (identified): {result.report}")
    if result.states.get(State.UNVERIFIED):
        click.echo("`unverified`: taken, and not confirmed; --verify status takes that for enough")
