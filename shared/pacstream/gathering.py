"""An entrypoint that hands over all messages that wait, of all its topics, in one call.

For a service whose work costs less for a hundred messages than for one, a hundred times: the
ledger's transactions. Each message is still acknowledged, tried again or buried on its own.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from nameko.exceptions import ContainerBeingKilled
from nameko.extensions import SharedExtension

from pacstream.bus import ExcInfo, Subscription, deliveries
from pacstream.errors import BrokerUnavailableError
from pacstream.messages import Message

MOST = 100
"""Messages in one call, and unacknowledged ones per queue."""

PACE_S = 0.02
"""Between the begins of two calls: a call for each message of a stream would waste what a group
saves. The first message after a silence does not wait."""

SETTLE_S = 0.2
"""Between the first redelivered message and its turn: see `Intake`."""

BROKER_PAUSE_S = 1.0


@dataclass
class Delivery:
    """A message, the entrypoint of its queue, and what it says once it is read."""

    entrypoint: Gathered
    message: Any
    fact: Message | None = None


class Intake(SharedExtension):
    """The messages of a service that wait for their handler, in the order of their arrival.

    If a call raises, each of its messages is handed over by itself, so that one that can't be
    handled harms no other. A message that was delivered before may have killed the process: it is
    handed over by itself from the start, after those that are new, and by lot: else one that kills
    the process each time would wear out all behind it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._new: list[Delivery] = []
        self._again: list[Delivery] = []
        self._again_from = 0.0
        self._next_from = 0.0
        self._working = False

    def put(self, delivery: Delivery) -> None:
        if deliveries(delivery.message):
            if not self._again:
                self._again_from = time.monotonic() + SETTLE_S
            self._again.append(delivery)
        else:
            self._new.append(delivery)
        if not self._working:
            self._working = True
            self.container.spawn_managed_thread(self._work, identifier="intake")

    def _work(self) -> None:
        try:
            while self._new or self._again:
                begin = self._next_from if self._new else self._again_from
                time.sleep(max(0.0, begin - time.monotonic()))
                self._next_from = time.monotonic() + PACE_S
                self._hand_over(self._next_group())
        finally:
            self._working = False

    def _next_group(self) -> list[Delivery]:
        if self._new:
            group, self._new = self._new[:MOST], self._new[MOST:]
            return group
        return [self._again.pop(random.randrange(len(self._again)))]

    def _hand_over(self, group: list[Delivery]) -> None:
        for one in group:
            one.fact = one.entrypoint.read(one.message)
        group = [one for one in group if one.fact is not None]
        if not group:
            return
        error = self._call(group)
        if isinstance(error, ContainerBeingKilled):
            self._give_back(group)
        elif len(group) > 1 and isinstance(error, BrokerUnavailableError):
            time.sleep(BROKER_PAUSE_S)
            self._give_back(group)
        elif len(group) > 1 and error is not None:
            for one in group:
                self._hand_over([one])
        else:
            for one in group:
                one.entrypoint.conclude(one.message, one.fact, error)

    def _give_back(self, group: list[Delivery]) -> None:
        for one in group:
            one.entrypoint.queue_consumer.settle(one.message, "requeue")

    def _call(self, group: list[Delivery]) -> BaseException | None:
        """What the handler raises, None if it returns."""
        first, ended = group[0], threading.Event()
        raised: BaseException | None = None

        def end(
            worker_ctx: Any, result: Any = None, exc_info: ExcInfo | None = None
        ) -> tuple[Any, ExcInfo | None]:
            nonlocal raised
            raised = exc_info[1] if exc_info else None
            ended.set()
            return result, exc_info

        try:
            self.container.spawn_worker(
                first.entrypoint,
                ([one.fact for one in group],),
                {},
                context_data={"message_id": first.message.properties.get("message_id")},
                handle_result=end,
            )
        except ContainerBeingKilled as killed:
            return cast(BaseException, killed)
        ended.wait()
        return raised


class Gathered(Subscription):
    """The entrypoint behind `gathers`, one for each topic."""

    intake = Intake()

    @property
    def prefetch(self) -> int:
        return MOST

    def take(self, message: Any) -> None:
        self.intake.put(Delivery(self, message))


Handler = Callable[[Any, Sequence[Message]], None]


def gathers(*message_classes: type[Message]) -> Callable[[Handler], Handler]:
    """Let a service's method handle the messages of these classes that wait, up to `MOST` at once.

    Messages of one class come in the order of their queue. What the method raises for several is
    forgotten, and each is tried by itself: it has to undo what it has begun.
    """

    def decorate(method: Handler) -> Handler:
        for message_class in message_classes:
            method = Gathered.decorator(message_class)(method)
        return method

    return decorate
