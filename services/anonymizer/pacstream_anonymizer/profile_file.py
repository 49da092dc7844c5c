"""A project profile as a TOML file: its keys, its checks, and what the engine makes of it.

name = "trial"
options = ["retain_patient_characteristics", "retain_longitudinal_modified_dates"]
[[rules]]
tags = ["(0018,1030)"]
action = "remove"
reason = "protocol names hold surnames here"
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
)

from pacstream.errors import InputError
from pacstream.toml_lines import WrongFileError, line_of, named, read
from pacstream_anonymizer import attributes, safe_private, values
from pacstream_anonymizer.dictionary import VR_BY_TAG
from pacstream_anonymizer.parser import PIXEL_TAGS
from pacstream_anonymizer.profile import OPTIONS, DeviceRegions, Profile, Rule

TAG = re.compile(r"\(?([0-9A-Fa-fx]{4}),?([0-9A-Fa-fx]{4})\)?", re.ASCII)
WRITTEN = (
    attributes.MARKER_TAGS
    | PIXEL_TAGS
    | {
        attributes.PATIENT_NAME,
        attributes.PATIENT_ID,
        attributes.CHARACTER_SET,
        attributes.METHOD_CODES,
        0x00080016,  # SOP Class UID
        0x00080018,  # SOP Instance UID
        0x0020000D,  # Study Instance UID
        0x0020000E,  # Series Instance UID
    }
)
"""What every release writes itself, so that its instances stay what they are."""


class ProfileError(WrongFileError):
    """A project profile is wrong: `problems` says what, and where."""


def _tag(text: str) -> str:
    match = TAG.fullmatch(text.strip())
    if match is None:
        raise ValueError("a tag is (gggg,eeee), hexadecimal, with x for any digit")
    tag = (match[1] + match[2]).upper().replace("X", "x")
    if "x" not in tag and int(tag, 16) in WRITTEN:
        raise ValueError("every release writes this attribute itself: no rule can change it")
    if tag.startswith("0002") or tag.endswith("0000"):
        raise ValueError("file meta and group lengths are always written anew")
    return tag


def _option(text: str) -> str:
    if text not in OPTIONS:
        raise ValueError(f"no such option; there are {', '.join(sorted(OPTIONS))}")
    return text


def _line(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("must be one line of text that is not empty")
    return text.strip()


Line = Annotated[str, Field(max_length=256), AfterValidator(_line)]
Tag = Annotated[str, AfterValidator(_tag)]
Option = Annotated[str, AfterValidator(_option)]
Word = Annotated[str, Field(max_length=64), AfterValidator(_line)]
Modality = Annotated[str, Field(pattern=r"^[A-Z0-9_]{1,16}$")]
ImageType = Annotated[str, Field(max_length=16), AfterValidator(_line)]
Uid = Annotated[str, Field(pattern=r"^[0-9](\.?[0-9])*$", max_length=64)]
Side = Annotated[int, Field(ge=0, le=65535)]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class RuleTable(Part):
    """A `[[rules]]` table: one action for some attributes, before everything else but the gate."""

    tags: list[Tag] = Field(min_length=1)
    action: Literal["keep", "remove", "empty", "replace", "clean"]
    reason: Line
    private_creator: str = Field(default="", max_length=64)
    value: str = Field(default="", max_length=1024)
    manufacturer: str = Field(default="", max_length=64)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.action == "replace") != bool(self.value):
            raise ValueError("`value` goes with action = 'replace', and with no other")
        if not self.value.isprintable() or "\\" in self.value:
            raise ValueError("`value` is one line of text without a backslash")
        for tag in self.tags:
            if _is_private(tag) != bool(self.private_creator):
                raise ValueError("private tags, and no others, need their `private_creator`")
            if self.action == "replace":
                self._check_value(tag)
        return self

    def _check_value(self, tag: str) -> None:
        """A tag with `x` may stand for any VR, and so may a private one that no table has."""
        vr = _vr_of(tag, self.private_creator)
        problem = values.misfit(vr, self.value) if vr else ""
        if problem:
            raise ValueError(f"`value` for ({tag[:4]},{tag[4:]}): {problem}")

    def rules(self) -> Iterator[Rule]:
        for tag in self.tags:
            yield Rule(
                tag=tag,
                action=self.action,
                reason=self.reason,
                private_creator=self.private_creator,
                value=self.value,
                manufacturer=self.manufacturer,
            )


def _vr_of(tag: str, creator: str) -> str:
    """Empty if nobody knows."""
    if creator and "x" not in tag[:4] + tag[6:]:
        key = (int(tag[:4], 16), creator, int(tag[6:], 16))
        return safe_private.rows().get(key, "")
    return VR_BY_TAG.get(int(tag, 16), "") if "x" not in tag else ""


def _is_private(tag: str) -> bool:
    return tag[3] in "13579BDF"


class RegionsTable(Part):
    """A `[[regions]]` table: what to black out in images of a device that look like this. Columns
    and rows of a rectangle count from 0 at the top left (PS3.3 section C.7.6.3.1.1)."""

    manufacturer: Line
    model: str = Field(default="", max_length=64)
    software: str = Field(default="", max_length=256)
    modality: Modality | Literal[""] = ""
    image_type: list[ImageType] = []
    rows: int = Field(ge=1, le=65535)
    columns: int = Field(ge=1, le=65535)
    rectangles: list[Annotated[list[Side], Field(min_length=4, max_length=4)]] = Field(
        min_length=1, description="[left, top, width, height]"
    )

    def regions(self) -> DeviceRegions:
        return DeviceRegions(
            manufacturer=self.manufacturer,
            model=self.model,
            software=self.software,
            modality=self.modality,
            image_type=tuple(self.image_type),
            rows=self.rows,
            columns=self.columns,
            rectangles=tuple((one[0], one[1], one[2], one[3]) for one in self.rectangles),
        )


class ProfileFile(Part):
    """A whole file."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    mode: Literal["profile", "allow_list"] = "profile"
    options: list[Option] = []
    vocabulary: list[Word] = []
    modalities: list[Modality] = []
    sop_classes: list[Uid] = []
    key_id: str = Field(default="", pattern=r"^([1-9][0-9]{0,3})?$")
    second_look: bool = False
    keep_ultrasound_regions: bool = False
    rules: list[RuleTable] = []
    regions: list[RegionsTable] = []

    def profile(self) -> Profile:
        """Raises InputError for options that exclude one another."""
        return Profile(
            name=self.name,
            mode=self.mode,
            options=frozenset(self.options),
            vocabulary=frozenset(word.casefold() for word in self.vocabulary),
            modalities=frozenset(self.modalities),
            sop_classes=frozenset(self.sop_classes),
            key_id=self.key_id,
            second_look=self.second_look,
            keep_ultrasound_regions=self.keep_ultrasound_regions,
            rules=tuple(rule for table in self.rules for rule in table.rules()),
            regions=tuple(table.regions() for table in self.regions),
        )


