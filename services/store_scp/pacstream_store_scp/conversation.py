"""One association from its request to its end: messages in, statuses out.

The data path is ours, from the socket to the file (`docs/adr/0020`); negotiation and all PDUs but
P-DATA-TF are pynetdicom's.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from pynetdicom.pdu import A_ABORT_RQ, A_RELEASE_RP

from pacstream import logs
from pacstream.receiving.part10 import FileMeta
from pacstream.receiving.reception import Reception
from pacstream_store_scp import commands
from pacstream_store_scp.acceptance import Acceptance, Titles
from pacstream_store_scp.commands import Command
from pacstream_store_scp.commitment import LONGEST_REQUEST, PUSH_MODEL, Report
from pacstream_store_scp.negotiation import Accepted, Policy, RejectedAssociation, negotiate
from pacstream_store_scp.notices import Notices
from pacstream_store_scp.reports import RESPONSE_S
from pacstream_store_scp.wire import GoneError, ReleaseRequested, ViolationError, Wire

log = logging.getLogger(__name__)

SUCCESS, UNRECOGNIZED_OPERATION, PROCESSING_FAILURE = 0x0000, 0x0211, 0x0110
CANNOT_UNDERSTAND = 0xC000
BY_USER, BY_PROVIDER = 0x00, 0x02

Begin = Callable[[FileMeta], Reception]


class Admission(Protocol):
    """Whether one association more may be had now."""

    def __call__(self) -> tuple[int, int, int] | None:
        """Result, source and reason of the rejection; None: welcome."""


class Conversation:
    """`run` in a thread of its own; `hang_up` from another one."""

    def __init__(
        self,
        connection: socket.socket,
        policy: Policy,
        admission: Admission,
        begin: Begin,
        commitment: Acceptance,
        *,
        read_s: float,
        idle_s: float,
    ) -> None:
        self._connection = connection
        self._wire = Wire(connection, read_s=read_s, idle_s=idle_s)
        self._policy = policy
        self._admission = admission
        self._begin = begin
        self._commitment = commitment
        self._titles = Titles("", "")
        self._contexts: Mapping[int, tuple[str, str]] = {}
        self._maximum_pdu = 0
        self._lock = threading.Lock()
        self._idle_since: float | None = None
        self._ending = False
        self._notices = Notices(self._lock, self._wire.send)
        self.received = 0

    def run(self) -> None:
        """Until the association ends, whichever way."""
        try:
            self._converse()
        except ReleaseRequested:
            self._wire.end(A_RELEASE_RP().encode())
        except ViolationError as violation:
            logs.event(log, "association aborted", logging.WARNING, reason=violation.reason)
            self._wire.end(_abort(BY_PROVIDER, violation.reason))
        except GoneError as gone:
            if gone.reason != "aborted":
                self._tell_end(gone.reason)
                self._wire.end(_abort(BY_USER if self._ending else BY_PROVIDER, 0))

    def _converse(self) -> None:
        try:
            if self._associate():
                while True:
                    self._message()
        finally:
            self._notices.end()

    def hang_up(self, after_s: float = 0.0) -> None:
        """End the association if no message is under way and none has been for `after_s`."""
        with self._lock:
            if self._idle_since is not None and time.monotonic() >= self._idle_since + after_s:
                self._cut()

    def cut_off(self) -> None:
        """End the association, whatever is under way."""
        with self._lock:
            self._cut()

    def _cut(self) -> None:
        self._ending = True
        try:
            self._connection.shutdown(socket.SHUT_RD)
        except OSError:
            return  # it has ended by itself

    def _associate(self) -> bool:
        request = self._wire.associate_request()
        try:
            accepted = self._accepted(request)
        except RejectedAssociation as rejected:
            logs.event(log, "association rejected", logging.WARNING, answer=rejected.answer)
            self._wire.end(rejected.pdu())
            return False
        self._contexts, self._maximum_pdu = accepted.contexts, accepted.maximum_pdu
        self._titles = Titles(accepted.calling_aet, accepted.called_aet)
        self._wire.send(accepted.pdu)
        return True

    def _accepted(self, request: bytes) -> Accepted:
        accepted = negotiate(request, self._policy)
        rejection = self._admission()
        if rejection is not None:
            raise RejectedAssociation(rejection)
        return accepted

    def _message(self) -> None:
        context_id, command = self._command()
        abstract_syntax, transfer_syntax = self._contexts[context_id]
        if command.field == commands.C_STORE_RQ and abstract_syntax not in self._policy.services:
            status = self._store(context_id, command, transfer_syntax)
        elif command.field == commands.N_ACTION_RQ and abstract_syntax == PUSH_MODEL:
            self._commit(context_id, command, transfer_syntax)
            return
        else:
            if command.has_data_set:
                self._skip(context_id)
            if command.field == commands.N_EVENT_REPORT_RSP:
                number = command.number
                self._notices.answered(number(commands.RESPONDED_TO), number(commands.STATUS))
            echo = command.field == commands.C_ECHO_RQ
            status = SUCCESS if echo else UNRECOGNIZED_OPERATION
        if command.is_request:
            self._respond(context_id, command, status)

    def _respond(self, context_id: int, command: Command, status: int) -> None:
        response = command.response(status)
        self._wire.send(commands.pdus(context_id, response, self._maximum_pdu))

    def _command(self) -> tuple[int, Command]:
        self._wire.wait_for_message()
        with self._lock:
            self._idle_since = time.monotonic()
            if self._notices.waiting:
                self._notices.flush()
        piece = self._wire.piece()
        with self._lock:
            self._idle_since = None
        self._wire.expect()
        context_id = piece.context_id
        if context_id not in self._contexts:
            raise ViolationError(ViolationError.INVALID_PARAMETER)
        encoded = bytearray()
        while True:
            if not piece.is_command or piece.context_id != context_id:
                raise ViolationError(ViolationError.UNEXPECTED_PARAMETER)
            encoded += piece.content
            if len(encoded) > commands.LONGEST:
                raise ViolationError(ViolationError.INVALID_PARAMETER)
            if piece.ends_message:
                return context_id, Command(bytes(encoded))
            piece = self._wire.piece()

    def _store(self, context_id: int, command: Command, transfer_syntax: str) -> int:
        """Take the data set (PS3.7 section 9.1.1): the status."""
        if not command.has_data_set:
            return CANNOT_UNDERSTAND
        meta = FileMeta(
            command.uid(commands.SOP_CLASS), command.uid(commands.SOP_INSTANCE), transfer_syntax
        )
        reception = self._begin(meta)
        try:
            self._data_set(context_id, reception.write)
            status = reception.finish()
        except (GoneError, ReleaseRequested, ViolationError):
            reception.discard()
            raise
        except Exception:
            reception.discard()
            log.exception("C-STORE failed")
            return PROCESSING_FAILURE
        self.received += 1
        return status

    def _commit(self, context_id: int, command: Command, transfer_syntax: str) -> None:
        """Take a request for storage commitment (PS3.7 section 10.1.4); its report follows."""
        data_set = self._short_data_set(context_id) if command.has_data_set else b""
        status, record = self._commitment.accept(command, data_set, transfer_syntax, self._titles)
        try:
            self._respond(context_id, command, status)
        finally:
            if record is not None:
                line = partial(self._report, context_id, transfer_syntax)
                self._commitment.begin(record, line)

    def _report(self, context_id: int, transfer_syntax: str, report: Report) -> int | None:
        """Called by another thread."""
        pdus = partial(commands.pdus, context_id, longest=self._maximum_pdu)
        event = pdus(report.encoded(transfer_syntax), kind=0)
        return self._notices.send(
            lambda number: pdus(report.command_set(number)) + event,
            lambda: self._idle_since is not None,
            RESPONSE_S,
        )

    def _short_data_set(self, context_id: int) -> bytes | None:
        """None for one that is longer than 4 MiB."""
        content = bytearray()

        def take(piece: memoryview) -> None:
            if len(content) <= LONGEST_REQUEST:
                content.extend(piece)

        self._data_set(context_id, take)
        return bytes(content) if len(content) <= LONGEST_REQUEST else None

    def _skip(self, context_id: int) -> None:
        self._data_set(context_id, lambda content: None)

    def _data_set(self, context_id: int, take: Callable[[memoryview], None]) -> None:
        wire = self._wire
        while True:
            try:
                piece = wire.piece()
            except ReleaseRequested:
                raise ViolationError(ViolationError.UNEXPECTED_PDU) from None
            if piece.is_command or piece.context_id != context_id:
                raise ViolationError(ViolationError.UNEXPECTED_PARAMETER)
            take(piece.content)
            if piece.ends_message:
                return

    def _tell_end(self, reason: str) -> None:
        if self._idle_since is None or reason != "connection closed":
            logs.event(log, "association lost", logging.WARNING, reason=reason)


def _abort(source: int, reason: int) -> bytes:
    pdu = A_ABORT_RQ()
    pdu.source, pdu.reason_diagnostic = source, reason
    return bytes(pdu.encode())
