"""Rules as a TOML file: its keys, its checks.

[[rules]]
name = "stroop"
folder = "func"
suffix = "bold"
when.SeriesDescription = "stroop"
when.Volumes = { least = 10 }
entities.task = "stroop"
"""

from __future__ import annotations

import functools
import re
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydicom.datadict import DicomDictionary, keyword_dict

from pacstream.errors import InputError
from pacstream.toml_lines import WrongFileError, line_of, named, read
from pacstream_converter.bids import schema
from pacstream_converter.bids.rules import FACTS, Condition, Json, Label, Number, Rule

OURS = frozenset({"sub", "ses", "run"})
"""Entities that no rule gives: they come from pseudonym, session and order."""

NUMBERS = frozenset({"IS", "DS", "US", "SS", "UL", "SL", "FL", "FD"})
"""VRs whose values may become a part of a name."""

NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"


class RulesError(WrongFileError):
    """A file of rules is wrong: `problems` says what, and where."""


def _pattern(text: str) -> str:
    try:
        _compiled(text)
    except re.error as error:
        raise ValueError(f"no regular expression: {error.msg}") from None
    return text


def _compiled(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


def _keyword(text: str) -> str:
    if text in FACTS:
        return text
    tag = keyword_dict.get(text)
    if tag is None or DicomDictionary[tag][0] == "SQ":
        raise ValueError(
            f"neither a DICOM keyword of a value nor one of {', '.join(sorted(FACTS))}"
        )
    return text


def _number_keyword(text: str) -> str:
    if text not in FACTS and DicomDictionary[keyword_dict[_keyword(text)]][0] not in NUMBERS:
        raise ValueError("only numbers become a part of a name; give `words` for a text")
    return text


Pattern = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_pattern)]
Keyword = Annotated[str, AfterValidator(_keyword)]
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9]{1,32}$")]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ConditionTable(Part):
    """`"mprage"`, `true`, `{ pattern = "mprage", absent = "localizer" }`, `{ least = 10 }`."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, said: object) -> object:
        if isinstance(said, str):
            return {"pattern": said}
        return {"present": said} if isinstance(said, bool) else said

    pattern: Pattern | None = None
    absent: Pattern | None = None
    present: bool | None = None
    least: Number | None = None
    most: Number | None = None
    above: Number | None = None
    below: Number | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("an empty condition: give pattern, absent, present, least, most ...")
        return self

    def condition(self, keyword: str) -> Condition:
        return Condition(
            keyword=keyword,
            pattern=_compiled(self.pattern) if self.pattern else None,
            absent=_compiled(self.absent) if self.absent else None,
            present=self.present,
            least=self.least,
            most=self.most,
            above=self.above,
            below=self.below,
        )


class LabelTable(Part):
    """`"rest"`, a number `{ of = "EchoNumbers" }`, or
    `{ by = ["SeriesDescription"], words = { rest = "resting" }, default = "unknown" }`."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, said: object) -> object:
        return {"default": said} if isinstance(said, str) else said

    of: Annotated[str, AfterValidator(_number_keyword)] | None = None
    by: list[Keyword] = []
    words: dict[Word, Pattern] = {}
    default: Word | None = None

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        if bool(self.by) != bool(self.words) or (self.of and self.by):
            raise ValueError("a word, { of = ... }, or { by = [...], words = {...} }")
        if not (self.of or self.by or self.default):
            raise ValueError("an empty entity: give a word, { of = ... } or { by = [...], ... }")
        return self

    def label(self) -> Label:
        words = tuple((word, _compiled(pattern)) for word, pattern in self.words.items())
        keywords = (self.of,) if self.of else tuple(self.by)
        return Label(self.default or "", keywords, words)


