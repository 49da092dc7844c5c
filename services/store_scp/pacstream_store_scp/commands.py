"""DIMSE command sets (PS3.7 sections 6.3, 9.3 and 10.3): Implicit VR Little Endian, always.

Only what a storage SCP needs of them, so that no data set object is made for each instance.
"""

from __future__ import annotations

import re
from struct import Struct, error
from struct import pack as pack_struct

from pacstream_store_scp.wire import P_DATA, PDU_HEADER, PDV_HEADER, ViolationError

C_STORE_RQ, C_ECHO_RQ, N_ACTION_RQ, C_CANCEL_RQ = 0x0001, 0x0030, 0x0130, 0x0FFF
N_EVENT_REPORT_RQ, N_EVENT_REPORT_RSP = 0x0100, 0x8100
RESPONSE = 0x8000
WITH_DATA_SET, NO_DATA_SET = 0x0001, 0x0101
IS_COMMAND, IS_LAST = 1, 2
"""Bits of a message control header (PS3.8 section E.2)."""

SOP_CLASS, COMMAND_FIELD, MESSAGE_ID, RESPONDED_TO = 0x0002, 0x0100, 0x0110, 0x0120
REQUESTED_SOP_CLASS, DATA_SET_TYPE, STATUS = 0x0003, 0x0800, 0x0900
SOP_INSTANCE, REQUESTED_SOP_INSTANCE = 0x1000, 0x1001
EVENT_TYPE, ACTION_TYPE = 0x1002, 0x1008

LONGEST = 1 << 14
"""Bytes of a command set. Those of the standard need less than 1 kB."""

ELEMENT = Struct("<HHI")
NOT_UID = re.compile(rb"[^0-9.]+")


class Command:
    """The elements of one command set. Raises ViolationError if it is none."""

    def __init__(self, encoded: bytes) -> None:
        self._values = _elements(encoded)
        self.field = self.number(COMMAND_FIELD)
        self.has_data_set = self.number(DATA_SET_TYPE) != NO_DATA_SET

    @property
    def is_request(self) -> bool:
        return not self.field & RESPONSE and self.field != C_CANCEL_RQ

    def number(self, element: int) -> int:
        """A US value. Raises ViolationError without one."""
        value = self._values.get(element, b"")
        if len(value) != 2:
            raise ViolationError(ViolationError.INVALID_PARAMETER)
        return int.from_bytes(value, "little")

    def uid(self, element: int) -> str:
        """A UI value, cut down to the characters that a UID may have; empty without one."""
        return NOT_UID.sub(b"", self._values.get(element, b""))[:64].decode("ascii")

    def response(self, status: int) -> bytes:
        """The response's command set: the request's UIDs and message ID, and the status."""
        sop_class = self._first(SOP_CLASS, REQUESTED_SOP_CLASS)
        sop_instance = self._first(SOP_INSTANCE, REQUESTED_SOP_INSTANCE)
        values = [
            (SOP_CLASS, sop_class),
            (COMMAND_FIELD, us(self.field | RESPONSE)),
            (RESPONDED_TO, us(self.number(MESSAGE_ID))),
            (DATA_SET_TYPE, us(NO_DATA_SET)),
            (STATUS, us(status)),
            (SOP_INSTANCE, sop_instance),
        ]
        return encoded([(element, value) for element, value in values if value])

    def _first(self, *elements: int) -> bytes:
        """The first of `elements` that has a value, as it came."""
        return next((self._values[e] for e in elements if self._values.get(e)), b"")


def encoded(values: list[tuple[int, bytes]]) -> bytes:
    """A command set of group 0000 elements, in ascending order."""
    body = b"".join(ELEMENT.pack(0, element, len(value)) + value for element, value in values)
    return ELEMENT.pack(0, 0, 4) + pack_struct("<I", len(body)) + body


def pdus(context_id: int, content: bytes, longest: int, kind: int = IS_COMMAND) -> bytes:
    """A command set, or with `kind` 0 a data set, in P-DATA-TF PDUs (PS3.8 section 9.3.5) of
    `longest` bytes each; 0: in one."""
    if not longest or len(content) + PDV_HEADER.size <= longest:
        return _pdu(context_id, content, kind | IS_LAST)
    size = max(2, longest - PDV_HEADER.size)
    starts = range(0, len(content), size)
    return b"".join(
        _pdu(
            context_id,
            content[start : start + size],
            kind | (IS_LAST if start == starts[-1] else 0),
        )
        for start in starts
    )


def us(number: int) -> bytes:
    """A US value."""
    return number.to_bytes(2, "little")


def _pdu(context_id: int, fragment: bytes, flags: int) -> bytes:
    header = PDU_HEADER.pack(P_DATA, PDV_HEADER.size + len(fragment))
    return header + PDV_HEADER.pack(len(fragment) + 2, context_id, flags) + fragment


def _elements(encoded: bytes) -> dict[int, bytes]:
    values: dict[int, bytes] = {}
    at = 0
    try:
        while at < len(encoded):
            group, element, length = ELEMENT.unpack_from(encoded, at)
            at += ELEMENT.size
            if group or at + length > len(encoded):
                raise ViolationError(ViolationError.INVALID_PARAMETER)
            values[element] = encoded[at : at + length]
            at += length
    except error:
        raise ViolationError(ViolationError.INVALID_PARAMETER) from None
    return values
