"""Private elements that PS3.15 Table E.3.10-1 calls safe: `tables/e3_10_1_safe_private.csv`.

Vendors do not vouch for the list, so the values are cleaned as their VR asks for, and texts word by
word. Byte strings stay if they are short and hold no text; sequences stay out: nothing says what is
in them.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType

from pacstream_anonymizer.parser import Element
from pacstream_anonymizer.text import decode

FIRST_BLOCK, LAST_BLOCK = 0x10, 0xFF

Blocks = Mapping[tuple[int, int], str]
"""The private creator by group and block of one data set (PS3.5 section 7.8.1)."""


@functools.cache
def rows() -> Mapping[tuple[int, str, int], str]:
    """VR by group, private creator and low byte of the element number."""
    text = resources.files(__package__).joinpath("tables/e3_10_1_safe_private.csv")
    found: dict[tuple[int, str, int], str] = {}
    with text.open(encoding="utf-8") as file:
        for line in csv.DictReader(file):
            vr = line["vr"]
            if vr and vr != "SQ":
                key = (
                    int(line["group"], 16),
                    line["private_creator"],
                    int(line["element"][2:], 16),
                )
                found[key] = vr
    return MappingProxyType(found)


def blocks_of(elements: list[Element], codecs: tuple[str, ...]) -> Blocks:
    """The private blocks that a data set reserves. A block that two creators claim is nobody's."""
    found: dict[tuple[int, int], str] = {}
    for element in elements:
        group, number = element.tag >> 16, element.tag & 0xFFFF
        if group & 1 and FIRST_BLOCK <= number <= LAST_BLOCK and element.items is None:
            creator = decode(element.value, codecs).strip(" \0")
            twice = (group, number) in found
            found[group, number] = "" if twice else creator
    return found


def creator_of(tag: int, blocks: Blocks) -> str:
    """The creator of a private data element; empty if it has none."""
    return blocks.get((tag >> 16, (tag & 0xFFFF) >> 8), "")


def block_of(tag: int) -> int:
    """The tag of the private creator element of a private data element (PS3.5 section 7.8.1)."""
    return tag & 0xFFFF0000 | (tag & 0xFFFF) >> 8


def is_creator(tag: int) -> bool:
    return bool(tag >> 16 & 1) and FIRST_BLOCK <= tag & 0xFFFF <= LAST_BLOCK
