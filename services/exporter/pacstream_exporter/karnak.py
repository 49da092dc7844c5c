"""The private elements that tell a Karnak gateway whose an instance is and where it goes.

    (000B,0010) LO  creator
    (000B,1001) LO  code: the pseudonym
    (000B,1002) LO  album
    (000B,1003) LO  day shift, a whole number

A file is not decoded and encoded again: all its other bytes are copied, those of pixel data too; a
deflated data set is inflated and deflated. The file is replaced when its successor is durable, so
there is a whole file under its name at any moment.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import mmap
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import BinaryIO

from pacstream.charsets import encodings_of
from pacstream.durable import FileGroup
from pacstream.errors import InputError, RetryLaterError
from pacstream.skim import Content, Walk, data_set_of, deflated_data_set_of, walk_of
from pacstream_exporter.deflated import EXPLICIT_LITTLE, deflated, inflated
from pacstream_exporter.folder import LeftOut, NotUsableError, check_instance, files_below

CREATOR = "CHUV_DEV_TML"
"""What PACSMAN writes."""
LONGEST = 64
"""Characters of an LO (PS3.5 section 6.2)."""

CHARACTER_SET = 0x00080005
GROUP_LENGTH, OWNER, CODE, ALBUM, SHIFT, LAST_OF_GROUP = (
    0x000B0000,
    0x000B0010,
    0x000B1001,
    0x000B1002,
    0x000B1003,
    0x000BFFFF,
)
SUBJECT = "sub-"
FILES_AT_ONCE = 64

Progress = Callable[[int, int], None]
"""Told how many files of how many are through."""


@dataclass(frozen=True)
class Tags:
    """What is written. Raises InputError for a text that is no LO."""

    code: str = field(repr=False)
    album: str
    shift_days: int = 0
    creator: str = CREATOR

    def __post_init__(self) -> None:
        for name, text in (("code", self.code), ("album", self.album), ("creator", self.creator)):
            if problem := text_problem(text):
                raise InputError(f"the {name} {problem}")

    @property
    def values(self) -> Mapping[int, str]:
        return {
            OWNER: self.creator,
            CODE: self.code,
            ALBUM: self.album,
            SHIFT: str(self.shift_days),
        }


def text_problem(text: str) -> str:
    """Why a text can't be the one value of an LO; empty if it can."""
    if not text.strip():
        return "is empty"
    if len(text) > LONGEST:
        return f"has more than {LONGEST} characters"
    if "\\" in text or not text.isprintable():
        return "has a backslash or a control character"
    return ""


@dataclass
class Summary:
    """What became of the files of some folders."""

    instances: int = 0
    tagged: int = 0
    before: int = 0
    left_out: list[LeftOut] = field(default_factory=list)
    going_on: bool = False

    @property
    def is_whole(self) -> bool:
        """Every instance has the elements."""
        return not any(one.is_loss for one in self.left_out)


class FoldersWithoutCodeError(InputError):
    """`folders` are their names."""

    def __init__(self, folders: Sequence[str], problems: Sequence[str]) -> None:
        noun = "folder has" if len(folders) == 1 else "folders have"
        super().__init__(f"{len(folders)} {noun} no entry in what was given; nothing was changed")
        self.folders = list(folders)
        self.problems = list(problems)


def subject_folders(root: Path, known: Mapping[str, object]) -> list[Path]:
    """The folders `sub-*` right below `root`, and others that have an entry, by name."""
    return sorted(
        path
        for path in root.iterdir()
        if path.is_dir() and (path.name.startswith(SUBJECT) or path.name in known)
    )


def tag_folders(
    folders: Mapping[Path, Tags],
    progress: Progress = lambda done, total: None,
    may_go_on: Callable[[], bool] = lambda: True,
) -> Summary:
    """Give the instances below each folder its elements, in place. A second run changes nothing.

    When `may_go_on` says no, the next call goes on. Raises RetryLaterError `disk`.
    """
    summary = Summary()
    files = [(*found, tags) for folder, tags in folders.items() for found in files_below(folder)]
    waiting, done = iter(files), 0
    try:
        while group := list(itertools.islice(waiting, FILES_AT_ONCE)):
            if not may_go_on():
                summary.going_on = True
                break
            _tag_group(group, summary)
            done += len(group)
            progress(done, len(files))
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, type(error).__name__)
        raise RetryLaterError(f"a file can't be replaced ({name})", code="disk") from None
    return summary


def _tag_group(group: Sequence[tuple[Path, str, Tags]], summary: Summary) -> None:
    changed = 0
    with FileGroup() as files:
        for path, problem, tags in group:
            try:
                if problem:
                    raise NotUsableError(problem)
                has_changed = _tag(path, tags, files)
            except NotUsableError as error:
                summary.left_out.append(LeftOut(str(path), error.reason, error.detail))
                summary.instances += summary.left_out[-1].is_loss
                continue
            summary.instances += 1
            summary.before += not has_changed
            changed += has_changed
        if failed := files.commit():
            raise next(iter(failed.values()))
    summary.tagged += changed


