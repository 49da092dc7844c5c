"""A DICOM node as a destination: C-STORE, then Storage Commitment or C-FIND."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum

from pacstream.dimse import associate
from pacstream.errors import InputError, PacsRejectedError
from pacstream_exporter.delivery.commitment import Commitment
from pacstream_exporter.delivery.contexts import VERIFICATION
from pacstream_exporter.delivery.destination import DicomNode
from pacstream_exporter.delivery.inventory import Item
from pacstream_exporter.delivery.listing import NoListError, Series, listed
from pacstream_exporter.delivery.outcome import (
    NOT_COMMITTED,
    NOT_LISTED,
    Deliveries,
    Delivery,
    Evidence,
)
from pacstream_exporter.delivery.storage import Sender


class Verify(StrEnum):
    """How a delivery is verified."""

    AUTO = "auto"
    """The best that the destination offers; what offers nothing verifies nothing."""
    COMMITMENT = "commitment"
    LIST = "list"
    STATUS = "status"
    """The receiver's word is enough."""


ENOUGH = {
    Verify.AUTO: frozenset(Evidence) - {Evidence.STATUS, Evidence.NONE},
    Verify.COMMITMENT: frozenset({Evidence.COMMITMENT}),
    Verify.LIST: frozenset({Evidence.LISTED}),
    Verify.STATUS: frozenset(Evidence) - {Evidence.NONE},
}


class NodeCarrier:
    instances_only = True

    def __init__(
        self,
        destination: DicomNode,
        *,
        verify: Verify,
        decompress: bool,
        commitment_s: float,
        timeout_s: float,
        connection_timeout_s: float,
    ) -> None:
        self._node = destination.node
        self._verify = verify
        self._timeout_s = timeout_s
        self._connection_timeout_s = connection_timeout_s
        self._sender = Sender(destination.node, decompress, timeout_s, connection_timeout_s)
        self._commitment = Commitment(
            destination.node, commitment_s, timeout_s, listen=destination.listen
        )
        self.asked = ENOUGH[verify]

    def check(self) -> None:
        """An association for C-ECHO: address and AE titles are right."""
        try:
            association = associate(
                self._node,
                [VERIFICATION],
                self._timeout_s,
                connection_timeout_s=self._connection_timeout_s,
            )
        except PacsRejectedError as error:
            if error.code == "no_presentation_context":
                return
            raise InputError(f"the destination refuses us ({error.code}): {error}") from None
        association.release()

    def lots(self, items: Sequence[Item], jobs: int) -> Iterator[Sequence[Item]]:
        return self._sender.lots(items, jobs)

    def send(self, items: Sequence[Item]) -> Deliveries:
        return self._sender.send(items)

    def verify(self, sent: Iterable[Delivery]) -> Iterator[Delivery]:
        left = list(sent)
        if self._verify is Verify.STATUS:
            yield from (one.known_by(Evidence.STATUS) for one in left)
            return
        reasons: dict[str, str] = {}
        if self._verify is not Verify.LIST:
            committed = self._committed(left, reasons)
            yield from committed
            known = {one.item.key for one in committed}
            left = [one for one in left if one.item.key not in known]
        if self._verify is Verify.COMMITMENT:
            yield from (one.unverified(reasons[one.item.key]) for one in left)
        elif left:
            yield from self._listed(left)

    def _committed(self, sent: list[Delivery], reasons: dict[str, str]) -> list[Delivery]:
        answer = self._commitment.ask([one.item for one in sent])
        for one in sent:
            reasons[one.item.key] = NOT_COMMITTED
            if one.item.key not in answer.refused and answer.problem:
                reasons[one.item.key] = answer.problem
        return [
            one.known_by(Evidence.COMMITMENT) for one in sent if one.item.key in answer.committed
        ]

    def _listed(self, sent: list[Delivery]) -> Iterator[Delivery]:
        series = list(dict.fromkeys(_series(one) for one in sent))
        try:
            found = listed(self._node, series, self._timeout_s)
        except NoListError as error:
            yield from (one.unverified(str(error)) for one in sent)
            return
        for one in sent:
            is_there = one.item.key in found[_series(one)]
            yield one.known_by(Evidence.LISTED) if is_there else one.unverified(NOT_LISTED)


def _series(delivery: Delivery) -> Series:
    return delivery.item.instance.study, delivery.item.instance.series
