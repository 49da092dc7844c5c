"""The audit of a batch, read again: how many instances, by which rules, under which profile."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from pacstream.errors import InputError
from pacstream_anonymizer.audit import FOLDER

Entry = tuple[str, str, str, str]
"""Path, rule, action, keyed hash of the value that was there (empty: none, or a sequence)."""


class Line(BaseModel):
    """What `audit.Auditor` writes of one instance."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    instance: str
    outcome: str
    reason: str = ""
    waived: tuple[str, ...] = ()
    batch: str
    project: str = ""
    key: str = ""
    profile: str
    options: tuple[str, ...] = ()
    table: str
    engine: str
    pixels: str = ""
    """SHA-256 of the pixel data that was released, if it was changed."""
    touched: tuple[Entry, ...] = ()


@dataclass
class Account:
    """A batch. `rules` counts instances by rule and action, an instance once for each."""

    batch_id: str
    instances: int = 0
    released: int = 0
    withheld: Counter[str] = field(default_factory=Counter)
    waived: Counter[str] = field(default_factory=Counter)
    rules: Counter[tuple[str, str]] = field(default_factory=Counter)
    terms: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """Instances by profile digest, key id, table edition, engine version."""
    keys: set[tuple[str, str]] = field(default_factory=set)
    """Projects and key ids."""
    damaged: int = 0
    """Lines that can't be read: a process was killed, or somebody was here."""


def batches(data: Path) -> list[str]:
    """The batches with an audit."""
    folder = data / FOLDER
    return (
        sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    )


def account_of(data: Path, batch_id: str) -> Account:
    """Raises InputError if there is no audit of the batch, or it can't be read."""
    account = Account(batch_id)
    for line in _latest(_lines(data, batch_id, account)).values():
        account.instances += 1
        account.terms[line.profile, line.key, line.table, line.engine] += 1
        account.keys.add((line.project, line.key))
        account.waived.update(line.waived)
        account.rules.update({(rule, action) for _, rule, action, _ in line.touched})
        if line.outcome == "released":
            account.released += 1
        else:
            account.withheld[line.reason] += 1
    return account


def lines_of(data: Path, batch_id: str, instance: str) -> list[Line]:
    """What the audit says of one instance, named by its UID in the release, each thing once."""
    found = _lines(data, batch_id, Account(batch_id))
    return list(dict.fromkeys(line for line in found if line.instance == instance))


def _latest(lines: Iterator[Line]) -> dict[str, Line]:
    """One line for each instance. An instance that was released was withheld before, if at all."""
    latest: dict[str, Line] = {}
    for line in lines:
        before = latest.get(line.instance)
        if before is None or before.outcome != "released" or line.outcome == "released":
            latest[line.instance] = line
    return latest


def _lines(data: Path, batch_id: str, account: Account) -> Iterator[Line]:
    """All lines, oldest file first; `account.damaged` counts those that can't be read."""
    if batch_id not in batches(data):
        raise InputError(f"there is no audit of {batch_id} in {data / FOLDER}")
    files = sorted(
        (data / FOLDER / batch_id).glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns
    )
    for path in files:
        try:
            with path.open(encoding="ascii", errors="replace") as file:
                for text in file:
                    line = _line(text)
                    if line is None:
                        account.damaged += bool(text.strip())
                    else:
                        yield line
        except OSError as error:
            raise InputError(f"the audit can't be read ({type(error).__name__})") from None


def _line(text: str) -> Line | None:
    try:
        content: Any = json.loads(text)
        return Line.model_validate(content)
    except (ValueError, ValidationError):
        return None
