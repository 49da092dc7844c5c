"""Stretches of elements that stand in the same bytes in one instance of a series after the other,
known as a whole: a look-up and a comparison for dozens of elements."""

from __future__ import annotations

import mmap
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

E = TypeVar("E")
V = TypeVar("V")

Content = bytes | mmap.mmap

ROOM = 1 << 18
HEAD = 8
"""Bytes that tell which stretch may be there: tag, VR and length of its first element."""
TAG = 4


@dataclass(frozen=True, eq=False, slots=True)
class Stretch(Generic[V]):
    """`what` is made of the elements in `raw`; `members` are the bytes of each."""

    raw: bytes
    length: int
    what: V
    members: tuple[bytes, ...]


class Stretches(Generic[E, V]):
    """What was made of elements that came together before, for the data sets of one series.

    For each data set `begin`; then at each place `found`, or `add` what was made of the element
    there, or `part`; and `end`. Where a stretch is not as it was, the attributes that differ stand
    alone from then on, and the others make shorter stretches. `room` bytes of them at most.
    """

    def __init__(self, join: Callable[[list[E]], V], room: int = ROOM) -> None:
        self._join = join
        self._left = room
        self._known: dict[bytes, Stretch[V]] = {}
        self._varying: set[bytes] = set()
        self._seen: list[tuple[bytes, E] | None] = []
        self._failed: list[Stretch[V]] = []

    def begin(self) -> None:
        self._seen, self._failed = [], []

    def found(self, content: Content, at: int, end: int) -> Stretch[V] | None:
        """The stretch that stands at a place and ends before `end`, if one does."""
        stretch = self._known.get(content[at : at + HEAD])
        if stretch is None:
            return None
        stop = at + stretch.length
        if stop > end or content[at:stop] != stretch.raw:
            self._failed.append(stretch)
            return None
        self._seen.append(None)
        return stretch

    def add(self, raw: bytes, made: E) -> None:
        """An element that is in no known stretch, with all its bytes, and what was made of it."""
        self._seen.append(None if raw[:TAG] in self._varying else (raw, made))

    def part(self) -> None:
        """What comes now joins nothing before."""
        self._seen.append(None)

    def end(self) -> None:
        """The data set is over: learn from it."""
        if not any(self._seen):
            return
        seen = {one[0] for one in self._seen if one is not None}
        for stretch in self._failed:
            del self._known[stretch.raw[:HEAD]]
            self._left += stretch.length
            self._varying.update(raw[:TAG] for raw in stretch.members if raw not in seen)
        together: list[tuple[bytes, E]] = []
        for one in (*self._seen, None):
            if one is not None and one[0][:TAG] not in self._varying:
                together.append(one)
            elif together:
                self._learn(together)
                together = []

    def _learn(self, together: list[tuple[bytes, E]]) -> None:
        raw = b"".join(one for one, _ in together)
        if len(together) == 1 or len(raw) > self._left:
            self._varying.update(one[:TAG] for one, _ in together)
            return
        made = self._join([made for _, made in together])
        before = self._known.get(raw[:HEAD])
        self._left += before.length if before else 0
        self._left -= len(raw)
        members = tuple(one for one, _ in together)
        self._known[raw[:HEAD]] = Stretch(raw, len(raw), made, members)


class LastStretches(Generic[E, V]):
    """Those of the last `kept` series, or whatever `key` stands for; 0: nothing is known."""

    def __init__(self, join: Callable[[list[E]], V], kept: int) -> None:
        self._join = join
        self._kept = kept
        self._last: OrderedDict[Hashable, Stretches[E, V]] = OrderedDict()

    def of(self, key: Hashable) -> Stretches[E, V]:
        if not self._kept:
            return Stretches(self._join, 0)
        stretches = self._last.get(key)
        if stretches is None:
            stretches = self._last[key] = Stretches(self._join)
            if len(self._last) > self._kept:
                self._last.popitem(last=False)
        self._last.move_to_end(key)
        return stretches
