"""One store SCP process: the parts put together, started and stopped."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from pathlib import Path

from pacstream import logs
from pacstream.archive import Archive
from pacstream.disk import Watermark
from pacstream.errors import InputError, RejectedError
from pacstream.receiving.commit import Committer, Publish
from pacstream.receiving.handover import WrittenInstance
from pacstream.receiving.receiver import Receiver
from pacstream.receiving.siblings import Presence, living, take_over
from pacstream.settings import Settings
from pacstream_store_scp.acceptance import Acceptance
from pacstream_store_scp.board import DISK_FULL, NO_BROKER, NOT_LISTENING, OK, STATUSES, Place
from pacstream_store_scp.health import serve_health
from pacstream_store_scp.holdings import Holdings
from pacstream_store_scp.listener import SharedPortServer, new_server
from pacstream_store_scp.negotiation import Policy
from pacstream_store_scp.port import HTTP_PORT, not_listening, open_port
from pacstream_store_scp.reports import Reporter
from pacstream_store_scp.transactions import Transactions

log = logging.getLogger(__name__)

ASSOCIATION_GRACE_S = 20.0
COMMIT_GRACE_S = 10.0
REPORT_GRACE_S = 2.0
GROUPS_QUEUED = 4
POLL_S = 0.05
DISK_REMEMBERED_S = 0.25
HOLD_S = 10.0
"""How long a sender waits while the committer is behind or the broker away."""


class StoreScp:
    """Listens and serves from `start` to `stop`.

    With a `place` it is one of a supervisor's workers: it listens on the supervisor's socket, and
    tells its health there instead of at a port of its own.
    """

    def __init__(
        self,
        settings: Settings,
        publish: Publish,
        connect: Callable[[], None],
        place: Place | None = None,
    ) -> None:
        self._settings = settings
        self._place = place
        self._archive = Archive(settings.data)
        self._handovers: queue.Queue[WrittenInstance] = queue.Queue(
            GROUPS_QUEUED * settings.commit_instances
        )
        self._committer = Committer(
            self._handovers,
            self._archive,
            publish,
            connect,
            instances=settings.commit_instances,
            delay_s=settings.commit_ms / 1000,
            at_once=settings.durable_ack,
        )
        self._holdings = Holdings(self._archive)
        self._disk = Watermark(
            self._archive.incoming,
            size=settings.disk_full_bytes,
            inodes=settings.disk_full_inodes,
            remember_s=DISK_REMEMBERED_S,
        )
        self._listening = False

    def start(self) -> None:
        """Remove what dead processes left, then listen. Raises InputError if a port is taken."""
        started = time.time()
        self._presence = Presence(self._archive.run)
        siblings = living(self._archive.run)
        self._transactions = Transactions(self._archive, self._presence.token)
        self._reporter = Reporter(
            self._transactions, self._holdings, self._settings.commitment_peers
        )
        try:
            self._server = self._listen(set(siblings.values()))
            self._http = None if self._place else self._serve_health()
        except InputError:
            self._presence.end()
            raise
        left = take_over(self._archive, self._presence.token, set(siblings), started)
        self._committer.start()
        self._reporter.start()
        self._reporter.resume(self._transactions.take_over(siblings, started))
        threading.Thread(
            target=self._resume, args=(left.whole,), name="resume", daemon=True
        ).start()
        self._listening = True
        threading.Thread(
            target=self._server.serve_forever, args=(POLL_S,), name="listener", daemon=True
        ).start()
        settings = self._settings
        fields = {"aet": settings.store_aet, "port": settings.store_port}
        left_behind = {"resumed": len(left.whole), "stale_parts": left.removed}
        logs.event(log, "listening", **fields, **left_behind)

    def _resume(self, left: list[Path]) -> None:
        """Keep and announce what dead processes left. A sender waits for nothing of this."""
        for whole in left:
            try:
                self._receiver.resume(whole)
            except (OSError, RejectedError) as error:
                # it stays for the next start
                reason = {"error_type": type(error).__name__}
                logs.event(log, "a file left behind can't be kept", logging.WARNING, **reason)

    @property
    def is_alive(self) -> bool:
        """False if the process is of no more use: the disk fails, or its committer has died of a
        bug."""
        return self._committer.is_alive()

    def stop(self) -> None:
        """Take no more associations, let those under way end, commit and announce the rest."""
        self._listening = False
        self._server.shutdown()
        if self._place is not None:
            self._place.entry.turned_s = 0.0
        self._server.drain(ASSOCIATION_GRACE_S)
        announced = self._committer.stop(COMMIT_GRACE_S)
        self._reporter.stop(REPORT_GRACE_S)
        if self._http is not None:
            self._http.shutdown()
        self._presence.end()
        logs.event(log, "stopped", all_announced=announced)

    def health(self) -> tuple[bool, dict[str, object]]:
        """Whether instances are taken and announced, and what /health says of it."""
        status = self._status()
        fields: dict[str, object] = {
            "service": "store_scp",
            "status": STATUSES[status],
            "associations": self._server.associations,
            "queued": self._handovers.qsize(),
        }
        return status == OK, fields

    def _status(self) -> int:
        if not self._listening or not self._committer.is_alive():
            return NOT_LISTENING
        if not self._committer.broker_reached:
            return NO_BROKER
        return DISK_FULL if self._disk.is_reached() else OK

    def _tell(self) -> None:
        """What a worker says of itself; called by the listener at each of its turns."""
        if self._place is not None:
            entry = self._place.entry
            entry.status = self._status()
            entry.associations = self._server.associations
            entry.queued = self._handovers.qsize()
            entry.turned_s = time.monotonic()

    def _has_room(self) -> bool:
        return not (self._committer.has_failed or self._disk.is_reached())

    def _hand_over(self, written: WrittenInstance) -> None:
        self._holdings.note(written.series_uid, written.sop_instance_uid)
        self._committer.take(written, HOLD_S)

    def _listen(self, siblings: set[int]) -> SharedPortServer:
        settings, place = self._settings, self._place
        if place is not None:
            listener = place.listener
        else:
            listener = open_port(settings.store_host, settings.store_port, siblings)
        self._receiver = Receiver(
            self._archive,
            self._presence.token,
            self._hand_over,
            has_room=self._has_room,
            durable_ack=settings.durable_ack,
        )
        policy = Policy(
            settings.store_aet,
            settings.calling_aets,
            settings.store_require_called_aet,
            settings.store_private_classes,
            settings.store_maximum_pdu,
        )
        return new_server(
            listener,
            policy,
            self._receiver.begin,
            Acceptance(self._transactions, self._reporter, self._has_room),
            has_room=self._has_room,
            associations=settings.store_associations,
            read_s=settings.store_read_timeout_s,
            idle_s=settings.store_idle_timeout_s,
            turned=self._tell,
            place=place,
        )

    def _serve_health(self) -> ThreadingHTTPServer:
        host, port = self._settings.http_host, self._settings.http_port
        try:
            return serve_health(host, port, self.health)
        except OSError as error:
            self._server.server_close()
            raise not_listening(error, HTTP_PORT, port) from None
