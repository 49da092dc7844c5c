"""A second look at pixels: a text detector that can hold an instance back, and never let one out.

It is off unless PACSTREAM_OCR is set, and needs the extra `ocr`. Detector and decoders run in a
child process, so that what they crash on withholds one instance and ends nothing.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pacstream.errors import InputError
from pacstream.logs import event

LOG = logging.getLogger(__name__)

TEXT, NOT_SEEN = "text_in_pixels", "pixels_not_seen"
NEEDED = ("rapidocr", "onnxruntime", "numpy", "PIL")
DETECTOR = (sys.executable, "-m", "pacstream_anonymizer.text_detector")

ANSWER_S = 300.0
"""For one instance. A frame takes about a second, a large radiograph ten, and there are eight."""
STARTS = 2
"""A child that dies may have been killed from outside: the next one tries the instance again."""


@dataclass
class _Child:
    process: subprocess.Popen[bytes]
    line: socket.socket

    def end(self) -> None:
        self.line.close()
        self.process.kill()
        self.process.wait()


class SecondLook:
    """One detector, started at the first question. For several threads: one question at a time."""

    def __init__(self, command: Sequence[str] = DETECTOR, *, answer_s: float = ANSWER_S) -> None:
        self._command = tuple(command)
        self._answer_s = answer_s
        self._lock = threading.Lock()
        self._child: _Child | None = None

    def reason(self, path: Path) -> str:
        """Why the pixels of the instance `path` can't be let out: `text_in_pixels`, or
        `pixels_not_seen` if nobody could look; empty if no text was found."""
        with self._lock:
            for _ in range(STARTS):
                answer = self._ask(path)
                if answer is not None:
                    return answer
        return NOT_SEEN

    def close(self) -> None:
        with self._lock:
            self._end_child()

    def _ask(self, path: Path) -> str | None:
        """None if the child is dead, or is now because it did not answer."""
        try:
            child = self._child = self._child or self._start()
            child.line.sendall(json.dumps({"path": str(path.absolute())}).encode() + b"\n")
            reply = json.loads(_line_from(child.line))
        except (OSError, ValueError) as error:
            event(LOG, "text detector lost", logging.WARNING, error=type(error).__name__)
            self._end_child()
            return None
        return _reason_of(reply)

    def _start(self) -> _Child:
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
        return _Child(process, ours)

    def _end_child(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.end()


def _reason_of(reply: object) -> str:
    """Only a plain "no box" is a no."""
    if not isinstance(reply, dict) or type(reply.get("boxes")) is not int:
        return NOT_SEEN
    return TEXT if reply["boxes"] else ""


def _line_from(line: socket.socket) -> bytes:
    """Raises OSError if the other side ends, or is silent for too long."""
    received = b""
    while not received.endswith(b"\n"):
        piece = line.recv(4096)
        if not piece:
            raise ConnectionError
        received += piece
    return received


DETECTOR_OF_PROCESS = SecondLook()
"""One for the process: a child with a model of its own is no small thing."""


def look_for(*, ocr: bool) -> Callable[[Path], str] | None:
    """The second look, if it is asked for. Raises InputError `ocr_missing` if it is not installed:
    without it nothing may be released then."""
    if not ocr:
        return None
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"PACSTREAM_OCR asks for a text detector, and {', '.join(missing)} is not installed:"
            " pip install 'pacstream[ocr]', or unset PACSTREAM_OCR",
            code="ocr_missing",
        )
    return DETECTOR_OF_PROCESS.reason
