"""What originals say, read once for each value that they share."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

from pydicom import dcmread

from pacstream.memory import LONGEST, MISSING, Memory
from pacstream.skim import Content, Walk, data_set_of, walk_of
from pacstream.stretches import LastStretches, Stretches
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


class Told(NamedTuple):
    """What an element, or some that stand together, say; `first` and `last` are tags."""

    first: int
    last: int
    personal: tuple[Traces, ...]
    uids: frozenset[str]
    mandatory: dict[int, bytes]


def _joined(told: list[Told]) -> Told:
    mandatory: dict[int, bytes] = {}
    for one in told:
        mandatory |= one.mandatory
    return Told(
        told[0].first,
        told[-1].last,
        tuple(traces for one in told for traces in one.personal),
        frozenset().union(*(one.uids for one in told)),
        mandatory,
    )


class Originals:
    """Reads originals. What a top-level element tells is remembered by its bytes, transfer syntax
    and character set, for the last `spaces` of the latter two, and what comes together in as many
    series; none: pydicom reads each file."""

    def __init__(self, spaces: int, room: int) -> None:
        self._spaces = spaces
        self._room = room
        self._memories: OrderedDict[tuple[str, bytes], Memory[Traces]] = OrderedDict()
        self._stretches = LastStretches(_joined, spaces)

    def known_of(self, source: Path, content: Content, series_uid: str = "") -> Known:
        """What stands in the file `source`; `content` is all that is in it."""
        found = data_set_of(content) if self._spaces else None
        if found is not None:
            try:
                return self._walked(content, *found, series_uid)
            except UNREADABLE:
                pass  # pydicom repairs what can be repaired
        return by_pydicom(source)

    def _walked(self, content: Content, transfer_syntax: str, at: int, series_uid: str) -> Known:
        walk, end, before = walk_of(transfer_syntax), len(content), -1
        told: list[Told] = []
        space = self._space(transfer_syntax, b"", series_uid)
        while at < end:
            stretch = space.stretches.found(content, at, end)
            if stretch is not None:
                one, at = stretch.what, at + stretch.length
                if one.first <= before:
                    raise ValueError("not in order")
            else:
                tag, vr, value, stop = walk.next(content, at, end, before)
                if stop < 0:
                    break
                raw, start, at = bytes(content[at:stop]), value - at, stop
                if tag == CHARACTER_SET:
                    space.stretches.end()
                    space = self._space(transfer_syntax, raw[start:], series_uid)
                one = space.told(tag, vr, raw, start)
            told.append(one)
            before = one.last
        space.stretches.end()
        return _known(told)

    def _space(self, transfer_syntax: str, character_set: bytes, series_uid: str) -> _Space:
        key = (transfer_syntax, character_set)
        memory = self._memories.get(key)
        if memory is None:
            memory = self._memories[key] = Memory(self._room)
            if len(self._memories) > self._spaces:
                self._memories.popitem(last=False)
        self._memories.move_to_end(key)
        stretches = self._stretches.of((*key, series_uid))
        stretches.begin()
        return _Space(walk_of(transfer_syntax), character_set, memory, stretches)


class _Space(NamedTuple):
    """What is known of elements in one transfer syntax and character set."""

    walk: Walk
    character_set: bytes
    memory: Memory[Traces]
    stretches: Stretches[Told, Told]

    def told(self, tag: int, vr: bytes, raw: bytes, value: int) -> Told:
        """What an element says that stands alone; its value is behind `value` bytes of header."""
        traces = self._traces(tag, vr, raw, value) if may_tell(tag, vr) else NOTHING
        mandatory = {}
        if tag in MANDATORY and len(raw) > value:
            mandatory[tag] = raw[value : value + LONGEST_COMPARED]
        personal = (traces,) if traces.personal else ()
        told = Told(tag, tag, personal, traces.uids, mandatory)
        if tag == CHARACTER_SET or len(raw) > LONGEST:
            self.stretches.part()
        else:
            self.stretches.add(raw, told)
        return told

    def _traces(self, tag: int, vr: bytes, raw: bytes, value: int) -> Traces:
        known: Traces = self.memory.get(raw)
        if known is MISSING:
            place = Place(raw, self.walk, vr, value, len(raw))
            known = traces_of(leaves(place, (tag,), self.character_set))
            self.memory.put(raw, known)
        return known


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
    return Known(
        tuple(one for one in traces if one.personal),
        frozenset().union(*(one.uids for one in traces)),
        mandatory,
    )


def _known(told: list[Told]) -> Known:
    if not told:
        return Known((), frozenset(), {})
    whole = _joined(told)
    return Known(whole.personal, whole.uids, whole.mandatory)
