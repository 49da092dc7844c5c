"""pika for what is not nameko: the CLI and the store SCP. Confirmed, mandatory, one per thread."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import asdict

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError
from pika.exceptions import UnroutableError as PikaUnroutableError

from pacstream import logs, topology
from pacstream.envelope import envelope
from pacstream.errors import BrokerUnavailableError, InputError, UnroutableError
from pacstream.messages import Message
from pacstream.settings import Settings
from pacstream.volley import Volley

log = logging.getLogger(__name__)


class Publisher:
    """Connects on first use and again after a lost connection. Not for use by several threads."""

    def __init__(self, settings: Settings, app_id: str) -> None:
        self._settings = settings
        self._app_id = app_id
        self._channel: BlockingChannel | None = None
        try:
            self._parameters = pika.URLParameters(settings.amqp_url)
        except (ValueError, TypeError):
            raise InputError("PACSTREAM_AMQP_URL is not an AMQP URL") from None
        self._parameters.blocked_connection_timeout = 30.0
        self._parameters.socket_timeout = 10.0
        self._parameters.heartbeat = settings.heartbeat_s

    def publish(self, message: Message) -> None:
        """Send one message; it is confirmed by the broker when this returns.

        Raises UnroutableError if no queue takes it, BrokerUnavailableError if it could not be
        confirmed (it may have arrived all the same: consumers bear a second copy).
        """
        try:
            self._send(message, fresh=False)
        except BrokerUnavailableError:
            self._send(message, fresh=True)

    def publish_all(self, messages: Iterable[Message]) -> None:
        """Send messages in order, on a connection of their own; all are confirmed when this
        returns, or it raises as `publish` does."""
        left = list(messages)
        for _ in range(2):
            volley = Volley(self._parameters, left, self._app_id)
            volley.run()
            if volley.unroutable:
                raise UnroutableError(f"no queue takes {volley.unroutable}")
            left = volley.left
            if not left:
                return
        raise BrokerUnavailableError(f"{len(left)} messages were not confirmed")

    def connect(self) -> None:
        """Connect and declare the topology now. Raises BrokerUnavailableError."""
        self._open()

    def close(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None and channel.connection.is_open:
            try:
                channel.connection.close()
            except (AMQPError, OSError) as error:
                logs.event(log, "connection was gone", error_type=type(error).__name__)

    def _send(self, message: Message, *, fresh: bool) -> None:
        if fresh:
            self.close()
        channel = self._open()
        properties = envelope(message, self._app_id)
        try:
            channel.basic_publish(
                topology.EXCHANGE,
                message.topic,
                message.model_dump_json().encode(),
                pika.BasicProperties(**asdict(properties)),
                mandatory=not message.announcement,
            )
        except PikaUnroutableError:
            raise UnroutableError(f"no queue takes {message.topic}") from None
        except (AMQPError, OSError) as error:
            self.close()
            raise BrokerUnavailableError(
                f"a publish was not confirmed ({type(error).__name__})"
            ) from None

    def _open(self) -> BlockingChannel:
        if self._channel is not None and self._channel.is_open:
            return self._channel
        try:
            channel = pika.BlockingConnection(self._parameters).channel()
            channel.confirm_delivery()
            channel.exchange_declare(topology.EXCHANGE, "topic", durable=True)
            for spec in topology.queues(self._settings.retry_delays):
                channel.queue_declare(spec.name, durable=True, arguments=spec.arguments)
                for topic in spec.topics:
                    channel.queue_bind(spec.name, topology.EXCHANGE, topic)
        except (AMQPError, OSError) as error:
            raise BrokerUnavailableError(f"no broker ({type(error).__name__})") from None
        self._channel = channel
        return channel
