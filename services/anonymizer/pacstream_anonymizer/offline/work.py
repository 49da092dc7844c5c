"""The instances of one series: released, or kept in quarantine. Runs in any process."""

from __future__ import annotations

import filecmp
import hashlib
import itertools
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pacstream.archive import UID, Archive, replacing
from pacstream.durable import FileGroup
from pacstream.errors import RejectedError
from pacstream.pseudonyms import ProjectKey
from pacstream_anonymizer.audit import Auditor
from pacstream_anonymizer.cleaner import Trail
from pacstream_anonymizer.decisions import Decisions
from pacstream_anonymizer.deidentifier import Release, Released, Withheld, disk_error
from pacstream_anonymizer.offline.book import DUPLICATE, RELEASED, WITHHELD, Entry
from pacstream_anonymizer.offline.inventory import File
from pacstream_anonymizer.profile import Profile
from pacstream_anonymizer.release import link_or_copy
from pacstream_anonymizer.second_look import look_for
from pacstream_anonymizer.triage import Wanted

GROUP = 64
"""Files that become durable together."""


@dataclass(frozen=True)
class Bench:
    """What all series have in common; `scratch` is a folder in the trusted zone for trials."""

    source: Path
    out: Path
    data: Path
    scratch: Path
    key: ProjectKey
    profile: Profile
    ocr: bool = False
    project: str = ""
    audit: str = ""
    """What the audit calls the pair of folders."""


@dataclass(frozen=True)
class Item:
    """An instance to release to `target`. `rival` is a released file of the same SOP Instance UID
    that came from another file. Both are relative to the output folder; `is_ours`: what lies at
    `target` came from this very file."""

    file: File
    sop_instance_uid: str
    target: str = field(repr=False)
    rival: str = field(default="", repr=False)
    is_ours: bool = False


@dataclass(frozen=True)
class Task:
    """A series: its instances share what the engine remembers."""

    wanted: Wanted
    pseudonym: str
    folder: str = field(repr=False)
    items: tuple[Item, ...] = ()


def entries_of(task: Task, bench: Bench) -> Iterator[list[Entry]]:
    """What became of the instances, a group at a time: all files of a group are durable.

    Raises RetryLaterError `disk` if the disk fails.
    """
    with FileGroup() as files:
        auditor = Auditor(bench.data, bench.audit, bench.project, bench.key, bench.profile)
        release = _release(task, bench, bench.out / task.folder, files, auditor.touched)
        items = iter(task.items)
        while group := list(itertools.islice(items, GROUP)):
            results = []
            for item in group:
                auditor.begin()
                result = _result(item, task, bench, release)
                auditor.end(item.sop_instance_uid, result)
                results.append((item, result))
            if files.commit():
                raise disk_error()
            auditor.write()
            for item, result in results:
                _leave_quarantine(item, result, task, bench)
            yield [_entry(item, result, bench) for item, result in results]


def _release(
    task: Task, bench: Bench, folder: Path, files: FileGroup, trail: Trail | None
) -> Release:
    return Release(
        task.wanted,
        bench.key,
        lambda _: folder,
        files,
        task.pseudonym,
        profile=bench.profile,
        look=look_for(ocr=bench.ocr or bench.profile.second_look),
        trail=trail,
    )


def _result(item: Item, task: Task, bench: Bench, release: Release) -> Released | Withheld:
    source = bench.source / item.file.path
    there = bench.out / (item.rival or item.target)
    try:
        if item.rival or (not item.is_ours and there.exists()):
            result = _compared(there, source, item, task, bench, release.trail)
        else:
            waived = waived_for(bench.data, item.sop_instance_uid, source)
            result = release.add(source, item.sop_instance_uid, waived)
    except RejectedError as error:
        if error.code != "original_missing":
            raise
        return Withheld("original_missing")
    if isinstance(result, Withheld):
        name = f"{task.wanted.series_uid}-{item.sop_instance_uid}"
        keep_back(Archive(bench.data), source, result.reason, name, item.file)
    return result


def waived_for(data: Path, sop_instance_uid: str, source: Path) -> frozenset[str]:
    """The reasons that an operator has let this very content pass, for no batch in particular."""
    try:
        return Decisions(Archive(data).decisions).waived("", sop_instance_uid, source)
    except FileNotFoundError:
        return frozenset()
    except OSError:
        raise disk_error() from None


def _compared(
    there: Path, source: Path, item: Item, task: Task, bench: Bench, trail: Trail | None
) -> Released | Withheld:
    """`there` itself if the instance would become just that: one SOP Instance UID, one content."""
    with FileGroup() as files:
        trial = _release(task, bench, bench.scratch / uuid.uuid4().hex, files, trail)
        waived = waived_for(bench.data, item.sop_instance_uid, source)
        result = trial.add(source, item.sop_instance_uid, waived)
        if isinstance(result, Withheld):
            return result
        if files.commit():
            raise disk_error()
    is_same = there.exists() and filecmp.cmp(result.path, there, shallow=False)
    result.path.unlink()
    return Released(there) if is_same else Withheld("duplicate_uid")


def _leave_quarantine(item: Item, result: Released | Withheld, task: Task, bench: Bench) -> None:
    """What an operator has let pass is not kept back any more."""
    reasons = result.waived if isinstance(result, Released) else ()
    name = f"{task.wanted.series_uid}-{item.sop_instance_uid}.dcm"
    try:
        for reason in reasons:
            kept = Archive(bench.data).quarantine / reason / name
            if kept.exists() and filecmp.cmp(bench.source / item.file.path, kept, shallow=False):
                kept.unlink()
    except OSError:
        raise disk_error() from None


def _entry(item: Item, result: Released | Withheld, bench: Bench) -> Entry:
    if isinstance(result, Withheld):
        return Entry(item.file, WITHHELD, result.reason)
    if item.rival:
        return Entry(item.file, DUPLICATE, "same_content")
    status = result.path.stat()
    target = str(result.path.relative_to(bench.out))
    return Entry(item.file, RELEASED, "", target, status.st_size, status.st_mtime_ns)


def keep_back(archive: Archive, source: Path, reason: str, name: str, file: File) -> Path:
    """Keep a file in quarantine; another content of the same name is not touched.

    `name` is `<series UID>-<SOP Instance UID>`; what is no such name is replaced. Raises
    RetryLaterError `disk`.
    """
    mark = hashlib.blake2s(os.fsencode(file.path), digest_size=6).hexdigest()
    is_safe = all(UID.fullmatch(part) for part in name.split("-"))
    folder = archive.quarantine / reason
    first, second = (f"{name}.dcm", f"{name}-{mark}.dcm") if is_safe else (f"file-{mark}",) * 2
    try:
        source = source.resolve(strict=True)
        for target in (folder / first, folder / second):
            if not target.exists() or filecmp.cmp(source, target, shallow=False):
                break
        if not target.exists():
            with replacing(target) as part:
                link_or_copy(source, part)
    except OSError:
        raise disk_error() from None
    return target
