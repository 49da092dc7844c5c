"""What a way of delivering has to do; `job` does the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from pacstream_exporter.delivery.inventory import Item
from pacstream_exporter.delivery.outcome import Deliveries, Delivery, Evidence


class Carrier(Protocol):
    """One destination. `send` is called by several threads at once."""

    instances_only: bool
    """Other files than DICOM instances are left out."""
    asked: frozenset[Evidence]
    """What counts as verified; with `Evidence.STATUS` in it, the receiver's word does."""

    def check(self) -> None:
        """Raises InputError, RejectedError or RetryLaterError if nothing can be delivered there."""

    def lots(self, items: Sequence[Item], jobs: int) -> Iterator[Sequence[Item]]:
        """What is sent in one go each, by one of the jobs."""

    def send(self, items: Sequence[Item]) -> Deliveries:
        """Exactly one for each item: sent, delivered (verified at once), or failed."""

    def verify(self, sent: Iterable[Delivery]) -> Iterator[Delivery]:
        """Exactly one for each: delivered, or unverified with a reason."""
