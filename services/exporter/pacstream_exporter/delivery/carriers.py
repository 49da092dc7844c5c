"""The way of delivering that a destination needs."""

from __future__ import annotations

from dataclasses import dataclass, field

from pacstream.errors import InputError
from pacstream_exporter.delivery.carrier import Carrier
from pacstream_exporter.delivery.credentials import Credentials
from pacstream_exporter.delivery.destination import (
    Destination,
    DicomNode,
    ObjectStore,
    WebServer,
)
from pacstream_exporter.delivery.node import NodeCarrier, Verify


@dataclass(frozen=True)
class Terms:
    """How, whatever the destination. Times in seconds."""

    verify: Verify = Verify.AUTO
    decompress: bool = False
    replace: bool = False
    """In a store of files: also what lies there with other content."""
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
    if terms.decompress:
        raise InputError("--decompress is for DICOM nodes")
    times = {"timeout_s": terms.timeout_s, "connection_timeout_s": terms.connection_timeout_s}
    if isinstance(destination, WebServer):
        from pacstream_exporter.delivery.web import WebCarrier

        return WebCarrier(destination, terms.credentials, verify=terms.verify, **times)
    if terms.verify is not Verify.AUTO:
        raise InputError("--verify is for DICOM; files are always verified by their SHA-256")
    if isinstance(destination, ObjectStore):
        from pacstream_exporter.delivery.objects import ObjectCarrier

        return ObjectCarrier(destination, terms.credentials, replace=terms.replace, **times)
    from pacstream_exporter.delivery.sftp import SftpCarrier

    return SftpCarrier(destination, terms.credentials, replace=terms.replace, **times)