def _tag(path: Path, tags: Tags, files: FileGroup) -> bool:
    """Whether the file has to change; its successor is in `files`. Raises NotUsableError."""
    if path.is_symlink():
        raise NotUsableError("linked_file")
    with (
        _opened(path) as origin,
        mmap.mmap(origin.fileno(), 0, prot=mmap.PROT_READ) as content,
    ):
        check_instance(content)
        at = deflated_data_set_of(content)
        if at is not None:
            return _tag_deflated(path, origin, at, tags, files)
        patch = patch_of(content, tags)
        if content[patch.start : patch.stop] == patch.block:
            return False
        with _successor(path, origin, files) as copy:
            copy.write(content[: patch.start])
            copy.write(patch.block)
            origin.seek(patch.stop)
            shutil.copyfileobj(origin, copy, 1 << 20)
    return True


def _tag_deflated(path: Path, origin: BinaryIO, start: int, tags: Tags, files: FileGroup) -> bool:
    """The data set is deflated anew: its values stay, its bytes in the file do not."""
    head, packed = origin.read(start), origin.read()
    body = inflated(packed)
    patch = _patch(body, 0, EXPLICIT_LITTLE, tags)
    if body[patch.start : patch.stop] == patch.block:
        return False
    with _successor(path, origin, files) as copy:
        copy.write(head)
        copy.write(deflated(body[: patch.start] + patch.block + body[patch.stop :]))
    return True


@contextlib.contextmanager
def _successor(path: Path, origin: BinaryIO, files: FileGroup) -> Iterator[BinaryIO]:
    """With the same permissions."""
    with files.writing(path) as copy:
        os.fchmod(copy.fileno(), stat.S_IMODE(os.fstat(origin.fileno()).st_mode))
        yield copy


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        file = path.open("rb")
    except OSError:
        raise NotUsableError("no_access") from None
    with file:
        yield file


@dataclass(frozen=True)
class Patch:
    """`block` stands for what is between two positions of a file."""

    start: int
    stop: int
    block: bytes


def patch_of(content: Content, tags: Tags) -> Patch:
    """Where group 000B stands, or would stand, and what it has to be; elements of others stay.

    Raises NotUsableError `unsupported_transfer_syntax` (in doubt, or deflated), `unreadable`,
    `private_block_taken` if (000B,0010) is somebody else's, and `not_encodable` if the file's
    character set has not all letters of a text.
    """
    found = data_set_of(content)
    if found is None:
        raise NotUsableError("unsupported_transfer_syntax")
    return _patch(content, found[1], found[0], tags)


def _patch(content: Content, start: int, syntax: str, tags: Tags) -> Patch:
    walk = walk_of(syntax)
    try:
        group, first, behind = _group(content, start, walk)
    except (StructError, ValueError, KeyError):
        raise NotUsableError("unreadable") from None
    values = {tag: _encoded(text, group.character_set) for tag, text in tags.values.items()}
    if group.owner not in (b"", values[OWNER].strip()):
        raise NotUsableError("private_block_taken")
    ours = {tag: _element(tag, value, walk) for tag, value in values.items()}
    block = b"".join(one for _, one in sorted((group.elements | ours).items()))
    return Patch(first, behind, block)


@dataclass
class _Group:
    character_set: bytes = b""
    owner: bytes = b""
    elements: dict[int, bytes] = field(default_factory=dict)


def _group(content: Content, start: int, walk: Walk) -> tuple[_Group, int, int]:
    """Group 000B, the position of its first element, and the one behind its last. A group length
    (retired) would not be true any more and is left out."""
    group, first = _Group(), -1
    for tag, _, at, value, stop in walk.elements(content, start, len(content)):
        if tag >= GROUP_LENGTH and first < 0:
            first = at
        if tag > LAST_OF_GROUP:
            return group, first, at
        if tag > GROUP_LENGTH:
            group.elements[tag] = content[at:stop]
        if tag == CHARACTER_SET:
            group.character_set = content[value:stop]
        if tag == OWNER:
            group.owner = content[value:stop].strip(b" \0")
    return group, first if first >= 0 else len(content), len(content)


def _encoded(text: str, character_set: bytes) -> bytes:
    name = character_set.partition(b"\\")[0].strip(b" \0")
    codecs = encodings_of(name)
    codec = codecs[0] if codecs and not name.endswith(b"IR 6") else "ascii"
    try:
        value = text.encode(codec)
    except UnicodeEncodeError:
        raise NotUsableError("not_encodable") from None
    return value + b" " * (len(value) % 2)


def _element(tag: int, value: bytes, walk: Walk) -> bytes:
    """Of VR LO (PS3.5 section 7.1)."""
    order = "<" if walk.little else ">"
    group, number = tag >> 16, tag & 0xFFFF
    if walk.implicit:
        return Struct(order + "HHI").pack(group, number, len(value)) + value
    return Struct(order + "HH2sH").pack(group, number, b"LO", len(value)) + value
