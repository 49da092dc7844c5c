"""C-STORE: check who asked for an instance, write it as it came, hand it over.

The answer follows the write at once; `commit` makes the file durable a moment later. What the
power takes in between is found missing by the ledger and asked for again.
"""

from __future__ import annotations

import errno
import logging
import os
import queue
import socket
import socketserver
import uuid
from io import BytesIO
from pathlib import Path
from typing import cast

from pynetdicom import _config, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.transport import ThreadedAssociationServer

from pacstream import logs
from pacstream.archive import PART_SUFFIX, Archive, flush_folder, replacing
from pacstream.dimse import NO_DELAY, new_ae
from pacstream.errors import RejectedError
from pacstream_store_scp.handover import WrittenInstance
from pacstream_store_scp.identify import Identity, identify
from pacstream_store_scp.orders import Orders
from pacstream_store_scp.part10 import file_meta, same_data_set

log = logging.getLogger(__name__)

VERIFICATION = "1.2.840.10008.1.1"

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000
KEPT_ASIDE = 0xB000
"""A warning, PS3.4 section B.2.3. Another content under a known SOP Instance UID is stored, but in
quarantine. A failure would make some PACS end the whole C-MOVE, and every round would fail again;
a success would hide it. A warning is counted in the C-MOVE's own warning counter."""

HOLD_S = 10.0
"""How long a sender waits while the committer is behind or the broker away."""

ASSOCIATIONS = 100


class Receiver:
    """Stores instances. `token` marks this process's temporary files."""

    def __init__(
        self,
        archive: Archive,
        token: str,
        handovers: queue.Queue[WrittenInstance],
        hold_s: float = HOLD_S,
    ) -> None:
        self._archive = archive
        self._token = token
        self._handovers = handovers
        self._hold_s = hold_s
        self._orders = Orders(archive)

    def on_c_store(self, event: evt.Event) -> int:
        """Handle a C-STORE-RQ (PS3.7 section 9.1.1): the status to answer."""
        request = cast(C_STORE, event.request)
        try:
            return self.receive(
                request.DataSet or BytesIO(),
                sop_class_uid=str(request.AffectedSOPClassUID),
                sop_instance_uid=str(request.AffectedSOPInstanceUID),
                transfer_syntax=str(event.context.transfer_syntax),
            )
        except Exception:
            # pynetdicom answers 0xC211, but its own log is silenced: it quotes values.
            log.exception("C-STORE failed")
            raise

    def receive(
        self, data_set: BytesIO, *, sop_class_uid: str, sop_instance_uid: str, transfer_syntax: str
    ) -> int:
        """Write one encoded data set and hand it over, or put it in quarantine."""
        meta = file_meta(sop_class_uid, sop_instance_uid, transfer_syntax)
        try:
            identity = identify(data_set, transfer_syntax)
        except RejectedError as error:
            return self._aside(error.code, sop_instance_uid, meta, data_set, CANNOT_UNDERSTAND)
        try:
            order = self._orders.find(identity.series_uid)
        except (RejectedError, OSError) as error:
            return _refuse(error)
        if order is None:
            return self._aside("unrequested", sop_instance_uid, meta, data_set, DOES_NOT_MATCH)
        if (order.study_uid, sop_instance_uid) != (identity.study_uid, identity.sop_instance_uid):
            return self._aside("uid_mismatch", sop_instance_uid, meta, data_set, DOES_NOT_MATCH)
        return self._keep(identity, order.current, meta, data_set)

    def _keep(self, identity: Identity, batch_id: str, meta: bytes, data_set: BytesIO) -> int:
        folder = self._archive.series_folder(identity.series_uid)
        part = folder / f".{self._token}.{uuid.uuid4().hex}{PART_SUFFIX}"
        final = self._archive.instance_path(identity.series_uid, identity.sop_instance_uid)
        try:
            size = _write(part, meta, data_set)
            if final.exists() and not same_data_set(part, final):
                return self._conflict(part, identity)
            self._handovers.put(
                WrittenInstance(
                    part,
                    batch_id,
                    identity.study_uid,
                    identity.series_uid,
                    identity.sop_instance_uid,
                    size,
                ),
                timeout=self._hold_s,
            )
        except (OSError, queue.Full) as error:
            part.unlink(missing_ok=True)
            return _refuse(error)
        return SUCCESS

    def _conflict(self, part: Path, identity: Identity) -> int:
        target = self._archive.quarantine_path("conflicting", identity.sop_instance_uid)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(target)
        flush_folder(target.parent)
        _tell("conflicting", identity.sop_instance_uid)
        return KEPT_ASIDE

    def _aside(
        self, reason: str, sop_instance_uid: str, meta: bytes, data_set: BytesIO, status: int
    ) -> int:
        try:
            with replacing(self._archive.quarantine_path(reason, sop_instance_uid)) as part:
                _write(part, meta, data_set)
        except OSError as error:
            return _refuse(error)
        _tell(reason, sop_instance_uid)
        return status


class SharedPortServer(ThreadedAssociationServer):
    """Several processes listen on one port; the kernel spreads the associations over them."""

    allow_reuse_port = True
    daemon_threads = True
    request_queue_size = 64

    def server_bind(self) -> None:
        # pynetdicom's own server_bind leaves allow_reuse_port out
        listener = cast(socket.socket, self.socket)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()

    def shutdown(self) -> None:
        """Stop listening; associations under way go on."""
        # pynetdicom's own shutdown expects a server that the AE itself started
        socketserver.BaseServer.shutdown(self)
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        log.exception("a connection failed")


def new_server(
    receiver: Receiver, address: tuple[str, int], aet: str, timeout_s: float
) -> SharedPortServer:
    """A storage SCP that listens, not yet serving. Raises OSError if the port is taken.

    Every SOP class that is not known to be something else is storage, private ones too, and of
    the proposed transfer syntaxes the sender's first is accepted: data sets are never decoded.
    """
    _config.UNRESTRICTED_STORAGE_SERVICE = True
    _config.LOG_HANDLER_LEVEL = "none"
    ae = new_ae(aet, timeout_s)
    ae.maximum_associations = ASSOCIATIONS
    ae.add_supported_context(VERIFICATION)
    server = ae.make_server(
        address,
        evt_handlers=[
            NO_DELAY,
            (evt.EVT_C_STORE, receiver.on_c_store),
            (evt.EVT_C_ECHO, lambda event: SUCCESS),
        ],
        server_class=SharedPortServer,
    )
    return cast(SharedPortServer, server)


def _write(part: Path, meta: bytes, data_set: BytesIO) -> int:
    """Write both to a new file; its size in bytes."""
    with part.open("wb") as file, data_set.getbuffer() as content:
        file.write(meta)
        file.write(content)
        return len(meta) + len(content)


def _refuse(error: OSError | queue.Full | RejectedError) -> int:
    if isinstance(error, RejectedError):
        reason = error.code
    elif isinstance(error, OSError):
        reason = errno.errorcode.get(error.errno or 0, "io_error")
    else:
        reason = "backlog"
    logs.event(log, "instance refused", logging.WARNING, reason=reason)
    return OUT_OF_RESOURCES


def _tell(reason: str, sop_instance_uid: str) -> None:
    instance = logs.ref(sop_instance_uid)
    logs.event(log, "instance in quarantine", logging.WARNING, reason=reason, instance=instance)
