"""One instance while it comes: its first bytes decide where the rest is written.

Bytes go to the file as they come, so an instance of any size needs no more memory than its head. A
disk that refuses does not stop the stream: the sender is told at the end.
"""

from __future__ import annotations

import errno
import logging
import os
import queue
import tempfile
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Protocol

from pacstream import logs
from pacstream.errors import RejectedError
from pacstream.receiving.head import identity_in
from pacstream.receiving.identify import Identity, identify
from pacstream.receiving.part10 import FileMeta, file_meta

log = logging.getLogger(__name__)

FIRST_LOOK = 4096
LONGEST_HEAD = 1 << 16
"""Bytes that are kept in memory until the UIDs are known; beyond, they wait in a file."""
COPIED_AT_ONCE = 1 << 20

OUT_OF_RESOURCES = 0xA700
READ_ONLY = 0o7555


class Destination(Protocol):
    """Where an instance goes: under `part` while it comes, then what `finish` does with it."""

    part: Path

    def finish(self, size: int) -> int:
        """The file of `size` bytes is whole: the status to answer.

        May raise OSError, or queue.Full while commits are behind.
        """


class Rules(Protocol):
    """What decides, once it is known (or known to be unknowable) whose instance it is."""

    def destination(self, meta: FileMeta, identity: Identity | RejectedError) -> Destination:
        """May raise OSError or RejectedError: the instance is refused."""


class Reception:
    """`write` the encoded data set in pieces of any size, then `finish`; or `discard`."""

    def __init__(self, rules: Rules, meta: FileMeta, spool: Path, refusal: str = "") -> None:
        self._rules = rules
        self._meta = meta
        self._spool_folder = spool
        self._refusal = refusal
        self._head = bytearray()
        self._look_at = FIRST_LOOK
        self._spool: BinaryIO | None = None
        self._destination: Destination | None = None
        self._handle = -1
        self._size = 0

    def write(self, piece: bytes | memoryview) -> None:
        """Take the next bytes. Never raises: what goes wrong is told by `finish`."""
        if self._refusal:
            return
        try:
            if self._handle >= 0:
                self._put(piece)
            elif self._spool is not None:
                self._spool.write(piece)
            else:
                self._head += piece
                if len(self._head) >= self._look_at:
                    self._look()
        except (OSError, RejectedError) as error:
            self._refuse(error)

    def finish(self) -> int:
        """All bytes have come: the status to answer."""
        try:
            if not self._refusal and self._destination is None:
                self._identify_whole()
            if not self._refusal and self._destination is not None:
                # By this a later process knows that nothing is missing, should this one die now.
                os.fchmod(self._handle, os.fstat(self._handle).st_mode & READ_ONLY)
                self._close()
                return self._destination.finish(self._size)
        except (OSError, RejectedError, queue.Full) as error:
            self._refuse(error)
        logs.event(log, "instance refused", logging.WARNING, reason=self._refusal)
        self.discard()
        return OUT_OF_RESOURCES

    def discard(self) -> None:
        """Leave nothing behind: the sender has gone, or the disk has refused."""
        self._close()
        if self._spool is not None:
            self._spool.close()
        if self._destination is not None:
            self._destination.part.unlink(missing_ok=True)

    def _look(self) -> None:
        """Are the UIDs in the head? Looked at each time that it has doubled."""
        identity = identity_in(bytes(self._head), self._meta.transfer_syntax)
        if identity is not None:
            self._begin(identity)
            self._put(self._head)
            self._head = bytearray()
        elif len(self._head) < LONGEST_HEAD:
            self._look_at = 2 * self._look_at
        else:
            self._spool_folder.mkdir(parents=True, exist_ok=True)
            self._spool = tempfile.TemporaryFile(dir=self._spool_folder)  # noqa: SIM115 - `discard` closes it
            self._spool.write(self._head)
            self._head = bytearray()

    def _identify_whole(self) -> None:
        """A short data set, or one that only the thorough reader understands."""
        data_set: BinaryIO = self._spool or BytesIO(self._head)
        data_set.seek(0)
        identity: Identity | RejectedError | None
        identity = identity_in(bytes(self._head), self._meta.transfer_syntax)
        if identity is None:
            try:
                identity = identify(data_set, self._meta.transfer_syntax)
            except RejectedError as error:
                identity = error
        self._begin(identity)
        data_set.seek(0)
        while piece := data_set.read(COPIED_AT_ONCE):
            self._put(piece)
        data_set.close()

    def _begin(self, identity: Identity | RejectedError) -> None:
        self._destination = self._rules.destination(self._meta, identity)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._handle = os.open(self._destination.part, flags, 0o666)
        self._put(file_meta(*self._meta))

    def _put(self, piece: bytes | bytearray | memoryview) -> None:
        rest = memoryview(piece)
        while rest:
            done = os.write(self._handle, rest)
            self._size += done
            rest = rest[done:]

    def _refuse(self, error: OSError | RejectedError | queue.Full) -> None:
        if isinstance(error, RejectedError):
            self._refusal = error.code
        elif isinstance(error, OSError):
            self._refusal = errno.errorcode.get(error.errno or 0, "io_error")
        else:
            self._refusal = "backlog"
        self._head = bytearray()

    def _close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
