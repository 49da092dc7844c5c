"""One store SCP process: the parts put together, started and stopped."""

from __future__ import annotations

import errno
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
from pacstream_store_scp.health import serve_health
from pacstream_store_scp.holdings import Holdings
from pacstream_store_scp.listener import SharedPortServer, new_server
from pacstream_store_scp.negotiation import Policy
from pacstream_store_scp.port import holders
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
    """Listens and serves from `start` to `stop`."""

    def __init__(self, settings: Settings, publish: Publish, connect: Callable[[], None]) -> None:
        self._settings = settings
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
            self._http = self._serve_health()
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
        threading.Thread(
            target=self._server.serve_forever, args=(POLL_S,), name="listener", daemon=True
        ).start()
        self._listening = True
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
        """False if the process is of no more use: its committer has died of a bug."""
        return self._committer.is_alive()

    def stop(self) -> None:
        """Take no more associations, let those under way end, commit and announce the rest."""
        self._listening = False
        self._server.shutdown()
        self._server.drain(ASSOCIATION_GRACE_S)
        announced = self._committer.stop(COMMIT_GRACE_S)
        self._reporter.stop(REPORT_GRACE_S)
        self._http.shutdown()
        self._presence.end()
        logs.event(log, "stopped", all_announced=announced)

    def health(self) -> tuple[bool, dict[str, object]]:
        """Whether instances are taken and announced, and what /health says of it."""
        if not self._listening or not self._committer.is_alive():
            status = "not listening"
        elif not self._committer.broker_reached:
            status = "waiting for the broker"
        elif self._disk.is_reached():
            status = "disk full"
        else:
            status = "ok"
        fields: dict[str, object] = {
            "service": "store_scp",
            "status": status,
            "associations": self._server.associations,
            "queued": self._handovers.qsize(),
        }
        return status == "ok", fields

    def _has_room(self) -> bool:
        return not self._disk.is_reached()

    def _hand_over(self, written: WrittenInstance) -> None:
        self._holdings.note(written.series_uid, written.sop_instance_uid)
        self._handovers.put(written, timeout=HOLD_S)

    def _listen(self, siblings: set[int]) -> SharedPortServer:
        settings = self._settings
        # The kernel would share the port with the store SCP of another zone without a word.
        if any(holder.pid not in siblings for holder in holders(settings.store_port)):
            raise port_taken("PACSTREAM_STORE_PORT", settings.store_port)
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
        try:
            return new_server(
                (settings.store_host, settings.store_port),
                policy,
                self._receiver.begin,
                Acceptance(self._transactions, self._reporter, self._has_room),
                has_room=self._has_room,
                associations=settings.store_associations,
                read_s=settings.store_read_timeout_s,
                idle_s=settings.store_idle_timeout_s,
            )
        except OSError as error:
            raise _not_listening(error, "PACSTREAM_STORE_PORT", settings.store_port) from None

    def _serve_health(self) -> ThreadingHTTPServer:
        host, port = self._settings.http_host, self._settings.http_port
        try:
            return serve_health(host, port, self.health)
        except OSError as error:
            self._server.server_close()
            raise _not_listening(error, "PACSTREAM_HTTP_PORT", port) from None


def port_taken(variable: str, port: int) -> InputError:
    """The error that names a taken port and, where /proc tells, who has it."""
    by = ", ".join(f"{holder.name} (pid {holder.pid})" for holder in holders(port))
    return InputError(
        f"port {port} ({variable}) is taken" + (f" by {by}" if by else ""), code="port_taken"
    )


def _not_listening(error: OSError, variable: str, port: int) -> InputError:
    if error.errno == errno.EADDRINUSE:
        return port_taken(variable, port)
    reason = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return InputError(f"can't listen on port {port} ({variable}): {reason}", code="port_unusable")
