"""`pacstream submit` and `run`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from pacstream.archive import Archive
from pacstream.errors import BrokerUnavailableError, InputError
from pacstream.messages import Actions, Batch
from pacstream.publisher import Publisher
from pacstream.settings import Settings, load_settings
from pacstream_cli import preflight, reporting
from pacstream_cli.client import RESTART_PATIENCE, LedgerClient
from pacstream_cli.commands_stack import signals_as_interrupt, stop_undisturbed
from pacstream_cli.elsewhere import check_zone
from pacstream_cli.plan import SERIES_LIMIT, check_size
from pacstream_cli.projects import establish
from pacstream_cli.stack import Stack, running_settings
from pacstream_cli.submission import Submission, Wishes, prepare
from pacstream_exporter.batch_report.words import keep_words

F = TypeVar("F", bound=Callable[..., object])

CONSOLE = Console(highlight=False)


def batch_options(command: F) -> F:
    """The options that `submit` and `run` share; PACSMAN's own spellings first."""
    for option in reversed(
        (
            click.argument("query", required=False, type=click.Path(path_type=Path)),
            click.option("--queryfile", "-q", type=click.Path(path_type=Path), help="the queries"),
            click.option("--config", "-c", type=click.Path(path_type=Path), required=True,
                         help="JSON with the PACS's and our own address and AE titles"),
            click.option("--save", "-s", is_flag=True, help="originals in PACSMAN's layout"),
            click.option("--info", "-i", is_flag=True, help="a CSV of attributes per series"),
            click.option("--anonymize", is_flag=True, help="de-identified DICOM in OUT/release"),
            click.option("--project", default="", help="project whose key makes the pseudonyms"),
            click.option("--convert", is_flag=True, help="NIfTI by dcm2niix"),
            click.option("--bids", is_flag=True,
                         help="a BIDS data set of what --convert makes: OUT/release/bids, or "
                         "OUT/bids without --anonymize"),
            click.option("--bids-rules", "--bids_rules", "bids_rules",
                         type=click.Path(path_type=Path), metavar="FILE",
                         help="rules of your own for names in it; implies --bids"),
            click.option("--move", "-m", is_flag=True, help="C-MOVE to move_AET instead"),
            click.option("--out_directory", "--out-directory", "-d", "out", default=Path("data"),
                         show_default=True, type=click.Path(path_type=Path), help="results"),
            click.option("--profile", default="", metavar="NAME|FILE",
                         help="what --anonymize keeps and removes  [default: the project's, else "
                         "research]"),
            click.option("--new-ids", "--new_ids", "new_ids", type=click.Path(path_type=Path),
                         help="pseudonyms by PatientID: new_ids.json or CSV"),
            click.option("--pseudonyms", default="", metavar="SOURCE",
                         help="hmac: made with the project's key; file:PATH: as --new-ids; "
                         "api:CONFIG: of the De-ID service  [default: hmac]"),
            click.option("--karnak", "album", default="", metavar="ALBUM",
                         help="Karnak's elements in the release: pseudonym and album"),
            click.option("--karnak-creator", "creator", default="", metavar="NAME",
                         help="their private creator  [default: CHUV_DEV_TML]"),
            click.option("--dicomdir", is_flag=True,
                         help="a file-set with a DICOMDIR in OUT/media/BATCH: of the release, else "
                         "of the originals"),
            click.option("--export", default="", metavar="ADDRESS|NAME",
                         help="send it all on in the end, as `pacstream export --to` does; the "
                         "credentials are the exporter's"),
            click.option("--export-verify", default="auto", show_default=True,
                         type=click.Choice(["auto", "commitment", "list", "status"]),
                         help="how that is verified"),
            click.option("--pacs-profile", type=click.Path(path_type=Path),
                         help="PACS profile  [default: DATA/pacs/<called AE title>.toml, if any]"),
            click.option("--priority", type=click.IntRange(-9, 9), default=0, show_default=True,
                         help="higher goes first"),
            click.option("--refresh", is_flag=True, help="fetch again what is here already"),
            click.option("--pacsman-names", is_flag=True,
                         help="PatientName as PACSMAN reads it: *LASTWORD in capitals"),
            click.option("--yes-over", type=click.IntRange(0), metavar="N",
                         help=f"go on with up to N series  [default: {SERIES_LIMIT}]"),
        )
    ):  # fmt: skip
        command = option(command)
    return command


def wishes_of(
    query: Path | None,
    queryfile: Path | None,
    save: bool,
    info: bool,
    anonymize: bool,
    convert: bool,
    move: bool,
    **others: Any,
) -> Wishes:
    """The options as one value. Raises InputError if no or two query files are given."""
    actions = Actions(save=save, info=info, anonymize=anonymize, convert=convert, move=move)
    return Wishes(queryfile=one_query_file(query, queryfile), actions=actions, **others)


def one_query_file(query: Path | None, queryfile: Path | None) -> Path:
    if (query is None) == (queryfile is None):
        raise InputError("give the CSV of queries once: QUERY.csv or --queryfile QUERY.csv")
    return query or queryfile or Path()


