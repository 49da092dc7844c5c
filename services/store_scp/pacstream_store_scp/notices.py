"""Requests of our own on an association that the peer has opened: N-EVENT-REPORT."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from pacstream_store_scp.wire import GoneError

MESSAGE_IDS = 0xFFFF


class Notices:
    """What is outstanding on one association. `send` is called by other threads than its own, and
    `write`, which may raise GoneError, under `lock` only."""

    def __init__(self, lock: threading.Lock, write: Callable[[bytes], None]) -> None:
        self._lock = lock
        self._write = write
        self._answers: dict[int, SimpleQueue[int | None]] = {}
        self._sent = 0
        self._ended = False
        self.waiting: list[bytes] = []

    def send(
        self, message: Callable[[int], bytes], is_quiet: Callable[[], bool], patience_s: float
    ) -> int | None:
        """Send the PDUs that `message` makes of a message ID; if the association is not quiet now,
        its thread does that by `flush` when it is: no message of the peer is under way then, and
        the thread itself sends nothing.

        The status of the response; None if there is none in `patience_s`, or the association ends.
        """
        answer: SimpleQueue[int | None] = SimpleQueue()
        with self._lock:
            if self._ended:
                return None
            message_id = self._sent = self._sent % MESSAGE_IDS + 1
            pdus = message(message_id)
            self._answers[message_id] = answer
            self.waiting.append(pdus)
        try:
            with self._lock:
                if is_quiet():
                    self.flush()
            return answer.get(timeout=patience_s)
        except (GoneError, Empty):
            return None
        finally:
            self._forget(message_id, pdus)

    def _forget(self, message_id: int, pdus: bytes) -> None:
        with self._lock:
            del self._answers[message_id]
            if pdus in self.waiting:
                self.waiting.remove(pdus)

    def flush(self) -> None:
        """Send what waits; the caller holds the lock. Raises GoneError."""
        while self.waiting:
            self._write(self.waiting.pop(0))

    def answered(self, message_id: int, status: int) -> None:
        """A response has come. One that nobody waits for is none of ours, or too late."""
        answer = self._answers.get(message_id)
        if answer is not None:
            answer.put(status)

    def end(self) -> None:
        """The association ends: nothing is sent any more, nothing will be answered."""
        with self._lock:
            self._ended = True
            for answer in list(self._answers.values()):
                answer.put(None)
