"""What was worked out once for some bytes, kept while it is of use and there is room for it."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

V = TypeVar("V")

ROOM = 4 << 20
LONGEST = 1 << 16
"""Bytes: what is longer is rarely seen twice, and drives out much that is."""

MISSING: object = object()


class Memory(Generic[V]):
    """Values by bytes, about the last `room` bytes of keys that were asked for.

    Two generations instead of a list of uses: what is asked for moves into the young one; when that
    is full it becomes the old one, and what nobody asked for since is gone. Room 0 keeps nothing.
    """

    def __init__(self, room: int = ROOM) -> None:
        self._half = room // 2
        self._left = self._half
        self._young: dict[bytes, V] = {}
        self._old: dict[bytes, V] = {}

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())

    def get(self, key: bytes) -> Any:
        """The value of `key`, or MISSING. (Of no type: `cast` costs as much as the look-up.)"""
        value: Any = self._young.get(key, MISSING)
        if value is MISSING and self._old:
            value = self._old.pop(key, MISSING)
            if value is not MISSING:
                self.put(key, value)
        return value

    def put(self, key: bytes, value: V) -> None:
        size = len(key) + 1
        if size > min(LONGEST, self._half):
            return
        if size > self._left:
            self._old, self._young, self._left = self._young, {}, self._half
        self._young[key] = value
        self._left -= size
