"""What was done to each instance: one line of JSON, in the trusted zone, without any value.

    DATA/audit/<batch>/<process>.jsonl

A process only appends to a file of its own, so a killed one can leave the last line of one file
unfinished, and nothing else. A line is a function of instance, key, profile and versions: a message
that is handled twice writes the same line twice, which counts once.
"""

from __future__ import annotations

import functools
import json
import os
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pacstream import __version__
from pacstream.durable import create_folder
from pacstream.errors import RetryLaterError
from pacstream.pseudonyms import ProjectKey
from pacstream_anonymizer.cleaner import Account, Told
from pacstream_anonymizer.deidentifier import Released, Withheld, released_uid
from pacstream_anonymizer.profile import Profile
from pacstream_anonymizer.table import EDITION

FOLDER = "audit"
UNTOUCHED = "keep"
DESCENDED = "clean"

_PROCESS = uuid.uuid4().hex[:12]


@dataclass
class Auditor:
    """Collects what a cleaner tells of the instances of a message, and writes it at its end.

    For each instance `begin`, the cleaner's calls of `touched`, `end`; then `write`. Equal elements
    are put into words once, for as long as the cleaner remembers them.
    """

    data: Path
    batch_id: str
    project: str
    key: ProjectKey
    profile: Profile
    _entries: list[str] = field(default_factory=list, repr=False)
    _lines: list[tuple[Path | None, str]] = field(default_factory=list, repr=False)

    def begin(self) -> None:
        self._entries.clear()

    def touched(self, accounts: Sequence[Account]) -> None:
        """Elements at top level were treated, each with all below it; the cleaner's trail.

        What is as before is left out, and so is a sequence whose items follow.
        """
        entries, mark = self._entries, self.key
        for account in accounts:
            words = account.words
            if words is None or words[0] is not mark:  # each message reads its key anew
                is_same = words is not None and words[0] == mark
                text = words[1] if words and is_same else self._entry(account.told)
                words = account.words = (mark, text)
            if words[1]:
                entries.append(words[1])

    def _entry(self, told: tuple[Told, ...]) -> str:
        return ",".join(
            json.dumps([_place(one.path), one.rule, one.done, self._hash(one.old)])
            for one in told
            if one.done != UNTOUCHED and (one.done != DESCENDED or one.old)
        )

    def _hash(self, old: bytes) -> str:
        return self.key.value_hash(old) if old else ""

    def end(self, sop_instance_uid: str, result: Released | Withheld) -> None:
        """What became of the instance with this original UID."""
        is_released = isinstance(result, Released)
        head = {
            "instance": released_uid(sop_instance_uid, self.profile, self.key),
            "outcome": "released" if is_released else "withheld",
            "reason": "" if isinstance(result, Released) else result.reason,
            "waived": sorted(result.waived) if isinstance(result, Released) else [],
        }
        if isinstance(result, Released) and result.pixels:
            head["pixels"] = result.pixels
        touched = ",".join(self._entries) if is_released else ""
        line = f'{json.dumps(head)[:-1]}, {self._terms}, "touched": [{touched}]}}\n'
        self._lines.append((result.path if isinstance(result, Released) else None, line))

    @functools.cached_property
    def _terms(self) -> str:
        """What the lines of a message have in common, without braces."""
        terms = {
            "batch": self.batch_id,
            "project": self.project,
            "key": self.key.key_id,
            "profile": self.profile.digest,
            "options": sorted(self.profile.options),
            "table": EDITION,
            "engine": __version__,
        }
        return json.dumps(terms)[1:-1]

    def write(self, failed: Collection[Path] = ()) -> None:
        """Append the lines, but of instances whose files failed; durable on return.

        Raises RetryLaterError `disk`.
        """
        lines = [line for path, line in self._lines if path is None or path not in failed]
        self._lines.clear()
        if not lines:
            return
        try:
            _append(self.data / FOLDER / self.batch_id, "".join(lines).encode("ascii"))
        except OSError:
            raise RetryLaterError("the audit can't be written", code="disk") from None


def _place(path: tuple[int, ...]) -> str:
    return ".".join(f"{tag:08X}" for tag in path)


def _append(folder: Path, content: bytes) -> None:
    create_folder(folder)
    path = folder / f"{_PROCESS}-{os.getpid()}.jsonl"
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            content = b"\n" + content  # a disk that was full has cut the last line
        while content:
            content = content[os.write(handle, content) :]
        os.fdatasync(handle)
    finally:
        os.close(handle)
