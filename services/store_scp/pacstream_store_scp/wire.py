"""The upper layer's bytes on one connection (PS3.8 section 9.3): PDUs and fragments, as they come.

What a recv brings is handed on in place, whether it holds a part of a fragment or several PDUs: no
PDU is ever gathered, so its length does not matter.
"""

from __future__ import annotations

import socket
import time
from struct import Struct
from typing import NamedTuple

P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = 0x04, 0x05, 0x06, 0x07
ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ = 0x01, 0x02, 0x03

CAPACITY = 1 << 18
PROGRESS = 1 << 17
"""Bytes that have to come within the read time-out while something is expected to go on."""
LONGEST_ASSOCIATE = 1 << 20
DRAINED_S = 1.0

TIMEVAL = Struct("@ll")
PDU_HEADER, PDV_HEADER = Struct(">BxI"), Struct(">IBB")
QUICK_ACK = getattr(socket, "TCP_QUICKACK", None)


class GoneError(Exception):
    """The connection has ended, or nothing came in time."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ReleaseRequested(Exception):  # noqa: N818 - no error
    """The peer asks for the association's release, between two messages."""


class ViolationError(Exception):
    """The peer breaks the protocol: `reason` of the A-ABORT (PS3.8 table 9-26)."""

    UNRECOGNIZED_PDU, UNEXPECTED_PDU = 1, 2
    UNEXPECTED_PARAMETER, INVALID_PARAMETER = 5, 6

    def __init__(self, reason: int) -> None:
        super().__init__(f"A-ABORT reason {reason}")
        self.reason = reason


class Piece(NamedTuple):
    """Consecutive bytes of one fragment. Valid until the next one is asked for."""

    context_id: int
    is_command: bool
    content: memoryview
    ends_message: bool
    """The last bytes of the last fragment of a command set or data set."""


