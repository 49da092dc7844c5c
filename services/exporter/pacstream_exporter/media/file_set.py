"""A file-set: copies of a folder's instances under media names, and the DICOMDIR that lists them.

    OUT/DICOMDIR
    OUT/<patient>/<study>/<series>/<instance>

The DICOMDIR comes last. Until then there are copies and no file-set, or the file-set of an earlier
run, whose files are all still there. A run that was killed is started again and goes on.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import Dataset
from pydicom.uid import UID, generate_uid

from pacstream.archive import UID as UID_FORM
from pacstream.archive import write_atomically
from pacstream.durable import FileGroup
from pacstream.errors import InputError, RetryLaterError
from pacstream_exporter.disk import copy_content, open_original, same_content
from pacstream_exporter.folder import LeftOut, NotUsableError, files_below, read_header
from pacstream_exporter.media.directory import Node, dicomdir
from pacstream_exporter.media.names import Names
from pacstream_exporter.media.records import (
    FOLDERS,
    TAGS,
    Described,
    Fills,
    moment_of,
    text_of,
)

DICOMDIR = "DICOMDIR"
FILE_SET_ID = "PACSTREAM"
GROUP = 64
"""Files that become durable together."""

ON_MEDIA = frozenset(
    {
        "1.2.840.10008.1.2.1",
        *(f"1.2.840.10008.1.2.4.{one}" for one in (50, 51, 70, 90, 91)),
        *(f"1.2.840.10008.1.2.4.{one}" for one in (100, 101, 102, 103, 104, 105, 106, 107, 108)),
    }
)
"""Transfer syntaxes of some General Purpose profile (PS3.11 Annexes D, H, J): explicit VR little
endian, JPEG baseline, extended and lossless, JPEG 2000, MPEG-2, MPEG-4 and HEVC."""

Place = tuple[str, ...]
"""A File ID, or the beginning of one: a folder."""

Progress = Callable[[int, int], None]
"""Told how many files of how many are through."""


@dataclass(frozen=True)
class Member:
    """An instance on its way to the media; `patient` is what tells its patient from others, and
    `moment` the date and time of its study, as far as the instance knows."""

    path: Path = field(repr=False)
    patient: str = field(repr=False)
    study: str
    series: str
    instance: str
    series_number: int
    number: int | None
    moment: tuple[str, str] = field(repr=False)


@dataclass
class Summary:
    """What became of the files of a folder. `filled`: how many instances lacked a value that the
    DICOMDIR now has; `off_profile`: how many have a transfer syntax of no General Purpose profile.
    """

    instances: int = 0
    written: int = 0
    before: int = 0
    duplicates: int = 0
    left_out: list[LeftOut] = field(default_factory=list)
    filled: Counter[str] = field(default_factory=Counter)
    off_profile: Counter[str] = field(default_factory=Counter)
    through: int = 0
    going_on: bool = False

    def leave_out(self, path: Path, why: NotUsableError) -> None:
        self.left_out.append(LeftOut(str(path), why.reason, why.detail))

    @property
    def is_whole(self) -> bool:
        """Every instance of the folder is on the media."""
        return not any(one.is_loss for one in self.left_out)


def check_folders(source: Path, out: Path) -> None:
    """Raises InputError unless two resolved paths are folders that lie apart."""
    if not source.is_dir():
        raise InputError("--in_folder is no folder")
    if out.exists() and not out.is_dir():
        raise InputError("--out_folder is no folder")
    if out == source or out.is_relative_to(source):
        raise InputError("--out_folder lies inside --in_folder: give one that lies apart")
    if source.is_relative_to(out):
        raise InputError("--in_folder lies inside --out_folder: give one that lies apart")


def create_file_set(
    sources: Sequence[Path],
    out: Path,
    progress: Progress = lambda done, total: None,
    may_go_on: Callable[[], bool] = lambda: True,
) -> Summary:
    """Make `out` a file-set of all instances below the folders `sources`. Files that are there
    already stay. When `may_go_on` says no, there is no DICOMDIR yet, and the next call goes on.

    Raises InputError if there is no instance, if `out` holds what is not of these instances, or if
    there is no room; RetryLaterError `disk`.
    """
    for source in sources:
        check_folders(source, out)
    summary = Summary()
    members = _unique(_members(sources, summary), summary)
    if not members:
        raise InputError("there is no DICOM instance below --in_folder that can be read")
    places = _places(members)
    _check_out(out, places.values())
    writer = _Writer(out, members, places)
    try:
        _check_room(members, places, out)
        for group in _groups(members):
            if not may_go_on():
                summary.going_on = True
                return summary
            _write(group, writer, summary)
            progress(summary.through, len(members))
        if writer.roots:
            write_atomically(out / DICOMDIR, _directory(writer.roots, members))
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, type(error).__name__)
        raise RetryLaterError(f"--out_folder can't be written ({name})", code="disk") from None
    return summary


def _groups(members: Sequence[Member]) -> Iterator[Sequence[Member]]:
    for start in range(0, len(members), GROUP):
        yield members[start : start + GROUP]


def _members(sources: Sequence[Path], summary: Summary) -> Iterator[Member]:
    for path, problem in (found for source in sources for found in files_below(source)):
        try:
            if problem:
                raise NotUsableError(problem)
            member = _member(path, read_header(path, TAGS))
        except NotUsableError as error:
            summary.leave_out(path, error)
            summary.instances += summary.left_out[-1].is_loss
            continue
        summary.instances += 1
        yield member


def _member(path: Path, header: Dataset) -> Member:
    uids = {}
    for keyword in ("SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        uids[keyword] = text_of(header, keyword)
        if not UID_FORM.fullmatch(uids[keyword]):
            raise NotUsableError("missing_uid", keyword)
    if not header.file_meta.get("TransferSyntaxUID"):
        raise NotUsableError("missing_uid", "TransferSyntaxUID")
    study = uids["StudyInstanceUID"]
    patient_id, issuer = text_of(header, "PatientID"), text_of(header, "IssuerOfPatientID")
    number = text_of(header, "InstanceNumber")
    return Member(
        path,
        # Without an ID, the study is all that tells patients apart.
        patient=f"id\0{patient_id}\0{issuer}" if patient_id else f"study\0{study}",
        study=study,
        series=uids["SeriesInstanceUID"],
        instance=uids["SOPInstanceUID"],
        series_number=int(text_of(header, "SeriesNumber") or 0),
        number=int(number) if number else None,
        moment=moment_of(header),
    )


def _unique(members: Iterable[Member], summary: Summary) -> list[Member]:
    """One file for each SOP Instance UID: the first path. Another content of it is left out."""
    found: dict[str, Member] = {}
    for member in members:
        first = found.setdefault(member.instance, member)
        if first is member:
            continue
        if first.path.samefile(member.path) or same_content(first.path, member.path):
            summary.duplicates += 1
        else:
            summary.leave_out(member.path, NotUsableError("duplicate_uid"))
    return _sorted(found.values())


def _sorted(members: Collection[Member]) -> list[Member]:
    """By patient, date, series number and instance number; studies and series are not torn apart,
    whatever their instances say of them."""
    moments: dict[str, tuple[str, str]] = {}
    numbers: dict[str, int] = {}
    for one in members:
        moments[one.study] = min(one.moment, moments.get(one.study, one.moment))
        numbers[one.series] = min(one.series_number, numbers.get(one.series, one.series_number))

    def place(one: Member) -> tuple[object, ...]:
        study = (moments[one.study], one.study)
        series = (numbers[one.series], one.series)
        return (one.patient, study, series, one.number is None, one.number or 0, one.instance)

    return sorted(members, key=place)


def _places(members: Sequence[Member]) -> dict[str, Place]:
    """The File ID of each SOP Instance UID."""
    folders: dict[Place, Names] = {}
    places = {}
    for member in members:
        place: Place = ()
        for identity in (member.patient, member.study, member.series, member.instance):
            place = (*place, folders.setdefault(place, Names()).of(identity))
        places[member.instance] = place
    return places


def _check_out(out: Path, places: Collection[Place]) -> None:
    """Raises InputError if there are other files in `out` than an earlier run's."""
    planned = {out.joinpath(*place) for place in places} | {out / DICOMDIR}
    strange = sum(path not in planned for path, _ in files_below(out)) if out.exists() else 0
    if strange:
        raise InputError(
            f"--out_folder holds {strange} files that are not of these images: give a folder that "
            "is empty or has an earlier result of the same --in_folder"
        )


