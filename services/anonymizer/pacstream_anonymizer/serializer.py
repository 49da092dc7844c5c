"""Elements to bytes (PS3.5 section 7): ascending tags, defined lengths, even lengths."""

from __future__ import annotations

from operator import attrgetter
from struct import Struct

from pacstream_anonymizer.dictionary import LONG_VRS, STRING_VRS
from pacstream_anonymizer.encoding import Encoding
from pacstream_anonymizer.parser import ITEM, Element

TAG_OF = attrgetter("tag")


class _Heads:
    """Tag, VR and length in one byte order (PS3.5 section 7.1)."""

    def __init__(self, order: str) -> None:
        self.without_vr = Struct(order + "HHL").pack
        self.short = Struct(order + "HH2sH").pack
        self.long = Struct(order + "HH2sxxL").pack


HEADS = {True: _Heads("<"), False: _Heads(">")}
"""By whether it is little endian."""


def padded(vr: str, value: bytes) -> bytes:
    """`value` with an even length (PS3.5 section 6.2)."""
    if len(value) % 2 == 0:
        return value
    return value + (b" " if vr in STRING_VRS and vr != "UI" else b"\0")


def serialize(elements: list[Element], encoding: Encoding) -> bytes:
    """The bytes of a data set; ValueError if two elements have one tag."""
    ordered = sorted(elements, key=TAG_OF)
    if len(set(map(TAG_OF, ordered))) != len(ordered):
        raise ValueError("two elements have one tag")
    parts = []
    for element in ordered:
        written = element.written  # of one that is in many data sets it is worked out once
        if written is None or written[0] is not encoding:
            written = element.written = encoding, _element(element, encoding)
        parts.append(written[1])
    return b"".join(parts)


def _element(element: Element, encoding: Encoding) -> bytes:
    if element.items is None:
        value = padded(element.vr, element.value)
    else:
        value = b"".join(_item(item, encoding) for item in element.items)
    group, number = element.tag >> 16, element.tag & 0xFFFF
    head = HEADS[encoding.little]
    if encoding.implicit:
        return head.without_vr(group, number, len(value)) + value
    vr = element.vr.encode("ascii")
    if element.vr in LONG_VRS:
        return head.long(group, number, vr, len(value)) + value
    return head.short(group, number, vr, len(value)) + value


def _item(item: list[Element], encoding: Encoding) -> bytes:
    content = serialize(item, encoding)
    return HEADS[encoding.little].without_vr(ITEM >> 16, ITEM & 0xFFFF, len(content)) + content
