"""What a profile lets through, as the gate understands it: its options and rules as they are given,
not what the engine makes of them."""

from __future__ import annotations

import csv
import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from types import MappingProxyType

from pacstream_anonymizer.gate.form import MANDATORY
from pacstream_anonymizer.profile import Profile, Rule

PRIVATE_BLOCKS = range(0x10, 0x100)

PrivateKey = tuple[int, str, int]
"""Group, private creator, low byte of the element number (PS3.5 section 7.8)."""


@dataclass(frozen=True)
class Claims:
    """Whether original UIDs and the institution may stand in a release; which private elements:
    those of PS3.15 Table E.3.10-1, and what the profile names beyond; and which mandatory
    attributes the profile itself takes out."""

    uids: bool = False
    institution: bool = False
    safe_private: bool = False
    private: frozenset[PrivateKey] = frozenset()
    absent: frozenset[int] = frozenset()

    @classmethod
    def of(cls, profile: Profile) -> Claims:
        options = profile.options
        kept = [rule for rule in profile.rules if rule.action not in ("remove", "empty")]
        gone = [rule for rule in profile.rules if rule.action in ("remove", "empty")]
        absent = MANDATORY if profile.mode == "allow_list" else frozenset[int]()
        absent = (absent - _tags(kept)) | (MANDATORY & _tags(gone))
        return cls(
            uids="retain_uids" in options,
            institution="retain_institution_identity" in options,
            safe_private="retain_safe_private" in options,
            private=frozenset(key for rule in kept for key in _private_keys(rule)),
            absent=absent,
        )

    def private_vr(self, key: PrivateKey) -> str | None:
        """The VR of a private element that may be released (empty if only the file tells), or None
        for one that may not."""
        if key in self.private:
            return safe_private().get(key, "")
        return safe_private().get(key) if self.safe_private else None


def _tags(rules: Iterable[Rule]) -> frozenset[int]:
    """The mandatory attributes that rules without a condition name."""
    return frozenset(
        tag
        for rule in rules
        if not rule.private_creator
        for tag in MANDATORY
        if _matches(rule.tag, f"{tag:08X}")
    )


def _private_keys(rule: Rule) -> Iterator[PrivateKey]:
    """What a rule lets through of one private creator; its group is spelt out."""
    if not rule.private_creator:
        return
    group, low = rule.tag[:4], rule.tag[6:]
    for number in range(0x100):
        if _matches(low, f"{number:02X}"):
            yield int(group, 16), rule.private_creator.strip(), number


def _matches(pattern: str, tag: str) -> bool:
    return all(wanted in ("X", digit) for wanted, digit in zip(pattern.upper(), tag, strict=True))


@functools.cache
def safe_private() -> Mapping[PrivateKey, str]:
    """VR by key of PS3.15 Table E.3.10-1, read for the gate alone."""
    table = resources.files("pacstream_anonymizer").joinpath("tables/e3_10_1_safe_private.csv")
    with table.open(encoding="utf-8") as file:
        return MappingProxyType(
            {
                (
                    int(row["group"], 16),
                    row["private_creator"].strip(),
                    int(row["element"][2:], 16),
                ): row["vr"].strip()
                for row in csv.DictReader(file)
            }
        )


@dataclass
class PrivateBlocks:
    """The private elements of one data set or item, in the order of their tags."""

    claims: Claims
    creators: dict[int, str] = field(default_factory=dict)
    used: set[int] = field(default_factory=set)
    refused: list[int] = field(default_factory=list)

    def vr_of(self, tag: int, value: bytes) -> str | None:
        """The VR of a private element if it may be there and somebody knows, LO for a creator."""
        number = tag & 0xFFFF
        if number in PRIVATE_BLOCKS:
            self.creators[tag] = value.decode("latin-1").strip(" \0")
            return "LO"
        block = tag & 0xFFFF0000 | number >> 8
        vr = self.claims.private_vr((tag >> 16, self.creators.get(block, ""), number & 0xFF))
        self.used.add(block)
        if vr is None:
            self.refused.append(tag)
        return vr

    def wrong(self) -> list[int]:
        """Elements that may not be there, and creators without elements."""
        return self.refused + [tag for tag in self.creators if tag not in self.used]
