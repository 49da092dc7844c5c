"""`pacstream quarantine list|show|release|drop`."""

from __future__ import annotations

import contextlib
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import click
from rich.console import Console

from pacstream.archive import Archive
from pacstream.errors import BrokerUnavailableError, InputError
from pacstream.logs import ref
from pacstream.publisher import Publisher
from pacstream.settings import Settings, load_settings
from pacstream_cli import decide, exhibit
from pacstream_cli import quarantine as store
from pacstream_cli.decide import Outcome
from pacstream_cli.quarantine import Entry
from pacstream_cli.reporting import NOT_DELIVERED
from pacstream_cli.stack import running_settings

CONSOLE = Console(highlight=False)

UNHEARD = 1
"""Exit code: the decision holds, but nothing is known of what has come of it."""

REFS = click.argument("refs", nargs=-1, required=True, metavar="REF...")
WHY = click.option("--reason", "why", required=True, help="why: it is written down")
BY = click.option("--by", default="", metavar="NAME", help="who decides  [default: the user]")


@click.group()
def quarantine() -> None:
    """What was withheld or put aside: look at it, release it by decision, or drop it.

    A REF is an instance's or a series' reference as `list` and the logs have it, also with a
    reason (REF/ultrasound), or a batch with a reason (BATCH/ultrasound).
    """


@quarantine.command("list")
@click.option("--reason", default="", help="only this one")
@click.option("--batch", default="", help="only what this batch misses")
@click.option("--series", default="", metavar="REF", help="only this series")
@click.option("--identifiers", is_flag=True, help="with names, IDs and UIDs of one instance each")
@click.option("--json", "as_json", is_flag=True, help="as JSON, with each instance")
def list_entries(reason: str, batch: str, series: str, identifiers: bool, as_json: bool) -> None:
    """What lies there, by reason and series."""
    groups = exhibit.groups_of(
        one
        for one in store.load(_settings())
        if reason in ("", one.reason)
        and (not batch or batch in one.batches)
        and series in ("", one.series_ref)
    )
    if as_json:
        views = [exhibit.group_view(one, identifiers) for one in groups]
        click.echo(json.dumps(views, indent=1))
    elif not groups:
        click.echo("nothing is in quarantine" + (" like that" if reason or batch or series else ""))
    else:
        CONSOLE.print(exhibit.list_table(groups))
        for group in groups if identifiers else ():
            click.echo(exhibit.identifiers_text(group))


@quarantine.command()
@REFS
@click.option("--identifiers", is_flag=True, help="with names, IDs, dates and UIDs")
@click.option("--json", "as_json", is_flag=True, help="as JSON")
def show(refs: tuple[str, ...], identifiers: bool, as_json: bool) -> None:
    """Why it is withheld, what can be done, what its header says, and a picture.

    The picture shows the patient's data: it is written into the trusted zone.
    """
    settings = _settings()
    chosen = store.selected(store.load(settings), refs)
    archive = Archive(settings.data)
    views = [exhibit.exhibit(archive, one, identifiers) for one in exhibit.groups_of(chosen)]
    if as_json:
        click.echo(json.dumps(views, indent=1))
    else:
        click.echo("\n\n".join(exhibit.exhibit_text(one) for one in views))


@quarantine.command()
@REFS
@WHY
@BY
@click.option("--batch", default="", help="for this batch only")
@click.option("--wait", "wait_s", type=click.FloatRange(0), default=60.0, show_default=True,
              help="seconds to wait for what comes of it")  # fmt: skip
def release(refs: tuple[str, ...], why: str, by: str, batch: str, wait_s: float) -> None:
    """Let instances pass the rule that withholds them, by your decision.

    Their headers are de-identified like any other, and the release gate looks at them: it may
    withhold them all the same. Exit code 3 if it does, 1 if nothing is heard in time. The services
    must be up, except for what `pacstream anonymize` has withheld.
    """
    why, settings = _required(why), _settings()
    archive = Archive(settings.data)
    chosen = _for_batch(store.selected(store.load(settings), refs), batch)
    passes = decide.passes_of(settings, chosen)
    of_batches = [one for one in passes if one.order is not None]
    with _publishing(settings) if of_batches else contextlib.nullcontext() as publisher:
        decide.write_release(archive, passes, by or decide.operator(), why)
        if publisher is not None:
            publisher.publish_all(decide.requests_of(of_batches))
    click.echo(f"written down: {len(passes)} instances may pass")
    if len(of_batches) < len(passes):
        click.echo(
            f"of folders: {len(passes) - len(of_batches)}; run `pacstream anonymize` on them again."
            " Put those of a folder that was done in place back into it first"
        )
    outcome = decide.wait_for(settings, of_batches, wait_s)
    decide.tidy(settings, [one.entry for one in of_batches])
    exhibit.forget_pictures(archive, chosen)
    sys.exit(_tell(outcome))


@quarantine.command()
@REFS
@WHY
@BY
def drop(refs: tuple[str, ...], why: str, by: str) -> None:
    """Delete the copies in quarantine. What the ledger and the reports say stays: withheld."""
    why, settings = _required(why), _settings()
    archive = Archive(settings.data)
    chosen = store.selected(store.load(settings), refs)
    originals = sum(decide.stays_in_incoming(archive, one) for one in chosen)
    decide.drop(archive, chosen, by or decide.operator(), why)
    exhibit.forget_pictures(archive, chosen)
    click.echo(f"dropped: {len(chosen)} files")
    click.echo(f"originals that stay in incoming: {originals}")
    gone = len(chosen) - originals
    if gone:
        click.echo(
            f"gone for good from here: {gone}; only the sender may have them, or the folder that"
            " they came from"
        )


@contextlib.contextmanager
def _publishing(settings: Settings) -> Iterator[Publisher]:
    """A broker that is there. Raises InputError before anything is decided."""
    publisher = Publisher(settings, "cli")
    try:
        publisher.connect()
    except BrokerUnavailableError as error:
        raise InputError(f"{error}: `pacstream up` starts one; nothing is decided") from None
    try:
        yield publisher
    finally:
        publisher.close()


def _tell(outcome: Outcome) -> int:
    """Say what has come of a decision; the exit code."""
    if outcome.released:
        click.echo(f"released: {len(outcome.released)}")
    for reason, count in sorted(Counter(outcome.withheld.values()).items()):
        uids = [uid for (_, _, uid), one in outcome.withheld.items() if one == reason]
        refs = " ".join(ref(uid) for uid in sorted(uids))
        click.echo(f"withheld all the same, {reason}: {count} ({refs})")
    if outcome.unheard:
        click.echo(
            f"not heard of yet: {len(outcome.unheard)}; the decision holds, see `pacstream ps`"
        )
    return NOT_DELIVERED if outcome.withheld else UNHEARD if outcome.unheard else 0


def _for_batch(entries: Sequence[Entry], batch: str) -> list[Entry]:
    if not batch:
        return list(entries)
    wrong = [one for one in entries if batch not in one.batches]
    if wrong:
        refs = [f"{one.ref}/{one.reason}: not withheld from {batch}" for one in wrong]
        raise store.InvalidRefsError("nothing is released", refs)
    return [replace(one, batches=(batch,)) for one in entries]


def _required(why: str) -> str:
    if not why.strip():
        raise InputError("--reason: say why")
    return why.strip()


def _settings() -> Settings:
    return running_settings(load_settings())
