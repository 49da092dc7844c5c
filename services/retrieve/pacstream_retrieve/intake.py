"""Instances that come on a connection of ours: the same checks and commit as the store SCP's."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import BinaryIO, cast

from pynetdicom import evt

from pacstream.archive import Archive
from pacstream.errors import RetryLaterError
from pacstream.receiving.commit import NotDurableError, Publish
from pacstream.receiving.deposit import Deposit
from pacstream.receiving.receiver import KEPT_ASIDE, SUCCESS, Receiver
from pacstream.receiving.reception import OUT_OF_RESOURCES

IN_MEMORY = 32 << 20
"""Bytes of one instance that are kept in memory before its UIDs are known."""


class Intake:
    """Receives for one request; `statuses` counts what each instance was answered."""

    def __init__(
        self, archive: Archive, token: str, publish: Publish, *, instances: int, delay_s: float
    ) -> None:
        self._folder: Path = archive.run
        self._deposit = Deposit(archive, publish, instances=instances, delay_s=delay_s)
        self._receiver = Receiver(archive, token, self._deposit.hand_over)
        self.statuses: Counter[int] = Counter()

    @property
    def counters(self) -> tuple[int, int, int]:
        """Completed, failed, warning, as a sender would count them."""
        completed, warning = self.statuses[SUCCESS], self.statuses[KEPT_ASIDE]
        return completed, self.statuses.total() - completed - warning, warning

    def on_c_store(self, event: evt.Event) -> int:
        return self._counted(self._receiver.on_c_store(event))

    def receive_file(self, file: BinaryIO) -> None:
        """Take a file of PS3.10 from its first byte on."""
        file.seek(0)
        self._counted(self._receiver.receive_file(file))

    def new_file(self) -> BinaryIO:
        """A place for one instance: in memory, or without a name in the trusted zone."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return cast(BinaryIO, tempfile.SpooledTemporaryFile(IN_MEMORY, dir=str(self._folder)))

    def finish(self) -> None:
        """Commit and announce all. Raises RetryLaterError if our own disk or broker refused."""
        try:
            self._deposit.finish()
        except NotDurableError:
            raise RetryLaterError("instances could not be made durable", code="disk") from None
        if self.statuses[OUT_OF_RESOURCES]:
            raise RetryLaterError("instances could not be written", code="disk")

    def _counted(self, status: int) -> int:
        self.statuses[status] += 1
        return status
