"""A memory that holds what is asked for, and no more than it has room for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pacstream.memory import LONGEST, MISSING, Memory


def key(number: int) -> bytes:
    return number.to_bytes(9, "big")


def test_what_was_put_is_there() -> None:
    memory: Memory[int | None] = Memory()
    assert memory.get(b"a") is MISSING
    memory.put(b"a", None)
    assert memory.get(b"a") is None


def test_what_nobody_asks_for_goes_and_the_rest_stays() -> None:
    memory: Memory[int] = Memory(room=200)
    memory.put(b"asked for", 0)
    memory.put(b"forgotten", 1)
    for number in range(100):
        memory.put(key(number), number)
        assert memory.get(b"asked for") == 0
    assert memory.get(b"forgotten") is MISSING


def test_what_is_too_long_or_has_no_room_is_not_kept() -> None:
    memory: Memory[int] = Memory()
    memory.put(bytes(LONGEST), 1)
    assert len(memory) == 0
    without: Memory[int] = Memory(room=0)
    without.put(b"", 1)
    assert len(without) == 0


@given(st.lists(st.integers(0, 40)), st.integers(0, 300))
def test_it_says_what_was_put_last_or_nothing_and_keeps_to_its_room(
    numbers: list[int], room: int
) -> None:
    memory: Memory[int] = Memory(room)
    for number in numbers:
        assert memory.get(key(number)) in (MISSING, number)
        memory.put(key(number), number)
        assert len(memory) * 10 <= room
