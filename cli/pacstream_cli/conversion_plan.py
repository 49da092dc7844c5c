"""What `pacstream convert` finds in a folder: series, told apart by UID, and the rest."""

from __future__ import annotations

import filecmp
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pacstream.messages import Series
from pacstream.pseudonyms import ProjectKey, Subject
from pacstream_anonymizer.offline.inventory import Instance, Inventory
from pacstream_converter.folder import FolderSeries

Names = Mapping[tuple[str, str], str]
"""Pseudonyms that the user gave, by patient ID and issuer."""


@dataclass(frozen=True)
class Found:
    """`modalities` by stem; `rest` are files that take no part in any series, with the reason."""

    series: list[FolderSeries] = field(default_factory=list)
    modalities: dict[Path, str] = field(default_factory=dict)
    rest: dict[str, str] = field(default_factory=dict, repr=False)


def find_series(
    inventory: Inventory, source: Path, out: Path, key: ProjectKey, names: Names
) -> Found:
    """The series of a folder, and where their products go: `<pseudonym>/<study>/<series>…` with
    mapped UIDs, as `pacstream anonymize --any-layout` has it."""
    found = Found(rest={one.file.path: one.reason for one in inventory.rest})
    groups: dict[tuple[Subject, str, str], list[Instance]] = defaultdict(list)
    for one in inventory.instances:
        subject = _subject(one, names)
        groups[subject, one.study_uid, one.series_uid].append(one)
    for (subject, study, series), instances in sorted(groups.items(), key=lambda g: g[0][1:]):
        stem = out / subject.name(key) / key.uid(study) / key.uid(series)
        first = instances[0]
        files = _distinct(instances, source, found.rest)
        found.series.append(FolderSeries(_series(first), files, stem, key))
        found.modalities[stem] = re.sub(r"[^A-Z0-9]", "", first.modality.upper())[:8]
    return found


def _subject(instance: Instance, names: Names) -> Subject:
    subject = Subject.of(instance.patient_id, instance.issuer, instance.study_uid)
    given = names.get((subject.patient_id, subject.issuer), "")
    return Subject(subject.patient_id, subject.issuer, given)


def _distinct(instances: Iterable[Instance], source: Path, rest: dict[str, str]) -> dict[str, Path]:
    """Files by SOP Instance UID. Of two with the same one the first path counts."""
    files: dict[str, Path] = {}
    for one in sorted(instances, key=lambda one: one.file.path):
        path = source / one.file.path
        first = files.setdefault(one.sop_instance_uid, path)
        if first is not path:
            same = filecmp.cmp(first, path, shallow=False)
            rest[one.file.path] = "same_content" if same else "duplicate_uid"
    return files


def _series(instance: Instance) -> Series:
    return Series(
        study_uid=instance.study_uid,
        series_uid=instance.series_uid,
        patient_id=instance.patient_id,
        study_date=instance.study_date,
        study_time=instance.study_time,
        number=instance.number,
        modality=instance.modality,
    )