class Wire:
    """Reads from and writes to a connection; the longest silences are in seconds.

    `idle_s` is the longest wait for a message to begin. Once it has begun, 128 KiB or the rest of
    it have to come in each `read_s`, however small the pieces are.
    """

    def __init__(self, connection: socket.socket, *, read_s: float, idle_s: float) -> None:
        self._connection = connection
        self._read_s = read_s
        self._patience = 0.0
        self._idle_s = idle_s
        self._capacity = PDU_HEADER.size + 4096
        self._buffer = bytearray(self._capacity)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._pdu_left = 0
        self._fragment_left = 0
        self._header = (0, 0)
        self._deadline = 0.0
        self._unmarked = 0
        # Time limits of the kernel's own: with those of Python each recv costs two more calls.
        connection.setblocking(True)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(read_s))
        self.expect()

    def wait_for_message(self) -> None:
        """From now on the peer may be silent for `idle_s`."""
        self._allow(self._idle_s)

    def expect(self) -> None:
        """A message has begun: the peer has to go on with it."""
        self._allow(self._read_s)

    def associate_request(self) -> bytes:
        """The A-ASSOCIATE-RQ PDU, whole, which has to come first."""
        self.expect()
        kind, length = PDU_HEADER.unpack(self._peek(PDU_HEADER.size))
        if kind != ASSOCIATE_RQ:
            if kind == ABORT:
                raise GoneError("aborted")
            known = ASSOCIATE_RQ <= kind <= ABORT
            raise ViolationError(
                ViolationError.UNEXPECTED_PDU if known else ViolationError.UNRECOGNIZED_PDU
            )
        if length > LONGEST_ASSOCIATE:
            raise ViolationError(ViolationError.INVALID_PARAMETER)
        self._grow(max(CAPACITY, PDU_HEADER.size + length))
        request = bytes(self._peek(PDU_HEADER.size + length))
        self._start += len(request)
        return request

    def piece(self) -> Piece:
        """The next bytes of a message.

        Raises ReleaseRequested, GoneError (also for an A-ABORT of the peer) and ViolationError.
        """
        if not self._fragment_left:
            self._next_fragment()
        if self._fragment_left and self._start == self._end:
            self._fill()
        size = min(self._fragment_left, self._end - self._start)
        content = self._view[self._start : self._start + size]
        self._start += size
        self._fragment_left -= size
        context_id, flags = self._header
        ends = not self._fragment_left and bool(flags & 2)
        return Piece(context_id, bool(flags & 1), content, ends)

    def send(self, pdu: bytes) -> None:
        """Raises GoneError."""
        try:
            self._connection.sendall(pdu)
        except OSError:
            raise GoneError("send failed") from None

    def end(self, last_pdu: bytes = b"") -> None:
        """Send a last PDU and wait a moment for the peer to close: it would not read the PDU if
        the connection were reset under it."""
        try:
            self._connection.settimeout(DRAINED_S)
            self._connection.sendall(last_pdu)
            self._connection.shutdown(socket.SHUT_WR)
            end = time.monotonic() + DRAINED_S
            while self._connection.recv_into(self._buffer) and time.monotonic() < end:
                pass
        except OSError:
            return

    def _next_fragment(self) -> None:
        """Read on to the first byte of a fragment that is not empty, or that ends a message."""
        if not self._pdu_left:
            self._next_pdu()
        if self._pdu_left < PDV_HEADER.size:
            raise ViolationError(ViolationError.INVALID_PARAMETER)
        length, context_id, flags = PDV_HEADER.unpack(self._peek(PDV_HEADER.size))
        self._start += PDV_HEADER.size
        if length < 2 or length > self._pdu_left - 4:
            raise ViolationError(ViolationError.INVALID_PARAMETER)
        self._pdu_left -= 4 + length
        self._fragment_left = length - 2
        self._header = (context_id, flags)

    def _next_pdu(self) -> None:
        kind, length = PDU_HEADER.unpack(self._peek(PDU_HEADER.size))
        self._start += PDU_HEADER.size
        if kind == P_DATA:
            self._pdu_left = length
            return
        if kind == RELEASE_RQ:
            raise ReleaseRequested
        if kind == ABORT:
            raise GoneError("aborted")
        known = ASSOCIATE_RQ <= kind <= RELEASE_RP
        raise ViolationError(
            ViolationError.UNEXPECTED_PDU if known else ViolationError.UNRECOGNIZED_PDU
        )

    def _peek(self, size: int) -> memoryview:
        """The next `size` bytes in one run; they stay."""
        if self._start + size > self._capacity:
            rest = self._end - self._start
            self._buffer[:rest] = self._buffer[self._start : self._end]
            self._start, self._end = 0, rest
        while self._end - self._start < size:
            self._fill()
        return self._view[self._start : self._start + size]

    def _fill(self) -> None:
        """Wait for at least one byte more."""
        if self._start == self._end:
            self._start = self._end = 0
        connection = self._connection
        try:
            if QUICK_ACK is not None:
                connection.setsockopt(socket.IPPROTO_TCP, QUICK_ACK, 1)
            count = connection.recv_into(self._view[self._end :])
        except BlockingIOError:
            raise GoneError("timed out") from None
        except OSError:
            raise GoneError("connection lost") from None
        if not count:
            raise GoneError("connection closed")
        if time.monotonic() > self._deadline:
            raise GoneError("too slow")
        self._end += count
        self._unmarked += count
        if self._unmarked >= PROGRESS:
            self.expect()

    def _allow(self, seconds: float) -> None:
        if seconds != self._patience:
            timeval = _timeval(seconds)
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
            self._patience = seconds
        self._deadline = time.monotonic() + seconds
        self._unmarked = 0

    def _grow(self, capacity: int) -> None:
        held = self._buffer[self._start : self._end]
        self._capacity = capacity
        self._buffer = held + bytearray(capacity - len(held))
        self._view = memoryview(self._buffer)
        self._start, self._end = 0, len(held)


def _timeval(seconds: float) -> bytes:
    whole = int(seconds)
    return TIMEVAL.pack(whole, max(1, int((seconds - whole) * 1_000_000)))
