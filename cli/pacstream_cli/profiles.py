"""PACS profiles: what is known of a PACS's ways, as TOML that `doctor` writes and people edit.

    DATA/pacs/<called AE title>.toml     used by itself for the PACS that it names
    --pacs-profile FILE, or "profile" in the configuration

The keys are those of `PacsProfile`; and `address`, `port`, `called_aet`, which tell of which PACS
the file is; `calling_aet`, if this PACS wants another one than AET; the tables `[fallback]` (a
second archive with the same images) and `[measured]`.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import tomlkit
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Item

from pacstream.archive import write_atomically
from pacstream.errors import InputError
from pacstream.messages import PacsNode, PacsProfile

FOLDER = "pacs"
HEADER = "How this PACS behaves. `pacstream doctor` updates what it finds out; the rest is yours."
TITLE = Field(default=None, min_length=1, max_length=16)


class ProfileError(InputError):
    """`problems` has one line for each wrong key."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        super().__init__(f"{path}: " + "; ".join(problems))


class Measured(BaseModel):
    """What doctor's self-test took."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    instance_ms: float | None = Field(default=None, gt=0, description="one instance by C-MOVE")


class FallbackTable(PacsProfile):
    """The `[fallback]` table: where the second archive is, and its own ways."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str = Field(min_length=1)
    port: int = Field(ge=1, le=65535)
    called_aet: str = Field(min_length=1, max_length=16)
    calling_aet: str | None = TITLE


class ProfileFile(PacsProfile):
    """A whole profile file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str | None = Field(default=None, min_length=1)
    port: int | None = Field(default=None, ge=1, le=65535)
    called_aet: str | None = TITLE
    calling_aet: str | None = TITLE
    fallback: FallbackTable | None = None
    measured: Measured = Measured()

    def is_of(self, node: PacsNode) -> bool:
        """Whether the file says nothing else of where its PACS is."""
        return (
            self.address in (None, node.address)
            and self.port in (None, node.port)
            and self.called_aet in (None, node.called_aet)
        )

    def applied_to(self, node: PacsNode) -> PacsNode:
        """`node` with this profile and its fallback."""
        second = None
        if self.fallback is not None:
            second = PacsNode(
                address=self.fallback.address,
                port=self.fallback.port,
                called_aet=self.fallback.called_aet,
                calling_aet=self.fallback.calling_aet or node.calling_aet,
                profile=_ways_of(self.fallback),
            )
        return node.model_copy(
            update={
                "profile": _ways_of(self),
                "fallback": second,
                "calling_aet": self.calling_aet or node.calling_aet,
            }
        )


def _ways_of(table: PacsProfile) -> PacsProfile:
    return PacsProfile(**{name: getattr(table, name) for name in PacsProfile.model_fields})


@dataclass(frozen=True)
class Chosen:
    """The profile that goes with a configuration; `path` is None if there is none."""

    file: ProfileFile = field(default_factory=ProfileFile)
    path: Path | None = None
    note: str = ""


@dataclass(frozen=True)
class Finding:
    """One thing that doctor found out, as key and value of a profile, and what it saw."""

    key: str
    value: bool | int | float | str | tuple[str, ...]
    saw: str


def path_of(data: Path, called_aet: str) -> Path:
    """Where the profile of a PACS lies in a data folder."""
    name = re.sub(r"[^0-9A-Za-z_-]+", "_", called_aet)
    return data / FOLDER / f"{name}.toml"


def choose(data: Path, node: PacsNode, named: Path | None = None) -> Chosen:
    """The profile that the user named, else the one in the data folder, else the defaults.

    Raises InputError if the named file is not there or is of another PACS. A file of the data
    folder that is of another PACS with the same AE title is left out; `note` says so.
    """
    path = named or path_of(data, node.called_aet)
    if named is None and not path.exists():
        return Chosen()
    file = read_profile(path)
    if file.is_of(node):
        return Chosen(file, path)
    if named is not None:
        raise InputError(f"{path}: is the profile of another PACS: address, port or called_aet")
    return Chosen(note=f"{path} is of another PACS with this AE title and was not used")


def read_profile(path: Path) -> ProfileFile:
    """Raises InputError naming the file and, where it can be told, line and key."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such profile") from None
    except OSError as error:
        raise InputError(f"{path}: can't be read ({type(error).__name__})") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text (byte {error.start + 1})") from None
    try:
        return ProfileFile.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: is not TOML: {error}") from None
    except ValidationError as error:
        raise ProfileError(path, _problems(text, error)) from None


def _problems(text: str, error: ValidationError) -> list[str]:
    problems = []
    for item in error.errors(include_input=False, include_url=False):
        # a number in the place means an element of a list: the key is what has a line
        keys = tuple(str(part) for part in item["loc"] if isinstance(part, str))
        said = "unknown key, remove it" if item["type"] == "extra_forbidden" else item["msg"]
        problems.append(f"line {line_of(text, keys)}, {'.'.join(keys)}: {said}")
    return problems


def line_of(text: str, keys: tuple[str, ...]) -> int:
    """The line of a key, of its table if it is missing there, else 1."""
    table: tuple[str, ...] = ()
    best = 1
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[([^\[\]]+)\]", line):
            table = _parts(header[1])
            if table == keys:
                return number
            best = number if table == keys[:-1] else best
        elif (pair := re.match(r"\s*([^#=]+?)\s*=", line)) and (*table, *_parts(pair[1])) == keys:
            return number
    return best


def _parts(key: str) -> tuple[str, ...]:
    return tuple(part.strip(" \t\"'") for part in key.split("."))


def write_findings(path: Path, node: PacsNode, findings: list[Finding], date: str) -> None:
    """Write or update a profile, each finding with a comment of what was seen and the date.

    What people added, and their comments, stay. Raises InputError if the file there is not TOML or
    is of another PACS.
    """
    document = _document(path, node)
    for key, value in (
        ("address", node.address),
        ("port", node.port),
        ("called_aet", node.called_aet),
    ):
        document[key] = value
    for finding in findings:
        _set(document, finding, date)
    write_atomically(path, tomlkit.dumps(document).encode())


def _document(path: Path, node: PacsNode) -> tomlkit.TOMLDocument:
    if not path.exists():
        document = tomlkit.document()
        document.add(tomlkit.comment(HEADER))
        return document
    if not read_profile(path).is_of(node):
        raise InputError(
            f"{path}: is the profile of another PACS; give another --pacs-profile FILE"
        )
    try:
        return tomlkit.parse(path.read_text("utf-8-sig"))
    except TOMLKitError as error:
        raise InputError(f"{path}: is not TOML: {type(error).__name__}") from None


def _set(document: tomlkit.TOMLDocument, finding: Finding, date: str) -> None:
    table, _, key = finding.key.rpartition(".")
    value = list(finding.value) if isinstance(finding.value, tuple) else finding.value
    item: Item = tomlkit.item(value)
    item.comment(f"{date}: {finding.saw}")
    if not table:
        document[key] = item
        return
    if table not in document:
        document[table] = tomlkit.table()
    document[table][key] = item