def _check_room(members: Sequence[Member], places: dict[str, Place], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(out).free
    absent = [one for one in members if not out.joinpath(*places[one.instance]).exists()]
    needed = sum(one.path.stat().st_size for one in absent)
    if needed > free:
        raise InputError(
            f"--out_folder has room for {free // 1_000_000} MB, and {needed // 1_000_000} MB are "
            "to be written"
        )


class _Writer:
    """Copies instances, and grows the tree of their records."""

    def __init__(self, out: Path, members: Sequence[Member], places: dict[str, Place]) -> None:
        self._out = out
        self._places = places
        self._next_number: dict[str, int] = {}
        self._moments: dict[str, tuple[str, str]] = {}
        for one in members:
            after = max(one.number or 0, self._next_number.get(one.series, 1) - 1) + 1
            self._next_number[one.series] = after
            self._moments[one.study] = min(one.moment, self._moments.get(one.study, one.moment))
        self.roots: list[Node] = []
        self._nodes: dict[Place, Node] = {}

    def add(self, member: Member, files: FileGroup, summary: Summary) -> None:
        """Raises NotUsableError if the instance can't be listed, and RejectedError or
        RetryLaterError if it can't be read."""
        place = self._places[member.instance]
        header = read_header(member.path, TAGS)
        instance = Described(header, self._fills(member, place))
        leaf = Node(instance.leaf(list(place)))
        target = self._out.joinpath(*place)
        if _is_there(member.path, target):
            summary.before += 1
        else:
            with open_original(member.path) as origin, files.writing(target) as copy:
                copy_content(origin, copy)
                times = os.fstat(origin.fileno())
                os.utime(copy.fileno(), ns=(times.st_atime_ns, times.st_mtime_ns))
        self._enter(place, leaf, instance)
        summary.written += 1
        summary.filled.update(instance.filled)
        syntax = str(header.file_meta.TransferSyntaxUID)
        if syntax not in ON_MEDIA:
            summary.off_profile[UID(syntax).name] += 1

    def _fills(self, member: Member, place: Place) -> Fills:
        number = member.number
        if number is None:
            number = self._next_number[member.series]
            self._next_number[member.series] += 1
        return Fills(place[0], place[1], number, *self._moments[member.study])

    def _enter(self, place: Place, leaf: Node, instance: Described) -> None:
        below = self.roots
        for depth, kind in enumerate(FOLDERS, start=1):
            node = self._nodes.get(place[:depth])
            if node is None:
                node = self._nodes[place[:depth]] = Node(instance.folder(kind))
                below.append(node)
            below = node.below
        below.append(leaf)


def _write(group: Sequence[Member], writer: _Writer, summary: Summary) -> None:
    with FileGroup() as files:
        for member in group:
            try:
                writer.add(member, files, summary)
            except NotUsableError as error:
                summary.leave_out(member.path, error)
        if failed := files.commit():
            raise next(iter(failed.values()))
    summary.through += len(group)


def _is_there(source: Path, target: Path) -> bool:
    """Whether `target` is a copy of ours, which has the time of its source, or as good as one."""
    if not target.is_file():
        return False
    origin, copy = source.stat(), target.stat()
    if (origin.st_size, origin.st_mtime_ns) == (copy.st_size, copy.st_mtime_ns):
        return not target.is_symlink()
    return same_content(source, target)


def _directory(roots: Sequence[Node], members: Sequence[Member]) -> bytes:
    """The same bytes for the same instances."""
    uid = generate_uid(entropy_srcs=[FILE_SET_ID, *(one.instance for one in members)])
    return dicomdir(roots, FILE_SET_ID, uid)
