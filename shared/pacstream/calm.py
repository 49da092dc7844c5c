"""pynetdicom's two reactors of an association, waiting instead of polling.

Each looks a thousand times a second whether there is something to do: measured, half of the CPU
time of the query and retrieve services, and all of it while an association is only kept open. Here
one waits for the socket or for something to send, and both look fifty times a second at the rest:
timers, the peer's release or abort, and the end of the other.
"""

from __future__ import annotations

import contextlib
import os
import select
import ssl
import threading
import time
import weakref
from typing import Any

from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket

LOOK_S = 0.02

WAKER = "_pacstream_waker"
"""Attribute of an AssociationSocket that waits: a file descriptor to be read (eventfd(2))."""

_stock_ready = AssociationSocket.ready


def calm(association: Association) -> Association:
    """Let an established association that we have requested wait as told above (Linux).

    An abort or a release by the peer is noticed up to `LOOK_S` seconds later than by pynetdicom
    alone. Nothing may be under way on the association.
    """
    connection = association.dul.socket
    if not hasattr(os, "eventfd") or connection is None or hasattr(connection, WAKER):
        return association
    waker = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    # The reactors hold the association for as long as they run.
    weakref.finalize(association, os.close, waker)
    to_send = association.dul.to_provider_queue
    put = to_send.put

    def put_and_wake(item: Any, *args: Any, **options: Any) -> None:
        put(item, *args, **options)
        os.eventfd_write(waker, 1)

    to_send.put = put_and_wake  # type: ignore[method-assign]  # pynetdicom has no hook
    AssociationSocket.ready = property(_ready)  # type: ignore[method-assign, assignment]
    setattr(connection, WAKER, waker)
    association._reactor_checkpoint = _Checkpoint()
    return association


class _Checkpoint(threading.Event):
    """Where the reactor of an association is paused while a request is under way; it comes here in
    each of its turns. It sleeps here because a request may begin meanwhile: the reactor has
    counted itself as paused, and is, when it wakes up."""

    def __init__(self) -> None:
        super().__init__()
        self.set()

    def wait(self, timeout: float | None = None) -> bool:
        time.sleep(LOOK_S)
        return super().wait(timeout)


def _ready(connection: AssociationSocket) -> bool:
    """Whether there is data to be read; waits for data, or something to send, for a moment."""
    waker = getattr(connection, WAKER, None)
    plain = connection.socket
    if waker is not None and plain is not None and not _has_buffered(plain):
        # what is wrong with the socket is found, and told, below
        with contextlib.suppress(OSError, ValueError):
            if waker in select.select([plain, waker], [], [], LOOK_S)[0]:
                os.eventfd_read(waker)
    return bool(_stock_ready.__get__(connection))


def _has_buffered(plain: Any) -> bool:
    """TLS data that has been read from the socket, and that select(2) does not know of."""
    return isinstance(plain, ssl.SSLSocket) and bool(plain.pending())
