"""What lies between a service and its broker, and fails: a TCP relay on this machine."""

from __future__ import annotations

import contextlib
import socket
import threading
from urllib.parse import urlsplit, urlunsplit


class Relay:
    """Hands on what it is sent, both ways, until it is told to `silence` or `cut` all lines.

    `lines`: connections that are handed on; each further one is taken and never answered.
    """

    def __init__(self, url: str, lines: int = 1000) -> None:
        self._target = urlsplit(url)
        self._lines = lines
        self._heard = threading.Event()
        self._heard.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.taken = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """The same URL, through this relay."""
        user, _, _ = self._target.netloc.rpartition("@")
        port = self._listener.getsockname()[1]
        return urlunsplit(self._target._replace(netloc=f"{user}@127.0.0.1:{port}"))

    def silence(self) -> None:
        """Nothing arrives any more, and nobody is told."""
        self._heard.clear()

    def cut(self) -> None:
        """All lines end, and no further one is taken."""
        for one in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                ours, _ = self._listener.accept()
                self._sockets.append(ours)
                self.taken += 1
                if self.taken <= self._lines:
                    self._join(ours)

    def _join(self, ours: socket.socket) -> None:
        host, port = self._target.hostname, self._target.port
        theirs = socket.create_connection((host, port))
        self._sockets.append(theirs)
        for source, sink in ((ours, theirs), (theirs, ours)):
            threading.Thread(target=self._hand_on, args=(source, sink), daemon=True).start()

    def _hand_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                self._heard.wait()
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)
