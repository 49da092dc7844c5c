"""Many messages published in one go: in order, with many confirms awaited at once."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import pika
from pika import spec

from pacstream import topology
from pacstream.envelope import envelope
from pacstream.messages import Message

IN_FLIGHT = 500
"""Messages that are sent and not yet confirmed, at most."""


class Volley:
    """`run` publishes the messages and returns when all are confirmed, or the connection has ended:
    then `left` has those that were not confirmed, in order. They may have arrived all the same."""

    def __init__(
        self, parameters: pika.ConnectionParameters, messages: Iterable[Message], app_id: str
    ) -> None:
        self._parameters = parameters
        self._app_id = app_id
        self._to_send = deque(messages)
        self._sent: dict[int, Message] = {}
        self._last_tag = 0
        self.unroutable = ""
        """The topic of a message that no queue takes."""

    @property
    def left(self) -> list[Message]:
        return [*self._sent.values(), *self._to_send]

    def run(self) -> None:
        self._connection = pika.SelectConnection(
            self._parameters,
            on_open_callback=lambda connection: connection.channel(on_open_callback=self._open),
            on_open_error_callback=self._end,
            on_close_callback=self._end,
        )
        self._connection.ioloop.start()

    def _open(self, channel: Any) -> None:
        self._channel = channel
        channel.add_on_close_callback(self._close)
        channel.add_on_return_callback(self._returned)
        channel.confirm_delivery(self._answered, callback=lambda _: self._send_more())

    def _send_more(self) -> None:
        while self._to_send and len(self._sent) < IN_FLIGHT:
            message = self._to_send.popleft()
            self._last_tag += 1
            self._sent[self._last_tag] = message
            self._channel.basic_publish(
                topology.EXCHANGE,
                message.topic,
                json.dumps(message.payload()).encode(),
                pika.BasicProperties(**asdict(envelope(message, self._app_id))),
                mandatory=not message.announcement,
            )
        if not self._sent:
            self._close()

    def _answered(self, frame: Any) -> None:
        """basic.ack or basic.nack; a message that the broker refuses stays in `left`."""
        tag, multiple = frame.method.delivery_tag, frame.method.multiple
        tags = [one for one in self._sent if one <= tag] if multiple else [tag]
        if isinstance(frame.method, spec.Basic.Nack):
            self._close()
            return
        for one in tags:
            self._sent.pop(one, None)
        self._send_more()

    def _returned(self, _channel: Any, method: Any, _properties: Any, _body: Any) -> None:
        self.unroutable = method.routing_key

    def _close(self, *_: Any) -> None:
        if self._connection.is_open:
            self._connection.close()

    def _end(self, *_: Any) -> None:
        self._connection.ioloop.stop()
