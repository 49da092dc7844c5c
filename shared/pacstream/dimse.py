"""Associations with a PACS, and sockets that do not wait.

Nagle's algorithm and delayed acknowledgements together cost 40 to 95 ms for each DIMSE message
between pynetdicom and DCMTK or Orthanc. TCP_NODELAY is set once on each of our sockets;
TCP_QUICKACK is not sticky and is set before each recv.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket

from pacstream import IMPLEMENTATION_UID, IMPLEMENTATION_VERSION
from pacstream.errors import PacsRejectedError, PacsUnreachableError
from pacstream.messages import PacsNode

# pynetdicom would format each C-FIND answer for its log: names in logs, and an answer with one
# malformed value would be lost because it can't be formatted.
_config.LOG_RESPONSE_IDENTIFIERS = False

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


def new_ae(aet: str, timeout_s: float) -> AE:
    """An application entity with our implementation identity; one time limit for all silences."""
    hurry()
    ae = AE(aet)
    ae.implementation_class_uid = IMPLEMENTATION_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION
    ae.maximum_pdu_size = 131072
    ae.acse_timeout = timeout_s
    ae.dimse_timeout = timeout_s
    ae.network_timeout = timeout_s
    ae.connection_timeout = min(timeout_s, 10.0)
    return ae


def responses_only(association: Association) -> Association:
    """Keep pynetdicom's reactor thread from taking a response that a request waits for.

    The reactor marks itself paused a moment before it is, and drops what it takes then: measured
    with C-FIND on a kept association, 1 row of 300 lost series or instances in silence. The reactor
    polls without blocking, requests block, and nothing but responses comes to a requestor of ours.
    """
    wait_for = association.dimse.get_msg

    def get_msg(block: bool = False) -> Any:
        return wait_for(block=True) if block else (None, None)

    association.dimse.get_msg = get_msg  # type: ignore[method-assign]  # pynetdicom has no hook
    return association


def associate(node: PacsNode, contexts: Sequence[str], timeout_s: float) -> Association:
    """Open an association that proposes `contexts` (abstract syntax UIDs).

    Raises PacsRejectedError if the PACS refuses for good (A-ASSOCIATE-RJ permanent, PS3.8 section
    9.3.4) or accepts none of the contexts; PacsUnreachableError if there is no connection, no
    answer, a transient refusal or an abort.
    """
    ae = new_ae(node.calling_aet, timeout_s)
    for abstract_syntax in contexts:
        ae.add_requested_context(abstract_syntax)
    association = ae.associate(
        node.address, node.port, ae_title=node.called_aet, evt_handlers=[NO_DELAY]
    )
    if association.is_established:
        return responses_only(association)
    if association.is_rejected:
        answer = association.acceptor.primitive
        reason = answer.reason_str if answer is not None else "no reason given"
        if answer is not None and answer.result == 0x01:
            raise PacsRejectedError(
                f"the PACS rejects the association: {reason}", code=_rejection_code(reason)
            )
        raise PacsUnreachableError(f"the PACS is busy: {reason}", code="pacs_busy")
    if association.acceptor.primitive is not None and association.acceptor.primitive.result == 0x00:
        raise PacsRejectedError(
            "the PACS accepts none of the presentation contexts", code="no_presentation_context"
        )
    raise PacsUnreachableError("no association: connection refused, aborted or timed out")


def _rejection_code(reason: str) -> str:
    text = reason.lower()
    if "called" in text:
        return "called_aet_unknown"
    if "calling" in text:
        return "calling_aet_unknown"
    return "association_rejected"
