"""Associations with a PACS, and sockets that do not wait.

Nagle's algorithm and delayed acknowledgements together cost 40 to 95 ms for each DIMSE message
between pynetdicom and DCMTK or Orthanc. TCP_NODELAY is set once on each of our sockets;
TCP_QUICKACK is not sticky and is set before each recv.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from pynetdicom import AE, _config, build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AssociationSocket

from pacstream import IMPLEMENTATION_UID, IMPLEMENTATION_VERSION
from pacstream.errors import PacsRejectedError, PacstreamError, PacsUnreachableError
from pacstream.messages import PacsNode

# pynetdicom would format each C-FIND answer for its log: names in logs, and an answer with one
# malformed value would be lost because it can't be formatted.
_config.LOG_RESPONSE_IDENTIFIERS = False

CONNECTION_TIMEOUT_S = 10.0

TRANSIENT = 0x02
REFUSALS = {
    (0x01, 0x03): "calling_aet_unknown",
    (0x01, 0x07): "called_aet_unknown",
    (0x03, 0x01): "pacs_busy",
    (0x03, 0x02): "pacs_busy",
}
"""Source and diagnostic of an A-ASSOCIATE-RJ; 3/1 is temporary congestion, 3/2 a local limit."""

Wait = Callable[[], tuple[int | None, Any]]
"""Gives the next (presentation context id, message); (None, None) ends the request."""

_stock_recv = AssociationSocket.recv


def _recv_with_quick_ack(self: AssociationSocket, nr_bytes: int) -> bytearray:
    if self.socket is not None:
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
    return _stock_recv(self, nr_bytes)


def _set_no_delay(event: evt.Event) -> None:
    connection = event.assoc.dul.socket
    if connection is not None and connection.socket is not None:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


NO_DELAY: tuple[Any, Any] = (evt.EVT_CONN_OPEN, _set_no_delay)
"""An event handler for every association of ours, requestor or acceptor."""


def hurry() -> None:
    """Make every pynetdicom socket of this process acknowledge at once (Linux)."""
    if hasattr(socket, "TCP_QUICKACK"):
        AssociationSocket.recv = _recv_with_quick_ack  # type: ignore[method-assign]


def new_ae(aet: str, timeout_s: float, connection_timeout_s: float | None = None) -> AE:
    """An application entity with our implementation identity.

    `timeout_s` is the longest silence on an association. `connection_timeout_s` is the longest wait
    for a connection, and then for the association; without it, 10 s and `timeout_s`.
    """
    hurry()
    ae = AE(aet)
    ae.implementation_class_uid = IMPLEMENTATION_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION
    ae.maximum_pdu_size = 131072
    ae.acse_timeout = connection_timeout_s or timeout_s
    ae.dimse_timeout = timeout_s
    ae.network_timeout = timeout_s
    ae.connection_timeout = connection_timeout_s or min(timeout_s, CONNECTION_TIMEOUT_S)
    return ae


def responses_only(association: Association, wait: Wait | None = None) -> Association:
    """Keep pynetdicom's reactor thread from taking a response that a request waits for.

    The reactor marks itself paused a moment before it is, and drops what it takes then: measured
    with C-FIND on a kept association, 1 row of 300 lost series or instances in silence. The reactor
    polls without blocking, requests block, and nothing but responses comes to a requestor of ours.

    `wait` takes the place of pynetdicom's own waiting for the next message of a request.
    """
    if wait is None:
        wait = partial(DIMSEServiceProvider.get_msg, association.dimse, block=True)

    def get_msg(block: bool = False) -> Any:
        return wait() if block else (None, None)

    association.dimse.get_msg = get_msg  # type: ignore[method-assign]  # pynetdicom has no hook
    return association


def requests_too(association: Association) -> Association:
    """Undo `responses_only`: from now on the peer's own requests are served, and nothing may be
    asked any more."""
    vars(association.dimse).pop("get_msg", None)
    return association


def associate(
    node: PacsNode,
    contexts: Sequence[str | PresentationContext],
    timeout_s: float,
    *,
    connection_timeout_s: float | None = None,
    stored_here: Sequence[str] = (),
) -> Association:
    """Open an association that proposes `contexts` (whole ones, or abstract syntax UIDs).

    `stored_here` are the SOP classes for which we propose to be the storage SCP, as C-GET needs
    it (PS3.7 section D.3.3.4).

    Raises PacsUnreachableError, with the code pacs_unreachable (no connection),
    connection_timed_out, association_aborted, pacs_busy, or that of a transient refusal;
    PacsRejectedError if the PACS refuses for good (A-ASSOCIATE-RJ, PS3.8 section 9.3.4) or accepts
    none of the contexts.
    """
    ae = new_ae(node.calling_aet, timeout_s, connection_timeout_s)
    connected: list[bool] = []
    started = time.monotonic()
    try:
        association = ae.associate(
            node.address,
            node.port,
            contexts=[_context(context) for context in contexts],
            ae_title=node.called_aet,
            ext_neg=[build_role(sop_class, scp_role=True) for sop_class in stored_here],
            evt_handlers=[NO_DELAY, (evt.EVT_CONN_OPEN, lambda event: connected.append(True))],
        )
    except OSError:
        raise PacsUnreachableError("the PACS's host name is not known") from None
    if association.is_established:
        return responses_only(association)
    if association.is_rejected and association.acceptor.primitive is not None:
        raise refusal(association.acceptor.primitive)
    if association.acceptor.primitive is not None and association.acceptor.primitive.result == 0x00:
        raise PacsRejectedError(
            "the PACS accepts none of the presentation contexts", code="no_presentation_context"
        )
    patience = ae.acse_timeout if connected else ae.connection_timeout
    if time.monotonic() - started >= (patience or 0.0):
        what = "answer to the association request" if connected else "connection"
        raise PacsUnreachableError(f"no {what} in time", code="connection_timed_out")
    if connected:
        raise PacsUnreachableError("the PACS ended it at once", code="association_aborted")
    raise PacsUnreachableError("no connection")


def refusal(answer: A_ASSOCIATE) -> PacstreamError:
    """What an A-ASSOCIATE-RJ means (PS3.8 table 9-21)."""
    code = REFUSALS.get((answer.result_source or 0, answer.diagnostic or 0))
    text = f"the PACS rejects the association: {answer.reason_str}"
    if answer.result == TRANSIENT or code == "pacs_busy":
        return PacsUnreachableError(text, code=code or "pacs_busy")
    return PacsRejectedError(text, code=code or "association_rejected")


def _context(context: str | PresentationContext) -> PresentationContext:
    return build_context(context) if isinstance(context, str) else context
