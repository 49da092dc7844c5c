"""A storage SCU that can break every rule: one connection, all on it is the caller's."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterable

from tests.fakes.upper_layer import (
    ASSOCIATE_AC,
    P_DATA_TF,
    RELEASE_RP,
    RELEASE_RQ,
    Context,
    Instance,
    Pdu,
    associate_rq,
    elements_of,
    pdu,
    store_pdus,
)

TCP_REPAIR = 19


class Sender:
    """One connection. Reads raise TimeoutError after `patience_s` without an answer."""

    def __init__(self, port: int, patience_s: float = 10.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), patience_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, content: bytes, piece: int = 0, pause_s: float = 0.0) -> None:
        """All of it, in pieces of `piece` bytes with pauses if wanted."""
        size = piece or max(1, len(content))
        for start in range(0, len(content), size):
            self.socket.sendall(content[start : start + size])
            time.sleep(pause_s)

    def sent_before_the_end(self, pieces: Iterable[bytes]) -> int:
        """Send until the peer takes no more: the number of bytes that went out."""
        total = 0
        for content in pieces:
            try:
                self.socket.sendall(content)
            except (ConnectionError, TimeoutError):
                break
            total += len(content)
        return total

    def _exactly(self, size: int) -> bytes:
        content = b""
        while len(content) < size:
            more = self.socket.recv(size - len(content))
            if not more:
                break
            content += more
        return content

    def read(self) -> Pdu | None:
        """The next PDU; None if the peer has closed or reset the connection."""
        try:
            head = self._exactly(6)
            if len(head) < 6:
                return None
            return Pdu(head[0], self._exactly(int.from_bytes(head[2:])))
        except ConnectionError:
            return None

    def rest(self) -> list[Pdu]:
        """Everything up to the end of the connection."""
        return list(iter(self.read, None))

    def associate(self, *contexts: Context) -> Sender:
        """Propose `contexts`; AssertionError if the association is not accepted."""
        self.send(associate_rq(contexts))
        answer = self.read()
        assert answer is not None and answer.kind == ASSOCIATE_AC, answer
        return self

    def response(self) -> dict[int, bytes]:
        """The next response's command set; AssertionError if something else comes."""
        answer = self.read()
        assert answer is not None and answer.kind == P_DATA_TF, answer
        return elements_of(answer.body[6:])

    def status(self) -> int:
        return int.from_bytes(self.response()[0x0900], "little")

    def store(self, instance: Instance, context_id: int = 1, message_id: int = 1) -> int:
        """One C-STORE as it should be: its status."""
        self.send(b"".join(store_pdus(instance, context_id, message_id)))
        return self.status()

    def release(self) -> None:
        self.send(pdu(RELEASE_RQ, bytes(4)))
        assert self.rest() == [Pdu(RELEASE_RP, bytes(4))]

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def vanish(self) -> None:
        """Leave without a packet, as a machine that loses its power. PermissionError if not root.

        A packet from the peer is answered with RST then, as by a machine that is up again.
        """
        self.socket.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        self.socket.close()
