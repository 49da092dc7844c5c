"""A program in a process of its own, for what may crash, hang or eat up memory: it is asked with
lines of JSON, one at a time, and started again when it is lost."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pacstream.logs import event

LOG = logging.getLogger(__name__)

STARTS = 2
"""A child that dies may have been killed from outside: the next one is asked again."""


@dataclass
class _Process:
    process: subprocess.Popen[bytes]
    line: socket.socket

    def end(self) -> None:
        self.line.close()
        self.process.kill()
        self.process.wait()


class Child:
    """`command` is started at the first question, with the number of a socket as its last argument;
    it ends when that does. For several threads: one question at a time."""

    def __init__(self, command: Sequence[str], *, name: str, answer_s: float) -> None:
        """`name` is for the log; whoever gives no answer within `answer_s` seconds is killed."""
        self._command = tuple(command)
        self._name = name
        self._answer_s = answer_s
        self._lock = threading.Lock()
        self._child: _Process | None = None

    def ask(self, question: Mapping[str, object]) -> object:
        """What the child answers, as JSON; None if nobody does."""
        with self._lock:
            for _ in range(STARTS):
                answer = self._ask(question)
                if answer is not None:
                    return answer
        return None

    def close(self) -> None:
        with self._lock:
            self._end()

    def _ask(self, question: Mapping[str, object]) -> object:
        """None if the child is dead, or is now because it did not answer."""
        try:
            child = self._child = self._child or self._start()
            child.line.sendall(json.dumps(question).encode() + b"\n")
            answer: object = json.loads(_line_from(child.line))
        except (OSError, ValueError) as error:
            event(LOG, f"{self._name} lost", logging.WARNING, error=type(error).__name__)
            self._end()
            return None
        return answer

    def _start(self) -> _Process:
        ours, its = socket.socketpair()
        with contextlib.closing(its):
            process = subprocess.Popen(
                [*self._command, str(its.fileno())],
                pass_fds=[its.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        ours.settimeout(self._answer_s)
        return _Process(process, ours)

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.end()


def _line_from(line: socket.socket) -> bytes:
    """Raises OSError if the other side ends, or is silent for too long."""
    received = b""
    while not received.endswith(b"\n"):
        piece = line.recv(4096)
        if not piece:
            raise ConnectionError
        received += piece
    return received
