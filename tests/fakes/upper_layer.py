"""The DICOM upper layer (PS3.8) and the C-STORE command set (PS3.7) as bytes, right or wrong.

Nothing is checked on the way out: lengths, flags and order are the caller's, so that a test can
send what no library would.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA_TF = 0x01, 0x02, 0x03, 0x04
RELEASE_RQ, RELEASE_RP, ABORT = 0x05, 0x06, 0x07
COMMAND, LAST = 0x01, 0x02
"""Bits of a message control header, PS3.8 section E.2."""

C_STORE_RQ, C_FIND_RQ, C_MOVE_RQ, C_ECHO_RQ = 0x0001, 0x0020, 0x0021, 0x0030
NO_DATA_SET = 0x0101
IMPLICIT_LITTLE, EXPLICIT_LITTLE = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"


class Pdu(NamedTuple):
    kind: int
    body: bytes


class Instance(NamedTuple):
    """An encoded instance and what its C-STORE-RQ says of it."""

    sop_class: str
    sop_instance: str
    syntax: str
    data: bytes


class Context(NamedTuple):
    """A presentation context as it is proposed."""

    context_id: int
    abstract: str
    syntaxes: Sequence[str] = (EXPLICIT_LITTLE,)


def pdu(kind: int, body: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack(">BBL", kind, 0, len(body) if length is None else length) + body


def item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(body)) + body


def associate_rq(
    contexts: Iterable[Context],
    *,
    called: bytes = b"PACSTREAM",
    calling: bytes = b"SENDER",
    version: int = 1,
    application_context: str = APPLICATION_CONTEXT,
    longest: int = 16384,
    further: bytes = b"",
) -> bytes:
    """`longest` is the P-DATA-TF that we take, `further` are more sub-items of the user item."""
    items = item(0x10, application_context.encode())
    for context in contexts:
        syntaxes = b"".join(item(0x40, syntax.encode()) for syntax in context.syntaxes)
        abstract = item(0x30, context.abstract.encode())
        items += item(0x20, bytes([context.context_id, 0, 0, 0]) + abstract + syntaxes)
    user = item(0x51, struct.pack(">L", longest)) + item(0x52, b"1.2.276.0.99.1") + further
    titles = called.ljust(16) + calling.ljust(16)
    fixed = struct.pack(">HH", version, 0) + titles + bytes(32)
    return pdu(ASSOCIATE_RQ, fixed + items + item(0x50, user))


def command_set(elements: Mapping[int, int | str | bytes]) -> bytes:
    """Group 0000 in implicit VR little endian: numbers as US, text as UI, bytes as they are."""
    encoded = b""
    for element, value in elements.items():
        raw = struct.pack("<H", value) if isinstance(value, int) else value
        raw = raw.encode() if isinstance(raw, str) else raw
        raw += b"\0" * (len(raw) % 2)
        encoded += struct.pack("<HHL", 0, element, len(raw)) + raw
    return struct.pack("<HHLL", 0, 0, 4, len(encoded)) + encoded


def store_elements(instance: Instance, message_id: int = 1) -> dict[int, int | str | bytes]:
    """The command set of a C-STORE-RQ (PS3.7 table 9.3-1), by element number."""
    return {
        0x0002: instance.sop_class,
        0x0100: C_STORE_RQ,
        0x0110: message_id,
        0x0700: 0,
        0x0800: 1,
        0x1000: instance.sop_instance,
    }


def pdv(context_id: int, fragment: bytes, flags: int, length: int | None = None) -> bytes:
    length = len(fragment) + 2 if length is None else length
    return struct.pack(">LBB", length, context_id, flags) + fragment


def p_data(*pdvs: bytes, length: int | None = None) -> bytes:
    return pdu(P_DATA_TF, b"".join(pdvs), length)


def fragments(context_id: int, content: bytes, kind: int, size: int) -> Iterator[bytes]:
    """The PDVs of one command set (`kind` COMMAND) or data set (0)."""
    for start in range(0, max(1, len(content)), size):
        last = LAST if start + size >= len(content) else 0
        yield pdv(context_id, content[start : start + size], kind | last)


def store_pdus(
    instance: Instance, context_id: int = 1, message_id: int = 1, size: int = 16372
) -> list[bytes]:
    """A whole C-STORE-RQ: the command set and the data set in fragments of `size` bytes."""
    command = command_set(store_elements(instance, message_id))
    parts = [*fragments(context_id, command, COMMAND, size)]
    parts += fragments(context_id, instance.data, 0, size)
    return [p_data(part) for part in parts]


def elements_of(command: bytes) -> dict[int, bytes]:
    """A command set as raw values by element number."""
    found, at = {}, 0
    while at < len(command):
        _, element, length = struct.unpack_from("<HHL", command, at)
        found[element] = command[at + 8 : at + 8 + length]
        at += 8 + length
    return found


def accepted(answer: Pdu) -> dict[int, str]:
    """The transfer syntax of each accepted context of an A-ASSOCIATE-AC, by context id."""
    found: dict[int, str] = {}
    for kind, body in items_of(answer.body[68:]):
        if kind == 0x21 and body[2] == 0:
            [(_, syntax)] = items_of(body[4:])
            found[body[0]] = syntax.decode("ascii").rstrip("\0")
    return found


def user_items(answer: Pdu) -> dict[int, list[bytes]]:
    """The sub-items of the user information item of an A-ASSOCIATE-AC, by type."""
    found: dict[int, list[bytes]] = {}
    for kind, body in items_of(answer.body[68:]):
        for sub_kind, content in items_of(body) if kind == 0x50 else ():
            found.setdefault(sub_kind, []).append(content)
    return found


def items_of(content: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(content):
        kind, length = content[at], int.from_bytes(content[at + 2 : at + 4])
        yield kind, content[at + 4 : at + 4 + length]
        at += 4 + length