class RuleTable(Part):
    """A `[[rules]]` table."""

    name: str = Field(pattern=NAME)
    folder: str = Field(pattern=r"^[a-z][a-z0-9]{0,31}$")
    suffix: Word
    bids: bool = True
    when: dict[Keyword, ConditionTable] = Field(min_length=1)
    entities: dict[str, LabelTable] = {}
    sidecar: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9]{1,64}$")], object] = {}
    volumes: list[Literal["control", "label", "m0scan", "deltam", "cbf"]] = []

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        order = schema.entity_order()
        for name in self.entities:
            if name in OURS or name not in order:
                raise ValueError(f"entities.{name}: not an entity that a rule can give")
        if self.volumes and (self.folder, self.suffix) != ("perf", "asl"):
            raise ValueError("`volumes` (the kinds of an ASL series' volumes) goes with perf, asl")
        return self._known_to_bids() if self.bids else self._beside()

    def _known_to_bids(self) -> Self:
        if self.folder not in schema.DATATYPES:
            raise ValueError(
                f"folder: one of {', '.join(schema.DATATYPES)}; `bids = false` for another, which "
                "is then listed in .bidsignore"
            )
        allowed = schema.entities_of(self.folder, self.suffix)
        if not allowed:
            suffixes = ", ".join(schema.suffixes_of(self.folder))
            raise ValueError(f"suffix: {self.folder} has {suffixes}")
        for name in self.entities:
            if name not in allowed:
                raise ValueError(f"entities.{name}: not with {self.folder}, {self.suffix}")
        for name, is_required in allowed.items():
            if is_required and name not in self.entities and name not in OURS:
                raise ValueError(f"entities: {self.folder}, {self.suffix} needs `{name}`")
        return self

    def _beside(self) -> Self:
        if self.folder in (*schema.DATATYPES, "sourcedata", "derivatives", "code"):
            raise ValueError("folder: `bids = false` wants a folder that BIDS has no use for")
        return self

    def rule(self) -> Rule:
        return Rule(
            name=self.name,
            folder=self.folder,
            suffix=self.suffix,
            is_bids=self.bids,
            when=tuple(said.condition(keyword) for keyword, said in self.when.items()),
            entities={name: said.label() for name, said in self.entities.items()},
            sidecar={key: _json(value) for key, value in self.sidecar.items()},
            volumes=tuple(self.volumes),
        )


def _json(value: object) -> Json:
    """TOML's dates are the only values that JSON has not."""
    if isinstance(value, dict):
        return {str(key): _json(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_json(one) for one in value]
    return value if isinstance(value, (bool, int, float, str)) else str(value)


class RulesFile(Part):
    """A whole file. `defaults`: pacstream's own rules follow."""

    defaults: bool = True
    rules: list[RuleTable] = []


def parse_rules(text: str, source: str = "rules") -> tuple[Rule, ...]:
    """The rules that a file says, and after them the default ones. `source` names it in messages.

    Raises RulesError with all problems, InputError for what is no TOML.
    """
    file = read(RulesFile, text, source, RulesError)
    problems = _twice(text, file)
    if problems:
        raise RulesError(source, problems)
    own = tuple(table.rule() for table in file.rules)
    return own + (default_rules() if file.defaults else ())


def load_rules(path: Path | None) -> tuple[Rule, ...]:
    """Those of a file, or the default ones. Raises as `parse_rules`, InputError if unreadable."""
    if path is None:
        return default_rules()
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not UTF-8") from None
    return parse_rules(text, str(path))


@functools.cache
def default_rules() -> tuple[Rule, ...]:
    text = files("pacstream_converter.bids").joinpath("defaults.toml").read_text("utf-8")
    return parse_rules(f"defaults = false\n{text}", "defaults.toml")


def _twice(text: str, file: RulesFile) -> list[str]:
    """Rules of one name: a report could not tell them apart."""
    first: dict[str, int] = {}
    problems = []
    for number, table in enumerate(file.rules):
        here = ("rules", number, "name")
        if table.name in first:
            line = line_of(text, here)
            problems.append(f"line {line}, {named(here)}: as in rules[{first[table.name]}] already")
        first.setdefault(table.name, number + 1)
    return problems
