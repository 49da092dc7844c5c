"""The AMQP properties of a message: all that a dashboard or a trace may show, and no identifier."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field

from pacstream.messages import Message


@dataclass(frozen=True)
class Envelope:
    """Values for the AMQP 0-9-1 basic properties of the same names."""

    message_id: str
    correlation_id: str
    type: str
    timestamp: int
    app_id: str
    headers: dict[str, str | int] = field(default_factory=dict)

    content_type: str = "application/json"
    content_encoding: str = "utf-8"
    delivery_mode: int = 2


def envelope(message: Message, app_id: str, causation_id: str = "") -> Envelope:
    """Properties for `message`; `causation_id` is the message that made us send it.

    `traceparent` (W3C Trace Context) has one trace for each batch.
    """
    trace = hashlib.blake2s(message.correlation_id.encode(), digest_size=16).hexdigest()
    message_id = message.message_id
    return Envelope(
        message_id=message_id,
        correlation_id=message.correlation_id,
        type=message.topic,
        timestamp=int(time.time()),
        app_id=app_id,
        headers={
            "schema-version": message.schema_version,
            "causation-id": causation_id,
            "traceparent": f"00-{trace}-{message_id[:16]}-01",
        },
    )
