"""What a storage SCU sends on one connection, as it should be and then changed at random."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.fakes.upper_layer import (
    ABORT,
    C_ECHO_RQ,
    COMMAND,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    LAST,
    NO_DATA_SET,
    RELEASE_RQ,
    Context,
    Instance,
    associate_rq,
    command_set,
    fragments,
    item,
    p_data,
    pdu,
    pdv,
    store_elements,
    store_pdus,
)

VERIFICATION = "1.2.840.10008.1.1"
MOST_CHANGES = 6
TELLING = (0, 1, 2, 3, 5, 7, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0xFFFF, 1 << 31, 0xFFFFFFFF)
"""Numbers at which lengths, flags and ids go wrong."""


class Change(NamedTuple):
    """One change to a list of PDUs. All numbers are valid: they count modulo what they address."""

    kind: int
    where: int
    at: int
    value: int


class Plan(NamedTuple):
    """All that determines one stream. `piece`: bytes sent at once; 0: all."""

    base: int
    changes: tuple[Change, ...]
    piece: int
    resets: bool


def random_plan(seed: str) -> Plan:
    """The same plan for the same seed."""
    chosen = random.Random(seed)
    number = chosen.getrandbits
    changes = [
        Change(number(8), number(16), number(16), number(32))
        for _ in range(chosen.randrange(MOST_CHANGES + 1))
    ]
    piece = chosen.choice((0, 0, 0, 1, 7, 100, 1000))
    return Plan(number(8), tuple(changes), piece, chosen.random() < 0.1)


def stream(plan: Plan, instances: tuple[Instance, Instance]) -> bytes:
    pdus = BASES[plan.base % len(BASES)](*instances)
    for change in plan.changes:
        if pdus:
            CHANGES[change.kind % len(CHANGES)](pdus, change)
    return b"".join(pdus)


# ---- as it should be


def _plain(one: Instance, two: Instance) -> list[bytes]:
    request = associate_rq([Context(1, one.sop_class)])
    return [request, *store_pdus(one), *store_pdus(two), pdu(RELEASE_RQ, bytes(4))]


def _fragmented(one: Instance, two: Instance) -> list[bytes]:
    request = associate_rq([Context(1, one.sop_class), Context(3, two.sop_class)])
    return [request, *store_pdus(one, 3, 1, 90), *store_pdus(two, 1, 2, 60), pdu(ABORT, bytes(4))]


def _shared_pdus(one: Instance, two: Instance) -> list[bytes]:
    pdus = [associate_rq([Context(5, one.sop_class, [EXPLICIT_LITTLE, IMPLICIT_LITTLE])])]
    for number, instance in enumerate((one, two)):
        command = command_set(store_elements(instance, number))
        parts = [*fragments(5, command, COMMAND, 50), *fragments(5, instance.data, 0, 200)]
        pdus += [p_data(*parts[start : start + 5]) for start in range(0, len(parts), 5)]
    return [*pdus, pdu(RELEASE_RQ, bytes(4))]


def _with_echo(one: Instance, two: Instance) -> list[bytes]:
    echo = command_set({0x0002: VERIFICATION, 0x0100: C_ECHO_RQ, 0x0110: 9, 0x0800: NO_DATA_SET})
    asked = p_data(pdv(3, echo, COMMAND | LAST))
    request = associate_rq([Context(1, one.sop_class), Context(3, VERIFICATION)])
    return [request, asked, *store_pdus(one), asked, *store_pdus(two, 1, 3, 400)]


def _negotiating(one: Instance, two: Instance) -> list[bytes]:
    uid = struct.pack(">H", len(one.sop_class)) + one.sop_class.encode()
    further = item(0x53, struct.pack(">HH", 8, 8)) + item(0x54, uid + b"\1\1")
    further += item(0x56, uid + b"\2\0\3\0\0\0") + item(0x58, b"\2\1\0\1u\0\1p")
    contexts = [Context(number, one.sop_class) for number in range(1, 40, 2)]
    return [associate_rq(contexts, further=further), *store_pdus(two, 7)]


BASES: tuple[Callable[[Instance, Instance], list[bytes]], ...] = (
    _plain,
    _fragmented,
    _shared_pdus,
    _with_echo,
    _negotiating,
)


# ---- and changed


def _chosen(pdus: list[bytes], change: Change) -> Iterator[tuple[int, int]]:
    """Index of a PDU, and of a byte in it."""
    which = change.where % len(pdus)
    if pdus[which]:
        yield which, change.at % len(pdus[which])


def _flip(pdus: list[bytes], change: Change) -> None:
    for which, at in _chosen(pdus, change):
        changed = bytearray(pdus[which])
        changed[at] ^= 1 << change.value % 8
        pdus[which] = bytes(changed)


def _number_at(pdus: list[bytes], which: int, at: int, change: Change) -> None:
    size = 2 if change.value & 0x100 else 4
    value = TELLING[change.value % len(TELLING)] & ((1 << 8 * size) - 1)
    number = value.to_bytes(size, "big" if change.value & 0x200 else "little")
    pdus[which] = pdus[which][:at] + number + pdus[which][at + size :]


def _number(pdus: list[bytes], change: Change) -> None:
    for which, at in _chosen(pdus, change):
        _number_at(pdus, which, at, change)


def _length(pdus: list[bytes], change: Change) -> None:
    """The PDU's length, or that of its first PDV."""
    for which, at in _chosen(pdus, change):
        place = 2 if at % 2 else 6
        near = len(pdus[which]) - 6 + change.value % 9 - 4
        value = near if change.value & 0x400 else TELLING[change.value % len(TELLING)]
        number = max(0, value).to_bytes(4, "big")
        pdus[which] = pdus[which][:place] + number + pdus[which][place + 4 :]


def _pdv_header(pdus: list[bytes], change: Change) -> None:
    for which, at in _chosen(pdus, change):
        place = 10 + at % 2
        pdus[which] = pdus[which][:place] + bytes([change.value % 256]) + pdus[which][place + 1 :]


def _cut(pdus: list[bytes], change: Change) -> None:
    for which, at in _chosen(pdus, change):
        pdus[which] = pdus[which][:at]


def _end(pdus: list[bytes], change: Change) -> None:
    _cut(pdus, change)
    del pdus[change.where % len(pdus) + 1 :]


def _insert(pdus: list[bytes], change: Change) -> None:
    noise = random.Random(change.value).randbytes(change.value % 300)
    for which, at in _chosen(pdus, change):
        pdus[which] = pdus[which][:at] + noise + pdus[which][at:]


def _duplicate(pdus: list[bytes], change: Change) -> None:
    pdus.insert(change.at % (len(pdus) + 1), pdus[change.where % len(pdus)])


def _drop(pdus: list[bytes], change: Change) -> None:
    del pdus[change.where % len(pdus)]


def _swap(pdus: list[bytes], change: Change) -> None:
    one, two = change.where % len(pdus), change.at % len(pdus)
    pdus[one], pdus[two] = pdus[two], pdus[one]


CHANGES: tuple[Callable[[list[bytes], Change], None], ...] = (
    _flip,
    _number,
    _length,
    _pdv_header,
    _cut,
    _end,
    _insert,
    _duplicate,
    _drop,
    _swap,
)
