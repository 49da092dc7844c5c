"""From what lies in a folder and what the book knows to what is to be done."""

from __future__ import annotations

import filecmp
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pacstream.messages import Dates
from pacstream.pseudonyms import ProjectKey, Subject
from pacstream_anonymizer.offline.book import (
    DUPLICATE,
    PLANNED,
    RELEASED,
    Book,
    Entry,
)
from pacstream_anonymizer.offline.inventory import File, Instance, Inventory
from pacstream_anonymizer.offline.layout import Layout, patient_folder, series_name, session
from pacstream_anonymizer.offline.work import Item, Task
from pacstream_anonymizer.triage import Wanted

Names = Mapping[tuple[str, str], str]
"""Pseudonyms that the user gave, by patient ID and issuer."""


@dataclass(frozen=True)
class Places:
    """How output paths are made."""

    job: str
    out: Path
    layout: Layout
    key: ProjectKey
    dates: Dates
    keep_patient_folders: bool = False


@dataclass(frozen=True)
class Plan:
    """`kept_back` is withheld before the engine sees it; `copies` are files with the content of
    another one, and end as that one does; `waiting` are other contents of a UID whose first file
    may yet be withheld, as a truncated one is."""

    tasks: list[Task] = field(default_factory=list)
    kept_back: list[tuple[Instance, str]] = field(default_factory=list)
    copies: list[File] = field(default_factory=list)
    waiting: list[File] = field(default_factory=list)
    done: list[Entry] = field(default_factory=list)


def subject_of(instance: Instance, names: Names) -> Subject:
    subject = Subject.of(instance.patient_id, instance.issuer, instance.study_uid)
    given = names.get((subject.patient_id, subject.issuer), "")
    return Subject(subject.patient_id, subject.issuer, given)


def make_plan(
    inventory: Inventory,
    entries: Mapping[str, Entry],
    names: Names,
    places: Places,
    book: Book,
    source: Path,
    *,
    may_pass: Callable[[Instance], bool],
    without_identifiable: bool,
) -> Plan:
    """The plan, and in the book the folders of its series. `may_pass`: whether something has been
    decided about an instance since it was withheld."""
    plan = Plan()
    released = _released_uids(entries)
    todo: dict[tuple[Subject, str, str], list[tuple[Instance, str]]] = defaultdict(list)
    for same in _by_uid(inventory.instances).values():
        first = _first(same, entries)
        for instance in same:
            entry = entries.get(instance.file.path)
            if entry and is_done(entry, instance.file, places.out) and not may_pass(instance):
                plan.done.append(entry)
            elif without_identifiable and is_identifiable(instance):
                plan.kept_back.append((instance, "identifiable"))
            elif instance is first:
                rival = released.get(places.key.uid(instance.sop_instance_uid))
                series = subject_of(instance, names), instance.study_uid, instance.series_uid
                todo[series].append((instance, _rivals_target(rival, instance)))
            elif _are_equal(source, first.file, instance.file):
                plan.copies.append(instance.file)
            elif _is_released(first, entries):
                plan.kept_back.append((instance, "duplicate_uid"))
            else:
                plan.waiting.append(instance.file)
    for (subject, _, _), instances in todo.items():
        plan.tasks.append(_task(subject, instances, entries, places, book))
    return plan


def is_done(entry: Entry, file: File, out: Path) -> bool:
    """Whether the file is the one the entry is about, and its release lies where it was put."""
    if entry.outcome == PLANNED or entry.file != file:
        return False
    return entry.outcome != RELEASED or lies_there(entry, out)


def lies_there(entry: Entry, out: Path) -> bool:
    try:
        status = (out / entry.target).stat()
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (entry.target_size, entry.target_mtime_ns)


def is_identifiable(instance: Instance) -> bool:
    """What PACSMAN's `--delete_identifiable` deleted: screenshots, secondary CT images, reports."""
    kinds, modality = instance.image_type, instance.modality.upper()
    return (
        any("SCREEN SAVE" in kind for kind in kinds)
        or ("SECONDARY" in kinds and "CT" in modality)
        or "SR" in modality
    )


def _by_uid(instances: Iterable[Instance]) -> dict[str, list[Instance]]:
    found: dict[str, list[Instance]] = defaultdict(list)
    for instance in instances:
        found[instance.sop_instance_uid].append(instance)
    return found


def _first(same: Sequence[Instance], entries: Mapping[str, Entry]) -> Instance:
    """The one that is released already, or the first path of those that may be."""

    def order(instance: Instance) -> tuple[bool, bool, str]:
        entry = entries.get(instance.file.path)
        outcome = entry.outcome if entry and entry.file == instance.file else ""
        is_out = outcome not in ("", PLANNED, RELEASED)
        return is_out, not _is_released(instance, entries), instance.file.path

    return min(same, key=order)


def _is_released(instance: Instance, entries: Mapping[str, Entry]) -> bool:
    entry = entries.get(instance.file.path)
    return entry is not None and entry.outcome == RELEASED and entry.file == instance.file


def _released_uids(entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """Released files by their mapped SOP Instance UID."""
    return {Path(e.target).stem: e for e in entries.values() if e.outcome == RELEASED}


def _rivals_target(rival: Entry | None, instance: Instance) -> str:
    return rival.target if rival and rival.file.path != instance.file.path else ""


def _are_equal(source: Path, one: File, other: File) -> bool:
    """A file that can't be read is equal to no other."""
    try:
        return filecmp.cmp(source / one.path, source / other.path, shallow=False)
    except OSError:
        return False


def _task(
    subject: Subject,
    instances: Sequence[tuple[Instance, str]],
    entries: Mapping[str, Entry],
    places: Places,
    book: Book,
) -> Task:
    first = instances[0][0]
    folder = _folder(subject, first, places, book)
    items = []
    for instance, rival in instances:
        target = f"{folder}/{places.key.uid(instance.sop_instance_uid)}.dcm"
        known = entries.get(instance.file.path)
        is_ours = known is not None and known.target == target
        items.append(Item(instance.file, instance.sop_instance_uid, target, rival, is_ours))
    wanted = Wanted(first.study_uid, first.series_uid, first.patient_id)
    return Task(wanted, subject.pseudonym, folder, tuple(items))


def _folder(subject: Subject, instance: Instance, places: Places, book: Book) -> str:
    key = places.key
    name, study, series = subject.name(key), key.uid(instance.study_uid), instance.series_uid
    if places.layout is Layout.UIDS:
        return f"{name}/{study}/{key.uid(series)}"
    patient = patient_folder(instance.file.path) if places.keep_patient_folders else ""
    patient = patient or f"sub-{name}"
    visit = session(instance, key, places.dates, subject.shift_days(key))
    owner = f"{patient}|{name}|{study}|{key.uid(series)}"
    return book.series_folder(places.job, owner, f"{patient}/{visit}", series_name(instance))


def planned(plan: Plan) -> list[Entry]:
    """What the book has to know before the first file is written."""
    return [
        Entry(item.file, PLANNED, "", item.target)
        for task in plan.tasks
        for item in task.items
        if not item.rival
    ]


def copies(plan: Plan) -> list[Entry]:
    return [Entry(file, DUPLICATE, "same_content") for file in plan.copies]
