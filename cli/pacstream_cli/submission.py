"""From what a user typed to the messages of one batch. Everything is checked before the first."""

from __future__ import annotations

import contextlib
import datetime
import errno
import secrets
import shutil
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from pacstream.errors import InputError
from pacstream.messages import Actions, Batch, BatchAction, QueryRequested
from pacstream.pseudonyms import PROJECT
from pacstream_anonymizer.actions import RETAIN_PATIENT_CHARACTERISTICS
from pacstream_anonymizer.profile import Profile
from pacstream_cli.batch_actions import batch_actions
from pacstream_cli.config import PacsConfig, read_config
from pacstream_cli.deid_profile import dates_of
from pacstream_cli.given_names import source_of, with_names
from pacstream_cli.profiles import Chosen, choose
from pacstream_cli.projects import Terms, terms_of
from pacstream_cli.queryfile import QueryFile, read_queries
from pacstream_converter.bids.rules_file import load_rules
from pacstream_exporter.delivery.carriers import Terms as CarrierTerms
from pacstream_exporter.delivery.carriers import carrier_of
from pacstream_exporter.delivery.destination import parse_destination
from pacstream_exporter.delivery.node import Verify
from pacstream_exporter.karnak import text_problem

LEAST_FREE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Wishes:
    """The options of `submit` and `run`, as typed."""

    queryfile: Path
    config: Path
    out: Path
    actions: Actions
    project: str = ""
    profile: str = ""
    """Name or file of a project profile; empty: the project's."""
    new_ids: Path | None = None
    pseudonyms: str = ""
    """Where they come from: `pacstream_cli.given_names`; empty: hmac, or new_ids."""
    pacs_profile: Path | None = None
    priority: int = 0
    refresh: bool = False
    pacsman_names: bool = False
    bids: bool = False
    bids_rules: Path | None = None
    album: str = ""
    """Of a Karnak gateway; empty: no elements for one are written."""
    creator: str = ""
    """Of these elements; empty: PACSMAN's."""
    dicomdir: bool = False
    export: str = ""
    """Where all is sent to in the end: an address, or a name in the configuration."""
    export_verify: str = "auto"

    @property
    def karnak(self) -> dict[str, str]:
        """The options of the batch action; empty if there is none."""
        given = {"album": self.album, "creator": self.creator}
        return {name: text for name, text in given.items() if text} if self.album else {}


@dataclass(frozen=True)
class Submission:
    """One batch, ready to be published."""

    batch: Batch
    queries: QueryFile
    config: PacsConfig
    profile: Chosen = field(default_factory=Chosen)
    """Of the PACS."""
    terms: Terms | None = None
    """None: nothing is de-identified."""

    def messages(self) -> Iterator[QueryRequested]:
        for row in self.queries.rows:
            yield QueryRequested(
                batch=self.batch, row=row.row, keys=row.keys, pseudonym=row.pseudonym
            )


def prepare(wishes: Wishes, data: Path) -> Submission:
    """Check options, configuration, profiles, CSV and output folder; `data` may hold the profiles.

    Raises InputError; starts nothing.
    """
    check_actions(wishes.actions, wishes.project)
    check_terms(wishes)
    check_afterwards(wishes)
    submission = prepare_plan(wishes, data)
    source = source_of(wishes.pseudonyms, wishes.new_ids)
    check_output(wishes.out)
    if source is not None:
        queries = with_names(submission.queries, source, wishes.project)
        submission = replace(submission, queries=queries)
    check_pseudonyms(submission.queries, wishes.actions)
    return _on_terms(submission, wishes, data)


def _on_terms(submission: Submission, wishes: Wishes, data: Path) -> Submission:
    """With the profile and the key that a release is made by."""
    if not wishes.actions.anonymize:
        return submission
    terms = terms_of(data, wishes.project, wishes.profile)
    update = {
        "profile": terms.profile.digest,
        "key_id": terms.key_id,
        "dates": dates_of(terms.profile),
        "afterwards": tuple(_told(submission.batch.afterwards, terms.profile)),
    }
    return replace(submission, batch=submission.batch.model_copy(update=update), terms=terms)


def _told(actions: Iterable[BatchAction], profile: Profile) -> Iterator[BatchAction]:
    """A data set tells age and sex if the profile keeps them."""
    for action in actions:
        if action.name == "bids" and RETAIN_PATIENT_CHARACTERISTICS in profile.options:
            options = {**action.options, "characteristics": "yes"}
            yield action.model_copy(update={"options": options})
        else:
            yield action


def bids_options(wishes: Wishes) -> dict[str, str] | None:
    """Of the batch action `bids`: rules, as text.

    Raises InputError for rules that are wrong, or without images to name.
    """
    if not (wishes.bids or wishes.bids_rules):
        return None
    if not wishes.actions.convert:
        raise InputError("--bids makes a data set of NIfTI files: add --convert")
    options: dict[str, str] = {}
    if wishes.bids_rules:
        load_rules(wishes.bids_rules)
        options["rules"] = wishes.bids_rules.read_text("utf-8")
    return options


