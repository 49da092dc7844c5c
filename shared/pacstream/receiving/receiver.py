"""Check who asked for an instance, have it written as it came, hand it over to be committed.

The sender's answer follows the write at once; `commit` makes the file durable a moment later. What
the power takes in between is found missing by the ledger and asked for again. With `durable_ack`
the answer waits for the commit.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, cast

from pynetdicom import evt
from pynetdicom.dimse_primitives import C_STORE

from pacstream import logs
from pacstream.archive import PART_SUFFIX, Archive, flush_folder
from pacstream.errors import RejectedError
from pacstream.receiving.handover import Settlement, WrittenInstance
from pacstream.receiving.identify import Identity, identify
from pacstream.receiving.orders import Orders
from pacstream.receiving.part10 import FileMeta, read_meta, same_data_set
from pacstream.receiving.reception import COPIED_AT_ONCE, OUT_OF_RESOURCES, Destination, Reception

log = logging.getLogger(__name__)

SUCCESS = 0x0000
DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000
KEPT_ASIDE = 0xB000
"""A warning, PS3.4 section B.2.3. Another content under a known SOP Instance UID is stored, but in
quarantine. A failure would make some PACS end the whole C-MOVE, and every round would fail again;
a success would hide it. A warning is counted in the C-MOVE's own warning counter."""

SETTLEMENT_S = 20.0
"""How long a sender with `durable_ack` waits for a commit that the queue has taken."""

HandOver = Callable[[WrittenInstance], None]


def always() -> bool:
    return True


class Receiver:
    """Stores instances. `token` marks this process's temporary files; `hand_over` may raise
    queue.Full or OSError: the instance is refused then. `has_room` tells whether the disk may take
    more. With `durable_ack` an instance is answered when it is durable, by whoever it is handed
    over to."""

    def __init__(
        self,
        archive: Archive,
        token: str,
        hand_over: HandOver,
        *,
        has_room: Callable[[], bool] = always,
        durable_ack: bool = False,
    ) -> None:
        self._archive = archive
        self._token = token
        self._hand_over = hand_over
        self._has_room = has_room
        self._durable_ack = durable_ack
        self._orders = Orders(archive)
        self._numbers = itertools.count()

    def begin(self, meta: FileMeta) -> Reception:
        """An instance is about to come, as `meta` (of the C-STORE request) says."""
        refusal = "" if self._has_room() else "disk_full"
        return Reception(self, meta, self._archive.run, refusal)

    def on_c_store(self, event: evt.Event) -> int:
        """Handle a C-STORE-RQ on pynetdicom's data path (PS3.7 section 9.1.1)."""
        request = cast(C_STORE, event.request)
        data_set = request.DataSet or BytesIO()
        meta = FileMeta(
            str(request.AffectedSOPClassUID),
            str(request.AffectedSOPInstanceUID),
            str(event.context.transfer_syntax),
        )
        data_set.seek(0)
        try:
            return self._receive(meta, data_set)
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
            return self._keep_unreadable(error, file)
        return self._receive(meta, file)

    def resume(self, whole: Path) -> None:
        """Keep a whole file that a dead process left under its temporary name: nothing else tells
        of it, and the sender may have been told that it is stored. Raises OSError."""
        identity: Identity | RejectedError
        with whole.open("rb") as file:
            meta = read_meta(file)
            try:
                identity = identify(file, meta.transfer_syntax)
            except RejectedError as error:
                identity = error
        # What was on its way to quarantine goes there: the rules decide again.
        destination = self.destination(meta, identity)
        destination.part = whole
        destination.finish(whole.stat().st_size)

    def destination(self, meta: FileMeta, identity: Identity | RejectedError) -> Destination:
        """Where an instance goes; see `Rules`."""
        sop_instance_uid = meta.sop_instance_uid
        if isinstance(identity, RejectedError):
            return self._aside(identity.code, sop_instance_uid, CANNOT_UNDERSTAND)
        order = self._orders.find(identity.series_uid)
        if order is None:
            return self._aside("unrequested", sop_instance_uid, DOES_NOT_MATCH)
        if (order.study_uid, sop_instance_uid) != (identity.study_uid, identity.sop_instance_uid):
            return self._aside("uid_mismatch", sop_instance_uid, DOES_NOT_MATCH)
        return _Incoming(
            self._archive,
            identity,
            order.current,
            self._archive.series_folder(identity.series_uid) / self._part_name(),
            self._hand_over,
            Settlement() if self._durable_ack else None,
        )

    def _receive(self, meta: FileMeta, data_set: BinaryIO) -> int:
        """Take what follows the stream's position, up to its end."""
        reception = self.begin(meta)
        while piece := data_set.read(COPIED_AT_ONCE):
            reception.write(piece)
        return reception.finish()

    def _keep_unreadable(self, error: RejectedError, file: BinaryIO) -> int:
        aside = self._aside(error.code, "file", CANNOT_UNDERSTAND)
        try:
            with aside.part.open("xb") as copy:
                while piece := file.read(COPIED_AT_ONCE):
                    copy.write(piece)
            return aside.finish(0)
        except OSError:
            aside.part.unlink(missing_ok=True)
            return OUT_OF_RESOURCES

    def _aside(self, reason: str, sop_instance_uid: str, status: int) -> _Quarantine:
        target = self._archive.quarantine_path(reason, sop_instance_uid)
        return _Quarantine(
            target, reason, sop_instance_uid, status, target.parent / self._part_name()
        )

    def _part_name(self) -> str:
        return f".{self._token}.{next(self._numbers)}{PART_SUFFIX}"


@dataclass
class _Incoming:
    """An instance that was asked for."""

    archive: Archive
    identity: Identity
    batch_id: str
    part: Path
    hand_over: HandOver
    settlement: Settlement | None

    def finish(self, size: int) -> int:
        sop_instance_uid, study_uid, series_uid = self.identity
        final = self.archive.instance_path(series_uid, sop_instance_uid)
        if final.exists() and not same_data_set(self.part, final):
            return self._conflict()
        written = WrittenInstance(
            self.part, self.batch_id, study_uid, series_uid, sop_instance_uid, size, self.settlement
        )
        self.hand_over(written)
        if self.settlement is None:
            return SUCCESS
        return {"kept": SUCCESS, "aside": KEPT_ASIDE}.get(
            self.settlement.wait(SETTLEMENT_S), OUT_OF_RESOURCES
        )

    def _conflict(self) -> int:
        uid = self.identity.sop_instance_uid
        target = self.archive.quarantine_path("conflicting", uid)
        return _Quarantine(target, "conflicting", uid, KEPT_ASIDE, self.part).finish(0)


@dataclass
class _Quarantine:
    """An instance that is kept apart, with a reason."""

    target: Path
    reason: str
    sop_instance_uid: str
    status: int
    part: Path

    def finish(self, size: int) -> int:
        with self.part.open("rb") as file:
            os.fsync(file.fileno())
        self.part.replace(self.target)
        flush_folder(self.target.parent)
        instance = logs.ref(self.sop_instance_uid)
        logs.event(
            log, "instance in quarantine", logging.WARNING, reason=self.reason, instance=instance
        )
        return self.status
