"""Group commit in the receiver's own thread: for instances that come on a connection of ours."""

from __future__ import annotations

import time
from collections.abc import Callable

from pacstream.archive import Archive
from pacstream.errors import BrokerUnavailableError, UnroutableError
from pacstream.messages import InstancesReceived
from pacstream.receiving.commit import Publish, commit, facts_of, forget
from pacstream.receiving.handover import WrittenInstance


class Deposit:
    """Commits what is handed over in groups of `instances`, or once the oldest is `delay_s` old.

    Nothing is announced before it is durable. Without a broker the announcements wait in memory
    until `finish`, which raises if they still can't be sent: the request has to be done again.
    """

    def __init__(
        self,
        archive: Archive,
        publish: Publish,
        *,
        instances: int,
        delay_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._archive = archive
        self._publish = publish
        self._instances = instances
        self._delay_s = delay_s
        self._clock = clock
        self._group: list[WrittenInstance] = []
        self._since = 0.0
        self._unannounced: list[InstancesReceived] = []

    def hand_over(self, written: WrittenInstance) -> None:
        """Raises NotDurableError for a disk that fails."""
        if not self._group:
            self._since = self._clock()
        self._group.append(written)
        full = len(self._group) >= self._instances
        if full or self._clock() - self._since >= self._delay_s:
            self._commit()
            try:
                self._announce()
            except (BrokerUnavailableError, UnroutableError):
                # The instances are durable: the sender need not know. `finish` tries again.
                return

    def finish(self) -> None:
        """Commit and announce the rest. Raises as the broker's publish does, or
        NotDurableError."""
        self._commit()
        self._announce()

    def _commit(self) -> None:
        group, self._group = self._group, []
        try:
            committed = commit(self._archive, group)
        finally:
            # after a crash, or a disk that fails, the whole request is made again
            forget(group)
        self._unannounced += facts_of(self._archive, committed)

    def _announce(self) -> None:
        while self._unannounced:
            self._publish(self._unannounced[0])
            self._unannounced.pop(0)
