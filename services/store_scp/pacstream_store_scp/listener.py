"""The association server: takes C-STORE and C-ECHO, hands instances to the receiver."""

from __future__ import annotations

import logging
import socket
import socketserver
from typing import cast

from pynetdicom import _config, evt
from pynetdicom.transport import ThreadedAssociationServer

from pacstream.dimse import NO_DELAY, new_ae
from pacstream.receiving.receiver import SUCCESS, Receiver

log = logging.getLogger(__name__)

VERIFICATION = "1.2.840.10008.1.1"
ASSOCIATIONS = 100


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