@click.command()
@batch_options
def submit(**options: Any) -> None:
    """Check QUERY.csv and everything it needs, then publish one message per row.

    Prints the batch id. The services must be up (`pacstream up`).
    """
    settings = running_settings(load_settings())
    check_zone(settings.data, LedgerClient(settings.ledger_http))
    submission = _prepared(options, settings)
    _publish(submission, settings)
    click.echo(submission.batch.batch_id)


@click.command()
@batch_options
def run(**options: Any) -> None:
    """Start what is not up, submit, watch, report, stop. Takes PACSMAN's own flags.

    Exit code 0 only if everything was delivered.
    """
    settings = load_settings()
    submission = _prepared(options, settings)
    stack = Stack(settings)
    with signals_as_interrupt():
        code = _run_batch(submission, settings, stack)
    sys.exit(code)


def _run_batch(submission: Submission, settings: Settings, stack: Stack) -> int:
    """With the stack that is up, or with one of its own for this batch only."""
    if stack.is_running():
        return _submit_and_watch(submission, running_settings(settings), stack)
    CONSOLE.print("starting the services")
    stack.write_config({}, submission.config.move_port, submission.config.aet)
    try:
        stack.start()
        stack.wait_ready()
        return _submit_and_watch(submission, running_settings(settings), stack)
    finally:
        stop_undisturbed(stack)


def _prepared(options: dict[str, Any], settings: Settings) -> Submission:
    """Everything that can be checked without the services: input, PACS, size."""
    yes_over: int | None = options.pop("yes_over")
    submission = prepare(wishes_of(**options), settings.data)
    for note in filter(None, (*submission.queries.notes, submission.profile.note)):
        click.echo(f"note: {note}", err=True)
    preflight.check_pacs(submission, settings.dimse_timeout_s)
    check_size(submission.batch, submission.queries.rows, yes_over, settings)
    return submission


def _submit_and_watch(submission: Submission, settings: Settings, stack: Stack) -> int:
    _publish(submission, settings)
    batch_id = submission.batch.batch_id
    CONSOLE.print(f"batch {batch_id}: {submission.batch.rows} rows")
    client = LedgerClient(settings.ledger_http, patience=RESTART_PATIENCE)
    _wait_until_known(client, batch_id)
    status = reporting.watch(client, batch_id, CONSOLE)
    reporting.print_report(client.report(batch_id), CONSOLE)
    _wait_for_report(submission.batch, settings.data)
    CONSOLE.print(f"  services' logs:          {stack.logs}", soft_wrap=True)
    return reporting.exit_code(status)


def _wait_for_report(batch: Batch, data: Path, patience_s: float = 60.0) -> None:
    """The exporter writes it when the batch has ended: a stack of this batch alone has to stay up
    until then. What is not written by the end of `patience_s` is with the next start."""
    report = Path(batch.out) / "reports" / batch.batch_id / "report.csv"
    last = [report]
    if batch.actions.anonymize:
        last.append(Archive(data).state / "batches" / batch.batch_id / "date_offsets.csv")
    deadline = time.monotonic() + patience_s
    while not all(path.exists() for path in last):
        if time.monotonic() > deadline:
            CONSOLE.print("  report: not written yet; the exporter has it in its queue")
            return
        time.sleep(0.05)
    CONSOLE.print(f"  report:                  {report.with_suffix('.html')}", soft_wrap=True)


def _publish(submission: Submission, settings: Settings) -> None:
    """The last checks, which need the services, and then one message per row."""
    publisher = Publisher(settings, "cli")
    try:
        publisher.connect()
    except BrokerUnavailableError as error:
        raise InputError(f"{error}: `pacstream up` starts one") from None
    try:
        if preflight.needs_store(submission.batch):
            _check_store(submission, settings)
        if submission.batch.actions.retrieves or submission.batch.actions.move:
            click.echo(preflight.check_destination(submission, settings), err=True)
        if submission.terms is not None:
            establish(settings.data, submission.batch.project, submission.terms.text)
        words = {row.row: row.keys for row in submission.queries.rows}
        keep_words(Archive(settings.data), submission.batch.batch_id, words)
        publisher.publish_all(submission.messages())
    finally:
        publisher.close()


def _check_store(submission: Submission, settings: Settings) -> None:
    """The PACS sends to move_port: our store SCP has to be the one that listens there."""
    if submission.config.move_port != settings.store_port:
        raise InputError(
            f"move_port {submission.config.move_port} of the configuration is not where the store "
            f"SCP listens ({settings.store_port}): start it with `pacstream up --config`"
        )


def _wait_until_known(client: LedgerClient, batch_id: str) -> None:
    deadline = time.monotonic() + 30.0
    while not client.knows(batch_id):
        if time.monotonic() > deadline:
            raise InputError("the ledger has not taken the batch up: see `pacstream ps`")
        time.sleep(0.1)
