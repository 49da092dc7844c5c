"""Check who asked for an instance, write it as it came, hand it over to be committed.

The sender's answer follows the write at once; `commit` makes the file durable a moment later. What
the power takes in between is found missing by the ledger and asked for again.
"""

from __future__ import annotations

import errno
import logging
import os
import queue
import shutil
import uuid
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, cast

from pynetdicom import evt
from pynetdicom.dimse_primitives import C_STORE

from pacstream import logs
from pacstream.archive import PART_SUFFIX, Archive, flush_folder, replacing
from pacstream.errors import RejectedError
from pacstream.receiving.handover import WrittenInstance
from pacstream.receiving.identify import Identity, identify
from pacstream.receiving.orders import Orders
from pacstream.receiving.part10 import file_meta, read_meta, same_data_set

log = logging.getLogger(__name__)

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000
KEPT_ASIDE = 0xB000
"""A warning, PS3.4 section B.2.3. Another content under a known SOP Instance UID is stored, but in
quarantine. A failure would make some PACS end the whole C-MOVE, and every round would fail again;
a success would hide it. A warning is counted in the C-MOVE's own warning counter."""

COPIED_AT_ONCE = 1 << 20

HandOver = Callable[[WrittenInstance], None]


class Receiver:
    """Stores instances. `token` marks this process's temporary files; `hand_over` may raise
    queue.Full or OSError: the instance is refused then."""

    def __init__(self, archive: Archive, token: str, hand_over: HandOver) -> None:
        self._archive = archive
        self._token = token
        self._hand_over = hand_over
        self._orders = Orders(archive)

    def on_c_store(self, event: evt.Event) -> int:
        """Handle a C-STORE-RQ (PS3.7 section 9.1.1): the status to answer."""
        request = cast(C_STORE, event.request)
        data_set = request.DataSet or BytesIO()
        data_set.seek(0)
        try:
            return self.receive(
                data_set,
                sop_class_uid=str(request.AffectedSOPClassUID),
                sop_instance_uid=str(request.AffectedSOPInstanceUID),
                transfer_syntax=str(event.context.transfer_syntax),
            )
        except Exception:
            # pynetdicom answers 0xC211, but its own log is silenced: it quotes values.
            log.exception("C-STORE failed")
            raise

    def receive_file(self, file: BinaryIO) -> int:
        """Receive an instance in the file format of PS3.10: the status a C-STORE would have."""
        try:
            meta = read_meta(file)
        except RejectedError as error:
            file.seek(0)
            return self._aside(error.code, "file", b"", file, CANNOT_UNDERSTAND)
        return self.receive(
            file,
            sop_class_uid=meta.sop_class_uid,
            sop_instance_uid=meta.sop_instance_uid,
            transfer_syntax=meta.transfer_syntax,
        )

    def receive(
        self, data_set: BinaryIO, *, sop_class_uid: str, sop_instance_uid: str, transfer_syntax: str
    ) -> int:
        """Write one encoded data set and hand it over, or put it in quarantine.

        The data set is what follows the stream's position, up to its end.
        """
        meta = file_meta(sop_class_uid, sop_instance_uid, transfer_syntax)
        start = data_set.tell()
        try:
            identity = identify(data_set, transfer_syntax)
        except RejectedError as error:
            data_set.seek(start)
            return self._aside(error.code, sop_instance_uid, meta, data_set, CANNOT_UNDERSTAND)
        data_set.seek(start)
        try:
            order = self._orders.find(identity.series_uid)
        except (RejectedError, OSError) as error:
            return _refuse(error)
        if order is None:
            return self._aside("unrequested", sop_instance_uid, meta, data_set, DOES_NOT_MATCH)
        if (order.study_uid, sop_instance_uid) != (identity.study_uid, identity.sop_instance_uid):
            return self._aside("uid_mismatch", sop_instance_uid, meta, data_set, DOES_NOT_MATCH)
        return self._keep(identity, order.current, meta, data_set)

    def _keep(self, identity: Identity, batch_id: str, meta: bytes, data_set: BinaryIO) -> int:
        folder = self._archive.series_folder(identity.series_uid)
        part = folder / f".{self._token}.{uuid.uuid4().hex}{PART_SUFFIX}"
        final = self._archive.instance_path(identity.series_uid, identity.sop_instance_uid)
        try:
            size = _write(part, meta, data_set)
            if final.exists() and not same_data_set(part, final):
                return self._conflict(part, identity)
            self._hand_over(
                WrittenInstance(
                    part,
                    batch_id,
                    identity.study_uid,
                    identity.series_uid,
                    identity.sop_instance_uid,
                    size,
                )
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
        self, reason: str, sop_instance_uid: str, meta: bytes, data_set: BinaryIO, status: int
    ) -> int:
        try:
            with replacing(self._archive.quarantine_path(reason, sop_instance_uid)) as part:
                _write(part, meta, data_set)
        except OSError as error:
            return _refuse(error)
        _tell(reason, sop_instance_uid)
        return status


def _write(part: Path, meta: bytes, data_set: BinaryIO) -> int:
    """Write both to a new file; its size in bytes."""
    with part.open("wb") as file:
        file.write(meta)
        if isinstance(data_set, BytesIO):
            with data_set.getbuffer() as content:
                file.write(content[data_set.tell() :])
        else:
            shutil.copyfileobj(data_set, file, COPIED_AT_ONCE)
        return file.tell()


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
