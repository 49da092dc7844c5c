"""Stretches of elements: what is found is what stands there, and what varies stands alone."""

from __future__ import annotations

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from pacstream.stretches import LastStretches, Stretches

DataSet = list[tuple[int, bytes]]
"""Elements: tag and value."""

VALUES = (None, b"", b"a", b"b", b"longer")
"""None: the element is not there."""


def data_set(chosen: bytes) -> DataSet:
    """For each byte an element, or none."""
    values = enumerate((VALUES[one % len(VALUES)] for one in chosen), 1)
    return [(tag, value) for tag, value in values if value is not None]


def element(tag: int, value: bytes) -> bytes:
    return struct.pack("<L2sH", tag, b"XX", len(value)) + value


def joined(parts: list[DataSet]) -> DataSet:
    return [one for part in parts for one in part]


def walked(elements: DataSet, stretches: Stretches[DataSet, DataSet]) -> tuple[DataSet, int]:
    """The elements as a walk finds them, and how many of them alone."""
    content = b"".join(element(*one) for one in elements)
    found: DataSet = []
    at = alone = 0
    stretches.begin()
    while at < len(content):
        stretch = stretches.found(content, at, len(content))
        if stretch is not None:
            found += stretch.what
            at += stretch.length
            continue
        tag, _, length = struct.unpack_from("<L2sH", content, at)
        raw = content[at : at + 8 + length]
        found.append((tag, raw[8:]))
        stretches.add(raw, found[-1:])
        at += len(raw)
        alone += 1
    stretches.end()
    return found, alone


def series(*values: bytes) -> list[DataSet]:
    """Data sets that differ in the middle one of five elements."""
    return [[(1, b"a"), (2, b"b"), (3, value), (4, b"d"), (5, b"e")] for value in values]


@settings(deadline=None)
@given(st.lists(st.binary(max_size=12), max_size=10), st.sampled_from([0, 40, 1 << 18]))
def test_a_walk_finds_what_is_there_whatever_was_there_before(
    chosen: list[bytes], room: int
) -> None:
    stretches: Stretches[DataSet, DataSet] = Stretches(joined, room)
    for elements in map(data_set, chosen):
        assert walked(elements, stretches)[0] == elements
        held = sum(stretch.length for stretch in stretches._known.values())
        assert held == room - stretches._left <= room


def test_only_what_varies_is_read_alone() -> None:
    stretches: Stretches[DataSet, DataSet] = Stretches(joined)
    alone = [walked(one, stretches)[1] for one in series(b"1", b"2", b"33", b"4")]
    assert alone == [5, 5, 1, 1]


def test_a_walk_that_broke_off_teaches_nothing() -> None:
    stretches: Stretches[DataSet, DataSet] = Stretches(joined)
    stretches.begin()
    stretches.add(element(1, b"a"), [(1, b"a")])
    stretches.add(element(2, b"x"), [(2, b"x")])
    (elements,) = series(b"1")
    assert walked(elements, stretches) == (elements, 5)
    assert walked(elements, stretches) == (elements, 0)


def test_what_is_parted_is_in_no_stretch_together() -> None:
    stretches: Stretches[DataSet, DataSet] = Stretches(joined)
    stretches.begin()
    for tag in (1, 2):
        stretches.add(element(tag, b"a"), [(tag, b"a")])
    stretches.part()
    for tag in (3, 4):
        stretches.add(element(tag, b"a"), [(tag, b"a")])
    stretches.end()
    content = b"".join(element(tag, b"a") for tag in (1, 2, 3, 4))
    stretch = stretches.found(content, 0, len(content))
    assert stretch is not None and stretch.what == [(1, b"a"), (2, b"a")]
    assert stretches.found(content, 0, stretch.length - 1) is None


def test_the_last_series_are_known_and_no_more() -> None:
    last: LastStretches[DataSet, DataSet] = LastStretches(joined, 2)
    first = last.of("1.2")
    assert last.of("1.3") is not first and last.of("1.2") is first
    last.of("1.4")
    assert last.of("1.2") is first
    assert len({id(last.of(uid)) for uid in ("1.3", "1.4")} | {id(first)}) == 3
    nothing: LastStretches[DataSet, DataSet] = LastStretches(joined, 0)
    (elements,) = series(b"1")
    assert [walked(elements, nothing.of("1.2"))[1] for _ in range(2)] == [5, 5]
