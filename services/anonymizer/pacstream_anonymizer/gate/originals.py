"""What originals say, read once for each value that they share."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

from pydicom import dcmread

from pacstream.memory import MISSING, Memory
from pacstream.skim import Content, Walk, data_set_of, walk_of
from pacstream_anonymizer.gate.form import MANDATORY
from pacstream_anonymizer.gate.identifiers import NOTHING, Traces, may_tell, traces_of
from pacstream_anonymizer.gate.reader import (
    CHARACTER_SET,
    UNREADABLE,
    Leaf,
    Place,
    leaves,
    leaves_by_pydicom,
)

LONGEST_COMPARED = 256


class Known(NamedTuple):
    """What an original says: of persons, its UIDs, and the values (their beginnings) of mandatory
    attributes that are not empty."""

    personal: tuple[Traces, ...]
    uids: frozenset[str]
    mandatory: dict[int, bytes]


class Originals:
    """Reads originals. What a top-level element tells is remembered by its bytes, transfer syntax
    and character set, for the last `spaces` of the latter two; none: pydicom reads each file."""

    def __init__(self, spaces: int, room: int) -> None:
        self._spaces = spaces
        self._room = room
        self._memories: OrderedDict[tuple[str, bytes], Memory[Traces]] = OrderedDict()

    def known_of(self, source: Path, content: Content) -> Known:
        """What stands in the file `source`; `content` is all that is in it."""
        found = data_set_of(content) if self._spaces else None
        if found is not None:
            try:
                return self._walked(content, *found)
            except UNREADABLE:
                pass  # pydicom repairs what can be repaired
        return by_pydicom(source)

    def _walked(self, content: Content, transfer_syntax: str, start: int) -> Known:
        walk = walk_of(transfer_syntax)
        traces: list[Traces] = []
        mandatory: dict[int, bytes] = {}
        character_set = b""
        memory = self._memory(transfer_syntax, character_set)
        for tag, vr, at, value, stop in walk.elements(content, start, len(content)):
            if stop < 0:
                break
            if tag in MANDATORY and stop > value:
                mandatory[tag] = bytes(content[value : min(stop, value + LONGEST_COMPARED)])
            if tag == CHARACTER_SET:
                character_set = bytes(content[value:stop])
                memory = self._memory(transfer_syntax, character_set)
            elif may_tell(tag, vr):
                raw = bytes(content[at:stop])
                known = memory.get(raw)
                if known is MISSING:
                    known = self._traces(raw, walk, tag, vr, value - at, character_set)
                    memory.put(raw, known)
                if known is not NOTHING:
                    traces.append(known)
        return _known(traces, mandatory)

    def _traces(
        self, raw: bytes, walk: Walk, tag: int, vr: bytes, value: int, character_set: bytes
    ) -> Traces:
        return traces_of(leaves(Place(raw, walk, vr, value, len(raw)), (tag,), character_set))

    def _memory(self, transfer_syntax: str, character_set: bytes) -> Memory[Traces]:
        key = (transfer_syntax, character_set)
        memory = self._memories.get(key)
        if memory is None:
            memory = self._memories[key] = Memory(self._room)
            if len(self._memories) > self._spaces:
                self._memories.popitem(last=False)
        self._memories.move_to_end(key)
        return memory


def by_pydicom(source: Path) -> Known:
    """What stands in a file, by pydicom alone."""
    data_set = dcmread(source, stop_before_pixels=True)
    top: dict[int, list[Leaf]] = {}
    mandatory: dict[int, bytes] = {}
    for leaf in leaves_by_pydicom(data_set):
        top.setdefault(leaf.path[0], []).append(leaf)
        if leaf.path[0] in MANDATORY and leaf.value:
            mandatory.setdefault(leaf.path[0], leaf.value[:LONGEST_COMPARED])
    traces = [traces_of(found) for found in top.values()]
    return _known([one for one in traces if one is not NOTHING], mandatory)


def _known(traces: list[Traces], mandatory: dict[int, bytes]) -> Known:
    uids: frozenset[str] = frozenset().union(*(one.uids for one in traces))
    return Known(tuple(one for one in traces if one.personal), uids, mandatory)