def parse_profile(text: str, source: str = "profile") -> Profile:
    """The profile that a file says. `source` names it in messages.

    Raises ProfileError with all problems, InputError for what is no TOML.
    """
    file = read(ProfileFile, text, source, ProfileError)
    problems = [*_twice(text, file), *_wrong_regions(text, file)]
    try:
        profile = file.profile()
    except InputError as error:
        problems.append(f"line {line_of(text, ('options',))}, options: {error}")
    if problems:
        raise ProfileError(source, problems)
    return profile


def _twice(text: str, file: ProfileFile) -> Iterator[str]:
    """Attributes for which two rules hold under one condition."""
    first: dict[tuple[str, str, str], str] = {}
    for number, table in enumerate(file.rules):
        for position, tag in enumerate(table.tags):
            key = (tag, table.private_creator, table.manufacturer.casefold())
            here = ("rules", number, "tags", position)
            if key in first:
                yield f"line {line_of(text, here)}, {named(here)}: as in {first[key]} already"
            first.setdefault(key, named(here))


def _wrong_regions(text: str, file: ProfileFile) -> Iterator[str]:
    """Rectangles that are none of their image or of which a part is named twice, and tables for the
    same images."""
    first: dict[DeviceRegions, int] = {}
    for number, table in enumerate(file.regions):
        here: tuple[str | int, ...] = ("regions", number)
        images = replace(table.regions(), rectangles=())
        if images in first:
            yield f"{_at(text, here)}: the images of regions[{first[images] + 1}] again"
        first.setdefault(images, number)
        for position, rectangle in enumerate(table.rectangles):
            said = _wrong_rectangle(table, position, rectangle)
            if said:
                yield f"{_at(text, (*here, 'rectangles', position))}: {said}"


def _wrong_rectangle(table: RegionsTable, position: int, rectangle: list[int]) -> str:
    left, top, width, height = rectangle
    if not (width and height):
        return "a rectangle is [left, top, width, height], and this one is empty"
    if left + width > table.columns or top + height > table.rows:
        return f"leaves the image of {table.columns} columns and {table.rows} rows"
    for number, (x, y, w, h) in enumerate(table.rectangles[:position], 1):
        if left < x + w and x < left + width and top < y + h and y < top + height:
            return f"overlaps rectangles[{number}]"
    return ""


def _at(text: str, loc: tuple[str | int, ...]) -> str:
    return f"line {line_of(text, loc)}, {named(loc)}"
