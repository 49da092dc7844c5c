"""A folder from beginning to end: look, plan, release, keep back, tell."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from pacstream import logs
from pacstream.archive import Archive
from pacstream.errors import InputError, PacstreamError, RejectedError, RetryLaterError
from pacstream.keys import KeyRing
from pacstream.messages import Dates
from pacstream.pseudonyms import ProjectKey
from pacstream_anonymizer.offline import book as booking
from pacstream_anonymizer.offline import crew, plan, records
from pacstream_anonymizer.offline.book import Book, Entry, Job
from pacstream_anonymizer.offline.inventory import (
    Instance,
    Inventory,
    Unplanned,
    take_inventory,
)
from pacstream_anonymizer.offline.layout import Layout, is_pacsmans
from pacstream_anonymizer.offline.new_ids import Entry as NewId
from pacstream_anonymizer.offline.people import name_people
from pacstream_anonymizer.offline.reasons import NO_INSTANCE, STAY
from pacstream_anonymizer.offline.work import Bench, keep_back, waived_for
from pacstream_anonymizer.profile import Profile

WORTH_A_PROCESS = 200
"""Instances; a process takes half a second until it can do the first."""

Progress = Callable[[int, int], None]
"""Told how many instances of how many are through."""


@dataclass(frozen=True)
class Wish:
    """What the user wants. `layout`: None for PACSMAN's if the folder has it, else UIDS.
    `new_ids`: None if pseudonyms are the key's. `workers`: None for what suits machine and folder.
    """

    source: Path
    out: Path
    data: Path
    project: str
    ring: KeyRing
    profile: Profile
    dates: Dates
    layout: Layout | None = None
    new_ids: Sequence[NewId] | None = None
    without_identifiable: bool = False
    keep_patient_folders: bool = False
    workers: int | None = 1
    ocr: bool = False

    @property
    def in_place(self) -> bool:
        return self.source == self.out

    @property
    def job(self) -> str:
        """The name of the pair of folders."""
        pair = os.fsencode(self.source) + b"\0" + os.fsencode(self.out)
        return hashlib.blake2s(pair, digest_size=8).hexdigest()

    @property
    def audit(self) -> str:
        """What the audit calls it, among batches."""
        return f"offline-{self.job}"


@dataclass(frozen=True)
class Summary:
    """What became of the files of a folder. `before`: so many were released by an earlier run;
    `patients`: so many have something in the release."""

    layout: Layout
    is_fallback: bool
    key_id: str
    instances: int
    released: int
    before: int
    duplicates: int
    withheld: dict[str, int]
    others: dict[str, int]
    patients: int
    records: Path = field(repr=False)
    report: Path = field(repr=False)

    @property
    def is_whole(self) -> bool:
        """Every DICOM instance was released."""
        return not self.withheld


def check_zones(source: Path, out: Path, data: Path) -> None:
    """Raises InputError unless the trusted zone and the originals lie apart from the output. All
    paths are resolved ones."""
    if not source.is_dir():
        raise InputError("--in_folder is no folder")
    if out.exists() and not out.is_dir():
        raise InputError("--out_folder is no folder")
    if data.is_relative_to(out):
        raise InputError(
            "the trusted zone (--data, PACSTREAM_DATA, or .pacstream here) would lie inside "
            "--out_folder, and with it keys and originals: give another --data"
        )
    if out.is_relative_to(data):
        raise InputError("--out_folder lies inside the trusted zone: nobody may be given that")
    if source != out and source.is_relative_to(out):
        raise InputError(
            "--in_folder lies inside --out_folder: originals would lie in the release. Give "
            "another --out_folder, or the same folder twice to work in place"
        )


def run(wish: Wish, progress: Progress = lambda done, total: None) -> Summary:
    """De-identify a folder. What an earlier run has done is not done again.

    Raises InputError for all that can be known before the start, RetryLaterError `disk` or
    `worker_lost`, and RejectedError `error` for a defect; what is done by then stays done.
    """
    try:
        with contextlib.closing(Book(wish.data / "offline")) as book, book.alone(wish.job):
            return _Run(wish, book).run(progress)
    except PacstreamError:
        raise
    except (OSError, sqlite3.Error) as error:
        what = type(error).__name__
        raise RetryLaterError(f"a file can't be read or written ({what})", code="disk") from None
    except Exception as error:  # noqa: BLE001 - its text may quote a value, or a path
        what = f"{type(error).__name__} at {logs.place_of(error.__traceback__)}"
        raise RejectedError(f"a defect: {what}", code="error") from None


class _Run:
    def __init__(self, wish: Wish, book: Book) -> None:
        self._wish = wish
        self._book = book
        self._archive = Archive(wish.data)
        self._entries = book.entries(wish.job)
        self._scratch = self._archive.run / "offline" / wish.job
        self._redone: set[str] = set()

    def run(self, progress: Progress) -> Summary:
        inventory = self._inventory()
        job = self._settled(inventory)
        key = self._wish.ring.key(job.key_id)
        before = {path for path, one in self._entries.items() if one.outcome == booking.RELEASED}
        made = self._planned(inventory, job, key)
        self._work_off(made, key, progress)
        while made.waiting:
            made = self._planned(inventory, job, key)
            self._work_off(made, key, progress)
        self._keep_rest(inventory.rest)
        if self._wish.in_place:
            self._clear(made, inventory)
            remove_empty_folders(self._wish.source)
        return self._summary(job, before)

    def _work_off(self, made: plan.Plan, key: ProjectKey, progress: Progress) -> None:
        self._release(made, key, progress)
        self._keep_back(made)
        self._done(plan.copies(made))

    def _inventory(self) -> Inventory:
        wish = self._wish
        without = {folder for folder in (wish.out, wish.data) if folder != wish.source}
        results = {entry.target for entry in self._entries.values() if entry.target}
        inventory = take_inventory(wish.source, without, results if wish.in_place else ())
        lost = [one for one in inventory.rest if one.reason not in NO_INSTANCE]
        if not (inventory.instances or lost or self._entries):
            raise InputError("there is no DICOM instance below --in_folder that can be read")
        self._forget_gone(inventory)
        return inventory

    def _forget_gone(self, inventory: Inventory) -> None:
        """Files that have left the folder by no doing of ours, with what the book says of them."""
        wish = self._wish
        here = {one.file.path for one in inventory.instances}
        here |= {one.file.path for one in inventory.rest}
        left = [entry for path, entry in self._entries.items() if path not in here]
        gone = [one.file.path for one in left if not (wish.in_place and _is_over(one, wish.out))]
        for path in gone:
            del self._entries[path]
        self._book.drop(wish.job, gone)

    def _settled(self, inventory: Inventory) -> Job:
        """What holds for the pair of folders since its first run."""
        wish, book = self._wish, self._book
        rules = json.dumps(
            {"profile": wish.profile.digest, "keep_patient_dir_names": wish.keep_patient_folders}
        )
        job = book.job(wish.job)
        if job is None:
            layout = wish.layout or (
                Layout.PACSMAN
                if is_pacsmans(one.file.path for one in inventory.instances)
                else Layout.UIDS
            )
            if wish.keep_patient_folders and layout is not Layout.PACSMAN:
                raise InputError(
                    "--keep_patient_dir_names needs the layout sub-*/ses-*/<series>/<file>"
                )
            key_id = wish.profile.key_id or wish.ring.current_id
            return Job(wish.project, rules, layout, key_id)
        same_layout = wish.layout is None or wish.layout == job.layout
        if (job.project, job.rules) != (wish.project, rules) or not same_layout:
            raise InputError(
                "an earlier run on these folders had another project, profile or layout: take "
                "another --out_folder, or one file would be released under two names"
            )
        return job

    def _planned(self, inventory: Inventory, job: Job, key: ProjectKey) -> plan.Plan:
        """The plan, which is in the book on return."""
        wish, book = self._wish, self._book
        places = plan.Places(
            wish.job, wish.out, Layout(job.layout), key, wish.dates, wish.keep_patient_folders
        )
        with book.at_once():
            names = name_people(inventory.instances, wish.new_ids, job, key, wish.dates, book)
            made = plan.make_plan(
                inventory,
                self._entries,
                names,
                places,
                book,
                wish.source,
                may_pass=self._may_pass,
                without_identifiable=wish.without_identifiable,
            )
            if book.job(wish.job) is None:
                book.add_job(wish.job, wish.source, wish.out, job)
            self._note(plan.planned(made))
        records.write_people(book, wish.data, job)
        return made

    def _may_pass(self, instance: Instance) -> bool:
        path = instance.file.path
        known, source = self._entries.get(path), self._wish.source / path
        if known is None or known.outcome != booking.WITHHELD:
            return False
        return known.reason in waived_for(self._wish.data, instance.sop_instance_uid, source)

    def _release(self, made: plan.Plan, key: ProjectKey, progress: Progress) -> None:
        wish = self._wish
        shutil.rmtree(self._scratch, ignore_errors=True)
        bench = Bench(
            wish.source, wish.out, wish.data, self._scratch, key, wish.profile,
            wish.ocr, wish.project, wish.audit,
        )  # fmt: skip
        items = [item for task in made.tasks for item in task.items]
        self._redone |= {item.file.path for item in items}
        total = len(items)
        done = 0
        progress(done, total)
        try:
            for entries in crew.results(made.tasks, bench, wish.workers or workers_for(total)):
                self._done(entries)
                done += len(entries)
                progress(done, total)
        finally:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _keep_back(self, made: plan.Plan) -> None:
        for instance, reason in made.kept_back:
            self._keep(instance, reason)
            self._done([Entry(instance.file, booking.WITHHELD, reason)])

    def _keep(self, instance: Instance, reason: str) -> None:
        name = f"{instance.series_uid}-{instance.sop_instance_uid}"
        source = self._wish.source / instance.file.path
        keep_back(self._archive, source, reason, name, instance.file)

    def _clear(self, made: plan.Plan, inventory: Inventory) -> None:
        """Sources that a killed run left, or that somebody has put back: a withheld one goes only
        if it is in quarantine."""
        here = {instance.file.path: instance for instance in inventory.instances}
        left = [one for one in made.done if (self._wish.source / one.file.path).exists()]
        for entry in left:
            if entry.outcome == booking.WITHHELD:
                self._keep(here[entry.file.path], entry.reason)
        self._remove_sources(left)

    def _keep_rest(self, rest: Iterable[Unplanned]) -> None:
        for one in rest:
            is_instance = one.reason not in NO_INSTANCE
            known = self._entries.get(one.file.path)
            if known is not None and known.file == one.file and not self._wish.in_place:
                continue
            if one.reason not in STAY and (is_instance or self._wish.in_place):
                source = self._wish.source / one.file.path
                keep_back(self._archive, source, one.reason, "", one.file)
            outcome = booking.WITHHELD if is_instance else booking.OTHER
            self._done([Entry(one.file, outcome, one.reason)])

    def _done(self, entries: Sequence[Entry]) -> None:
        """First the book, then the source, if it is replaced or kept elsewhere."""
        if not entries:
            return
        with self._book.at_once():
            self._note(entries)
        if self._wish.in_place:
            self._remove_sources(entries)

    def _note(self, entries: Sequence[Entry]) -> None:
        self._book.write(self._wish.job, entries)
        self._entries |= {entry.file.path: entry for entry in entries}

    def _remove_sources(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if entry.reason not in STAY and entry.reason != "original_missing":
                (self._wish.source / entry.file.path).unlink(missing_ok=True)

    def _summary(self, job: Job, before: Set[str]) -> Summary:
        wish, entries = self._wish, list(self._entries.values())
        outcomes = Counter(entry.outcome for entry in entries)

        def reasons(outcome: str) -> dict[str, int]:
            found = Counter(one.reason for one in entries if one.outcome == outcome)
            return dict(sorted(found.items()))

        report = records.write_report(wish.data, job, wish.job, entries)
        released = {e.file.path for e in entries if e.outcome == booking.RELEASED}
        others = sum(reasons(booking.OTHER).values())
        return Summary(
            layout=Layout(job.layout),
            is_fallback=wish.layout is None and job.layout == Layout.UIDS,
            key_id=job.key_id,
            instances=len(entries) - others,
            released=outcomes[booking.RELEASED],
            before=len(released & (before - self._redone)),
            duplicates=outcomes[booking.DUPLICATE],
            withheld=reasons(booking.WITHHELD),
            others=reasons(booking.OTHER),
            patients=len({PurePath(e.target).parts[0] for e in entries if e.target}),
            records=records.folder(wish.data, job.project),
            report=report,
        )


def workers_for(instances: int) -> int:
    """One for each core, but none for so few instances that it would hardly have begun."""
    return max(1, min(len(os.sched_getaffinity(0)), instances // WORTH_A_PROCESS))


def _is_over(entry: Entry, out: Path) -> bool:
    """Whether a file's source is gone because its release is there, or it is kept elsewhere."""
    if entry.outcome == booking.PLANNED:
        return False
    return entry.outcome != booking.RELEASED or plan.lies_there(entry, out)


def remove_empty_folders(root: Path) -> None:
    """Folders are named for patients, too."""
    for folder, _, _ in os.walk(root, topdown=False):
        if Path(folder) != root:
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
