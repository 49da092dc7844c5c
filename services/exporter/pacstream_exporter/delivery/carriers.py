"""The way of delivering that a destination needs."""

from __future__ import annotations

from dataclasses import dataclass, field

from pacstream.errors import InputError
from pacstream_exporter.delivery.carrier import Carrier
from pacstream_exporter.delivery.credentials import Credentials
from pacstream_exporter.delivery.destination import Destination, DicomNode
from pacstream_exporter.delivery.node import NodeCarrier, Verify


@dataclass(frozen=True)
class Terms:
    """How, whatever the destination. Times in seconds."""

    verify: Verify = Verify.AUTO
    decompress: bool = False
    commitment_s: float = 60.0
    timeout_s: float = 60.0
    connection_timeout_s: float = 10.0
    credentials: Credentials = field(default_factory=Credentials)


def carrier_of(destination: Destination, terms: Terms) -> Carrier:
    """Raises InputError for terms that the destination can't meet."""
    if isinstance(destination, DicomNode):
        return NodeCarrier(
            destination,
            verify=terms.verify,
            decompress=terms.decompress,
            commitment_s=terms.commitment_s,
            timeout_s=terms.timeout_s,
            connection_timeout_s=terms.connection_timeout_s,
        )
    raise InputError("this kind of destination is not there yet")
