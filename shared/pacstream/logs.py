"""Log lines as JSON, without identifiers.

A UID is logged as `ref(uid)`, a short digest: enough to follow one series through all services,
useless to anyone without the ledger. Texts of exceptions from libraries may quote values, so only
our own are printed; of the others the type and the place are.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import time
import traceback
import warnings
from types import TracebackType

from pacstream.errors import PacstreamError

QUIET = {
    "pynetdicom": logging.CRITICAL,
    "pydicom": logging.CRITICAL,
    "pika": logging.CRITICAL,
    "kombu": logging.CRITICAL,
    "amqp": logging.CRITICAL,
    "nameko": logging.CRITICAL,
    "dicomweb_client": logging.CRITICAL,
    "urllib3": logging.CRITICAL,
}
"""pynetdicom logs query identifiers at INFO; pydicom, kombu and nameko quote values and bodies."""


def ref(uid: str) -> str:
    """A stable short stand-in for a UID or any other identifier of high entropy."""
    return hashlib.blake2s(uid.encode(), digest_size=6, person=b"pacslog").hexdigest()


def place_of(tb: TracebackType | None) -> str:
    frames = traceback.extract_tb(tb)
    return " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames[-4:]))


def describe(error: BaseException) -> str:
    """Type, place and, for our own exceptions, text; nothing that a library wrote."""
    text = f"{error.code}: {error}" if isinstance(error, PacstreamError) else type(error).__name__
    return f"{text} at {place_of(error.__traceback__)}"


class JsonFormatter(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "service": self._service,
            "event": record.getMessage(),
        }
        fields = getattr(record, "fields", None)
        if isinstance(fields, dict):
            line.update(fields)
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = describe(record.exc_info[1])
        return json.dumps(line, default=str)


def configure(service: str, level: str = "INFO") -> None:
    """Send this process's log to stderr as JSON lines, and silence what quotes values."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    silence_libraries()


def silence_libraries() -> None:
    """Keep libraries from printing what they were given: names, identifiers, bodies."""
    for name, level in QUIET.items():
        logging.getLogger(name).setLevel(level)
    warnings.simplefilter("ignore")


def event(
    logger: logging.Logger, text: str, level: int = logging.INFO, /, **fields: object
) -> None:
    """Log one event with fields; the caller gives codes, counts and `ref`s only."""
    logger.log(level, text, extra={"fields": fields})
