"""The association server: pynetdicom's, with a request handler that has its own data path."""

from __future__ import annotations

import logging
import resource
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar, cast

from pynetdicom.transport import ThreadedAssociationServer

from pacstream.dimse import new_ae
from pacstream_store_scp.acceptance import Acceptance
from pacstream_store_scp.board import Place
from pacstream_store_scp.conversation import Begin, Conversation
from pacstream_store_scp.negotiation import VERIFICATION, Policy, RejectedAssociation
from pacstream_store_scp.port import BACKLOG

log = logging.getLogger(__name__)

CONNECTIONS = 2000
HANDLES_IN_RESERVE = 256
"""File handles that are never spent on connections: for files, the broker, the logs."""
IDLE_S = 2.0
"""How long an association may be silent when the process is to end."""
POLL_S = 0.05
GIVE_WAY_S = 0.002
"""How long a worker leaves a waiting connection to those with fewer."""


class SharedPortServer(ThreadedAssociationServer):
    """Several processes may listen on one port.

    On sockets of their own: the kernel spreads the connections. On one socket that a supervisor
    has opened (`place`): whoever has the fewest connections takes the next.
    """

    daemon_threads = True
    request_queue_size = BACKLOG

    policy: Policy
    begin: Begin
    commitment: Acceptance
    read_s: float
    idle_s: float
    most_associations: int
    has_room: Callable[[], bool]
    turned: Callable[[], None]
    place: Place | None

    def __init__(self, *given: Any, listener: socket.socket, **named: Any) -> None:
        self._listener = listener
        self._conversations: set[Conversation] = set()
        self._connections = 0
        self._established = 0
        self._lock = threading.Lock()
        self._most_connections = most_connections()
        super().__init__(*given, **named)

    def server_bind(self) -> None:
        """The port is open already."""
        cast(socket.socket, self.socket).close()
        self.socket = self._listener
        self.server_address = self._listener.getsockname()

    def get_request(self) -> tuple[socket.socket, Any]:
        """The next connection. Raises BlockingIOError if another worker has it or is to have it."""
        if self.place is not None and not self.place.is_next():
            time.sleep(GIVE_WAY_S)
            raise BlockingIOError("another worker has fewer connections")
        return super().get_request()

    def verify_request(self, request: object, client_address: object) -> bool:
        """No thread for a connection more than the process can bear."""
        return self._connections < self._most_connections

    def process_request(self, request: Any, client_address: Any) -> None:
        self._count(1)
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._count(-1)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        with self._lock:
            self._connections += change
            if self.place is not None:
                self.place.entry.connections = self._connections

    def service_actions(self) -> None:
        """pynetdicom's collects garbage here, for association threads that we do not have."""
        self.turned()

    def server_close(self) -> None:
        # pynetdicom's own shuts the socket down, and with it the port of all workers
        self._listener.close()

    def shutdown(self) -> None:
        """Stop listening; associations under way go on."""
        # pynetdicom's own shutdown expects a server that the AE itself started
        socketserver.BaseServer.shutdown(self)
        self.server_close()

    def drain(self, grace_s: float) -> None:
        """Let associations go on for `grace_s`, and abort those that have nothing to send."""
        end = time.monotonic() + grace_s
        while self.conversations and time.monotonic() < end:
            for conversation in self.conversations:
                conversation.hang_up(IDLE_S)
            time.sleep(POLL_S)
        for conversation in self.conversations:
            conversation.cut_off()

    @property
    def conversations(self) -> list[Conversation]:
        with self._lock:
            return list(self._conversations)

    @property
    def associations(self) -> int:
        """Connections that have become associations."""
        return self._established

    def converse(self, connection: socket.socket) -> None:
        """Serve one connection to its end."""
        admission = _Admission(self)
        conversation = Conversation(
            connection,
            self.policy,
            admission,
            self.begin,
            self.commitment,
            read_s=self.read_s,
            idle_s=self.idle_s,
        )
        with self._lock:
            self._conversations.add(conversation)
        try:
            conversation.run()
        finally:
            with self._lock:
                self._conversations.discard(conversation)
                self._established -= admission.given

    def admit(self) -> tuple[int, int, int] | None:
        """Count an association in, or say why not."""
        if not self.has_room():
            return RejectedAssociation.CONGESTION
        with self._lock:
            if self._established >= self.most_associations:
                return RejectedAssociation.LOCAL_LIMIT
            self._established += 1
        return None

    def handle_error(self, request: object, client_address: object) -> None:
        log.exception("a connection failed")


class _Admission:
    def __init__(self, server: SharedPortServer) -> None:
        self._server = server
        self.given = 0

    def __call__(self) -> tuple[int, int, int] | None:
        refusal = self._server.admit()
        self.given = int(refusal is None)
        return refusal


class ConnectionHandler(socketserver.BaseRequestHandler):
    """One connection, in its own thread."""

    OPTIONS: ClassVar = [
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    ]

    def handle(self) -> None:
        connection = cast(socket.socket, self.request)
        try:
            for option in self.OPTIONS:
                connection.setsockopt(*option)
        except OSError:
            return  # it has ended already
        try:
            cast(SharedPortServer, self.server).converse(connection)
        finally:
            connection.close()

    def finish(self) -> None:
        """A report that is under way may still know the connection: closed it is all the same."""
        cast(socket.socket, self.request).close()


def most_connections() -> int:
    """Connections that one process takes: as many as its file handles allow, 2,000 at most."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + HANDLES_IN_RESERVE
    if soft < wanted:
        soft = min(wanted, hard) if hard != resource.RLIM_INFINITY else wanted
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(CONNECTIONS, soft - HANDLES_IN_RESERVE))


def new_server(
    listener: socket.socket,
    policy: Policy,
    begin: Begin,
    commitment: Acceptance,
    *,
    has_room: Callable[[], bool],
    associations: int,
    read_s: float,
    idle_s: float,
    turned: Callable[[], None],
    place: Place | None,
) -> SharedPortServer:
    """A storage SCP on a socket that listens, not yet serving. It calls `turned` at each turn."""
    ae = new_ae(policy.aet, read_s)
    ae.add_supported_context(VERIFICATION)
    server = cast(
        SharedPortServer,
        ae.make_server(
            listener.getsockname()[:2],
            server_class=SharedPortServer,
            request_handler=ConnectionHandler,
            listener=listener,
        ),
    )
    server.policy, server.begin, server.has_room = policy, begin, has_room
    server.commitment = commitment
    server.read_s, server.idle_s, server.most_associations = read_s, idle_s, associations
    server.turned, server.place = turned, place
    return server