def prepare_plan(wishes: Wishes, data: Path) -> Submission:
    """As `prepare`, without actions and output folder: what a dry run needs. Raises InputError."""
    config = read_config(wishes.config)
    profile = choose(data, config.node(), wishes.pacs_profile or config.profile)
    queries = read_queries(wishes.queryfile)
    moment = datetime.datetime.now(datetime.UTC)
    batch = Batch(
        batch_id=f"{moment:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}",
        rows=len(queries.rows),
        submitted_at=moment.isoformat(timespec="milliseconds"),
        pacs=profile.file.applied_to(config.node()),
        destination=config.move_aet if wishes.actions.move else config.aet,
        destination_node=config.destination_node() if wishes.actions.move else None,
        actions=wishes.actions,
        project=wishes.project,
        out=str(wishes.out.absolute()),
        batch_size=config.batch_size,
        batch_wait_s=config.batch_wait_time,
        priority=wishes.priority,
        refresh=wishes.refresh,
        pacsman_names=wishes.pacsman_names,
        name=wishes.queryfile.name,
        afterwards=batch_actions(
            wishes.actions,
            bids=bids_options(wishes),
            karnak=wishes.karnak,
            dicomdir=wishes.dicomdir,
            export=export_of(wishes, config),
        ),
    )
    return Submission(batch, queries, config, profile)


def check_actions(actions: Actions, project: str) -> None:
    """Raises InputError for no action, or for actions that exclude one another."""
    if not (actions.info or actions.retrieves or actions.move):
        raise InputError(
            "nothing to do: give at least one of --save, --info, --anonymize, --convert, --move"
        )
    if actions.move and actions.save:
        raise InputError(
            "--save and --move exclude each other: --save brings images here, "
            "--move sends them to move_AET of the configuration"
        )
    if actions.move and (actions.anonymize or actions.convert):
        raise InputError("--move only sends images to a third node: no --anonymize, no --convert")
    if actions.anonymize and not project:
        raise InputError("--anonymize needs --project NAME: pseudonyms are made for one project")
    if project and not PROJECT.fullmatch(project):
        raise InputError("--project: letters, digits, `_` and `-` only, at most 64")


def check_terms(wishes: Wishes) -> None:
    """Raises InputError for rules of a release that nobody asked for."""
    if wishes.actions.anonymize:
        return
    given = {
        "--profile": wishes.profile,
        "--new-ids": wishes.new_ids,
        "--pseudonyms": wishes.pseudonyms,
    }
    for option, value in given.items():
        if value:
            raise InputError(
                f"{option} is for a release: add --anonymize --project NAME "
                "(--pacs-profile names the profile of a PACS)"
            )


def check_afterwards(wishes: Wishes) -> None:
    """Raises InputError for a batch action that would have nothing to work on."""
    actions = wishes.actions
    if wishes.album and not actions.anonymize:
        raise InputError(
            "--karnak writes the pseudonyms of a release: add --anonymize --project NAME, or tag "
            "originals with `pacstream add-karnak-tags`"
        )
    if wishes.creator and not wishes.album:
        raise InputError("--karnak-creator is for --karnak ALBUM")
    for option, text in (("--karnak", wishes.album), ("--karnak-creator", wishes.creator)):
        if text and (problem := text_problem(text)):
            raise InputError(f"{option} {problem}")
    if wishes.export and not (actions.save or actions.anonymize):
        raise InputError("--export sends the files of --save or --anonymize: add one of them")
    if wishes.dicomdir and not (actions.save or actions.anonymize):
        raise InputError("--dicomdir lists the files of --save or --anonymize: add one of them")


def export_of(wishes: Wishes, config: PacsConfig) -> dict[str, str]:
    """The options of the batch action; empty if there is none. Raises InputError."""
    if not wishes.export:
        return {}
    address = wishes.export
    if "://" not in address:
        if address not in config.destinations:
            names = ", ".join(sorted(config.destinations)) or "none"
            raise InputError(f"--export: `destinations` of the configuration has {names}")
        address = config.destinations[address]
    destination = parse_destination(address)
    # what the address can't do is told now, and not after the last series
    carrier_of(destination, CarrierTerms(verify=Verify(wishes.export_verify)))
    return {"to": address, "verify": wishes.export_verify}


def check_pseudonyms(queries: QueryFile, actions: Actions) -> None:
    """Raises InputError for pseudonyms that would have no effect."""
    if not actions.anonymize and any(row.pseudonym for row in queries.rows):
        raise InputError(
            "the column new_ids gives pseudonyms for a release: add --anonymize --project NAME, "
            "or remove the column"
        )


def check_output(out: Path, least_free: int = LEAST_FREE_BYTES) -> None:
    """Raises InputError if `out` can't be made, can't be written to, or has not `least_free` bytes.

    Leaves nothing behind, not even a folder that was not there before.
    """
    problem = folder_problem(out, least_free)
    if problem:
        raise InputError(f"--out_directory {out} {problem}")


def folder_problem(folder: Path, least_free: int = LEAST_FREE_BYTES) -> str:
    """What keeps `folder` from being used, or empty. Leaves nothing behind."""
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    trial = folder / f".{uuid.uuid4().hex}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial.write_bytes(b"pacstream" * 8192)
        trial.unlink()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        cause = "is full" if error.errno == errno.ENOSPC else "can't be written to"
        return f"{cause} ({errno.errorcode.get(error.errno or 0, '?')})"
    finally:
        _remove(trial, made)
    return "" if free >= least_free else f"is full: only {free // 1_000_000} MB are free"


def _remove(trial: Path, made: list[Path]) -> None:
    """Undo what the check made. Folders that others have filled since stay."""
    with contextlib.suppress(OSError):
        trial.unlink()
    for folder in made:
        with contextlib.suppress(OSError):
            folder.rmdir()
