"""Publishes of the nameko services: in order, with confirm, several in flight.

One publish that waits for its confirm costs a round trip and a write to the broker's disk. Messages
that are sent together share them: all are written, then all confirms are awaited.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from amqp.exceptions import AMQPError
from kombu import Connection
from kombu.exceptions import KombuError
from nameko.extensions import DependencyProvider

from pacstream import topology
from pacstream.envelope import Envelope, envelope
from pacstream.errors import BrokerUnavailableError, UnroutableError
from pacstream.messages import Message

BUS_ERRORS = (AMQPError, KombuError, OSError)

PAUSES_S = (0.0, 0.0, 1.0)
"""Before each further attempt on a new connection; a kept one may be gone since its last use."""


@dataclass(frozen=True)
class Parcel:
    """One message as the broker takes it."""

    body: bytes | str
    properties: Envelope
    routing_key: str
    exchange: str = topology.EXCHANGE
    mandatory: bool = True


class Line:
    """A connection with one channel in confirm mode. For one greenlet at a time."""

    def __init__(self, amqp_url: str) -> None:
        self._connection = Connection(amqp_url)
        self._channel = self._connection.channel()
        self._channel.confirm_select()
        self._channel.events["basic_ack"].add(self._confirmed)
        self._channel.events["basic_nack"].add(self._refused)
        self._channel.events["basic_return"].add(self._returned)
        self._last_tag = 0
        self._waiting: set[int] = set()
        self._nacked = False
        self._unroutable = ""

    def send(self, parcels: Sequence[Parcel]) -> None:
        """All are with the broker when this returns.

        Raises UnroutableError if no queue takes one of them (the others are sent),
        BrokerUnavailableError if one is refused, and what kombu raises for a lost connection.
        """
        self._nacked, self._unroutable = False, ""
        for parcel in parcels:
            self._last_tag += 1
            self._waiting.add(self._last_tag)
            self._publish(parcel)
        while self._waiting:
            self._connection.drain_events()
        if self._nacked:
            raise BrokerUnavailableError("the broker refuses a message")
        if self._unroutable:
            raise UnroutableError(f"no queue takes {self._unroutable}")

    def close(self) -> None:
        self._connection.collect()

    def _publish(self, parcel: Parcel) -> None:
        properties = asdict(parcel.properties)
        message = self._channel.prepare_message(
            parcel.body,
            content_type=properties.pop("content_type"),
            content_encoding=properties.pop("content_encoding"),
            headers=properties.pop("headers"),
            properties=properties,
        )
        self._channel.basic_publish(
            message, parcel.exchange, parcel.routing_key, mandatory=parcel.mandatory
        )

    def _confirmed(self, tag: int, multiple: bool) -> None:
        self._waiting -= {one for one in self._waiting if one <= tag} if multiple else {tag}

    def _refused(self, tag: int, multiple: bool) -> None:
        self._nacked = True
        self._confirmed(tag, multiple)

    def _returned(self, error: Any, exchange: str, routing_key: str, message: Any) -> None:
        self._unroutable = str(message.properties.get("type"))


class Outlet:
    """Publishes with confirm; one for each service, used by all of its workers."""

    def __init__(self, amqp_url: str) -> None:
        self._amqp_url = amqp_url
        self._idle: list[Line] = []

    def publish(self, messages: Sequence[Message], app_id: str, causes: Sequence[str]) -> None:
        """Send `messages`, in order, to whoever is bound to their topics; `causes` has for each the
        id of the message that led to it.

        Raises UnroutableError if a message that needs a consumer's queue has none, and
        BrokerUnavailableError if the broker does not confirm all. Some may have been sent then.
        """
        self._send(
            [
                Parcel(
                    json.dumps(message.payload()),
                    envelope(message, app_id, cause),
                    message.topic,
                    mandatory=not message.announcement,
                )
                for message, cause in zip(messages, causes, strict=True)
            ]
        )

    def forward(self, body: bytes | str, properties: Envelope, queue: str) -> None:
        """Put a copy of a message straight into `queue`. Raises as `publish` does."""
        self._send([Parcel(body, properties, queue, exchange="")])

    def _send(self, parcels: Sequence[Parcel]) -> None:
        for pause in PAUSES_S:
            try:
                self._send_once(parcels)
            except BUS_ERRORS:
                self._forget_lines()
                time.sleep(pause)
            else:
                return
        try:
            self._send_once(parcels)
        except BUS_ERRORS as error:
            raise BrokerUnavailableError(
                f"a publish was not confirmed ({type(error).__name__})"
            ) from None

    def _send_once(self, parcels: Sequence[Parcel]) -> None:
        line = self._idle.pop() if self._idle else Line(self._amqp_url)
        try:
            line.send(parcels)
        except UnroutableError:
            self._idle.append(line)
            raise
        except BaseException:
            line.close()
            raise
        self._idle.append(line)

    def _forget_lines(self) -> None:
        """What has broken one connection has most likely broken all."""
        lines, self._idle = self._idle, []
        for line in lines:
            line.close()


class Emitter(DependencyProvider):
    """`self.emit(*messages)` in a handler: all published and confirmed when it returns."""

    def setup(self) -> None:
        self._outlet = Outlet(self.container.config["AMQP_URI"])

    def get_dependency(self, worker_ctx: Any) -> Callable[..., None]:
        cause = str(worker_ctx.data.get("message_id") or "")
        app_id = str(self.container.service_name)

        def emit(*messages: Message, causes: Sequence[str] | None = None) -> None:
            told = [cause] * len(messages) if causes is None else causes
            self._outlet.publish(messages, app_id, told)

        return emit

    def __call__(self, *messages: Message, causes: Sequence[str] | None = None) -> None:
        """For the type checker: nameko puts what get_dependency returns in this one's place.
        `causes`: the ids of the messages that led to them, if not the one that is handled."""
        raise TypeError("an Emitter works inside a running service only")
