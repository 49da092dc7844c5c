"""nameko, made safe: typed handlers, confirmed publishes, retries, dead letters.

Stock nameko acknowledges a message when its handler raises, closes its connection while handlers
still run, dies when a connection is lost under one, and waits for ever if it is to stop while the
broker is away. Here a message is acknowledged only after the handler's own publishes are confirmed;
an error sends it to a retry queue or to its dead-letter queue with the reason in its headers, and
then acknowledges it.

Only this module, `outlet`, `gathering`, the runner and the services' shells know nameko and kombu.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from greenlet import GreenletExit
from kombu import Connection, Queue
from nameko.exceptions import ContainerBeingKilled
from nameko.extensions import DependencyProvider, Entrypoint, ProviderCollector
from nameko.messaging import QueueConsumer
from nameko.timer import timer
from nameko.web.handlers import http
from pydantic import ValidationError

from pacstream import logs, metrics, topology
from pacstream.envelope import Envelope
from pacstream.errors import (
    BrokerUnavailableError,
    PacstreamError,
    RetryLaterError,
    UnroutableError,
)
from pacstream.messages import Message, WorkFailed
from pacstream.outlet import BUS_ERRORS, Outlet
from pacstream.settings import Settings

log = logging.getLogger(__name__)

M = TypeVar("M", bound=Message)
F = TypeVar("F", bound=Callable[..., Any])
ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

ATTEMPT = "x-attempt"

DELIVERIES = "x-delivery-count"
"""Set by quorum queues: how often a message was delivered before without an acknowledgement."""

MOST_DELIVERIES = topology.DELIVERY_LIMIT // 2
"""A message that kills its worker so often is buried by us, with word to the ledger, before the
broker's own limit would bury it in silence."""


BROKER_ANSWER_S = 5.0
"""Patience with the broker at a stop. What is not acknowledged by then, it delivers to another."""

TICK_S = 0.25
"""How soon the consumer sees that it has to end."""


def declare_topology(channel: Any, settings: Settings) -> None:
    """Declare the exchange and all queues on an open AMQP channel. Safe to repeat."""
    channel.exchange_declare(
        exchange=topology.EXCHANGE, type="topic", durable=True, auto_delete=False
    )
    for spec in topology.queues(settings.retry_delays):
        channel.queue_declare(
            queue=spec.name, durable=True, auto_delete=False, arguments=spec.arguments
        )
        for topic in spec.topics:
            channel.queue_bind(queue=spec.name, exchange=topology.EXCHANGE, routing_key=topic)


class SafeQueueConsumer(QueueConsumer):
    """Stays connected until the last acknowledgement, and survives a lost connection; but one that
    is lost while it ends is not made anew."""

    def __init__(self) -> None:
        super().__init__()
        self._in_flight = 0
        self._away = False
        self._ending = False
        self.consuming = False

    @property
    def prefetch_count(self) -> int:
        """Per queue. The runner gives the container a worker for each message that needs one."""
        return max((provider.prefetch for provider in self._providers), default=0)

    def get_consumers(self, consumer_cls: Any, channel: Any) -> Any:
        declare_topology(channel, self.container.config["SETTINGS"])
        for provider in self._providers:
            consumer = consumer_cls(
                queues=[provider.queue],
                on_message=partial(self.handle_message, provider),
                accept=self.accept,
            )
            consumer.qos(prefetch_count=self.prefetch_count)
            self._consumers[provider] = consumer
        return self._consumers.values()

    def handle_message(self, provider: Any, message: Any) -> None:
        self._in_flight += 1
        provider.take(message)

    def consume(self, limit: Any = None, **kwargs: Any) -> Any:
        return super().consume(limit, safety_interval=TICK_S, **kwargs)

    def create_connection(self) -> Any:
        if self._ending:
            self.consuming = False
            raise GreenletExit
        return super().create_connection()

    def on_iteration(self) -> None:
        if not self._ending:
            return
        for consumer in self._consumers.values():
            consumer.cancel()
        self._consumers.clear()
        self.should_stop = not self._in_flight

    def unregister_provider(self, provider: Any) -> None:
        """When this returns, no message comes any more: the broker has confirmed it or is away."""
        self._ending = True
        self._wait_while(lambda: self._consumers)
        ProviderCollector.unregister_provider(self, provider)

    def stop(self) -> None:
        """After all handlers: wait for the last acknowledgement and a decent end of the
        connection."""
        self.wait_for_providers()
        self._wait_while(lambda: not self._gt.dead)
        self._gt.kill()

    def _wait_while(self, condition: Callable[[], Any]) -> None:
        patience = time.monotonic() + BROKER_ANSWER_S
        while self.consuming and condition() and time.monotonic() < patience:
            time.sleep(TICK_S / 5)

    def on_consume_ready(
        self, connection: Any, channel: Any, consumers: Any, **kwargs: Any
    ) -> None:
        self.consuming = True
        logs.event(log, "consuming", queues=len(self._consumers))
        super().on_consume_ready(connection, channel, consumers, **kwargs)

    def on_consume_end(self, connection: Any, channel: Any) -> None:
        self.consuming = False

    def on_connection_error(self, exc: BaseException, interval: float) -> None:
        self.consuming = False
        self._away = True
        logs.event(
            log, "broker away", logging.WARNING, error_type=type(exc).__name__, again_in_s=interval
        )

    def on_connection_revived(self) -> None:
        if self._away:
            logs.event(log, "broker back")
        self._away = False

    def settle(self, message: Any, verb: str) -> None:
        """Acknowledge or requeue, unless the broker has already taken the message back."""
        try:
            if message.channel is not None and message.channel.connection is not None:
                getattr(message, verb)()
        except BUS_ERRORS as error:
            logs.event(
                log, "connection lost, the broker redelivers", error_type=type(error).__name__
            )
        finally:
            self._in_flight = max(0, self._in_flight - 1)


class Subscription(Entrypoint):
    """The entrypoint behind `subscribes_to`."""

    queue_consumer = SafeQueueConsumer()

    def __init__(self, message_class: type[Message], **kwargs: Any) -> None:
        self.message_class = message_class
        super().__init__(**kwargs)

    @property
    def queue(self) -> Queue:
        return Queue(self.queue_name, no_declare=True)

    @property
    def queue_name(self) -> str:
        return topology.queue_name(self.container.service_name, self.message_class)

    def setup(self) -> None:
        self._settings: Settings = self.container.config["SETTINGS"]
        self._outlet = Outlet(self.container.config["AMQP_URI"])
        self.queue_consumer.register_provider(self)

    def stop(self) -> None:
        self.queue_consumer.unregister_provider(self)

    @property
    def prefetch(self) -> int:
        return int(self.container.config["PREFETCH"])

    def take(self, message: Any) -> None:
        """Called by the consumer for each delivery; must not wait."""
        self.container.spawn_managed_thread(
            partial(self._handle, message), identifier="handle_message"
        )

    def read(self, message: Any) -> Message | None:
        """What the message says; None if it can't be read, or has killed its workers too often: it
        is a dead letter then."""
        if deliveries(message) >= MOST_DELIVERIES:
            worn = PacstreamError("delivered again and again", code="redelivered_too_often")
            self.conclude(message, None, worn)
            return None
        try:
            return self.message_class.parse(message.body)
        except ValidationError as error:
            fields = sorted({str(item["loc"][0]) for item in error.errors() if item["loc"]})
            self.conclude(message, None, PacstreamError(f"bad fields {fields}", code="bad_message"))
            return None

    def _handle(self, message: Any) -> None:
        fact = self.read(message)
        if fact is None:
            return
        try:
            self.container.spawn_worker(
                self,
                (fact,),
                {},
                context_data={"message_id": message.properties.get("message_id")},
                handle_result=partial(self._handle_result, message, fact),
            )
        except ContainerBeingKilled:
            self.queue_consumer.settle(message, "requeue")

    def _handle_result(
        self,
        message: Any,
        fact: Message,
        worker_ctx: Any,
        result: Any = None,
        exc_info: ExcInfo | None = None,
    ) -> tuple[Any, ExcInfo | None]:
        self.conclude(message, fact, exc_info[1] if exc_info else None)
        return result, exc_info

    def conclude(self, message: Any, fact: Message | None, error: BaseException | None) -> None:
        """Acknowledge what was handled; else see to it that it comes again, or is buried."""
        verb, outcome = "ack", "done"
        try:
            if isinstance(error, RetryLaterError) and self._attempt(message) < self._max_attempts:
                outcome = "retry"
                self._try_again(message, error)
            elif error is not None:
                outcome = "dead"
                self._bury(message, fact, error)
        except (BrokerUnavailableError, UnroutableError):
            time.sleep(1.0)
            verb, outcome = "requeue", "requeued"
        self.queue_consumer.settle(message, verb)
        metrics.count(self.queue_name, fact, outcome)

    @property
    def _max_attempts(self) -> int:
        return self._settings.max_attempts

    def _attempt(self, message: Any) -> int:
        return int((message.headers or {}).get(ATTEMPT, 1))

    def _try_again(self, message: Any, error: RetryLaterError) -> None:
        attempt = self._attempt(message)
        delays = self._settings.retry_delays
        delay = delays[min(attempt, len(delays)) - 1]
        if error.delay_s is not None:
            delay = min(delays, key=lambda tier: abs(tier - 1000 * (error.delay_s or 0)))
        copy = self._copy(message, {ATTEMPT: attempt + 1})
        self._outlet.forward(message.body, copy, topology.retry_queue_name(self.queue_name, delay))
        fields = {"reason": error.code, "attempt": attempt, "delay_ms": delay}
        logs.event(log, "retry later", queue=self.queue_name, message=copy.message_id, **fields)

    def _bury(self, message: Any, fact: Message | None, error: BaseException) -> None:
        reason = error.code if isinstance(error, PacstreamError) else "unexpected_error"
        copy = self._copy(
            message,
            {
                "x-reason": reason,
                "x-error": logs.describe(error)[:500],
                "x-queue": self.queue_name,
                "x-attempts": self._attempt(message),
                "x-died-at": int(time.time()),
            },
        )
        self._outlet.forward(message.body, copy, topology.dead_queue_name(self.queue_name))
        fields = {"reason": reason, "message": copy.message_id, "error": logs.describe(error)}
        logs.event(log, "dead letter", logging.ERROR, queue=self.queue_name, **fields)
        if self.message_class is not WorkFailed:
            told = fact.payload() if fact else self._readable(message)
            failure = work_failed(self.queue_name, copy, told, reason)
            app_id = str(self.container.service_name)
            self._outlet.publish([failure], app_id, [copy.message_id])

    def _readable(self, message: Any) -> dict[str, Any]:
        """What of a body that is no message of ours can be read."""
        try:
            body = json.loads(message.body)
        except (ValueError, TypeError):
            return {}
        return body if isinstance(body, dict) else {}

    def _copy(self, message: Any, more: dict[str, str | int]) -> Envelope:
        properties = message.properties
        kept = {k: v for k, v in (message.headers or {}).items() if not k.startswith("x-death")}
        return Envelope(
            message_id=str(properties.get("message_id") or ""),
            correlation_id=str(properties.get("correlation_id") or ""),
            type=str(properties.get("type") or self.message_class.topic),
            timestamp=int(time.time()),
            app_id=str(properties.get("app_id") or ""),
            headers={**kept, **more},
        )


def deliveries(message: Any) -> int:
    """How often the message was delivered before without an acknowledgement."""
    return int((message.headers or {}).get(DELIVERIES, 0))


def work_failed(queue: str, properties: Envelope, body: dict[str, Any], reason: str) -> WorkFailed:
    """What the ledger is told of a dead letter: the batch, and the row or series, if it tells."""
    order = body.get("order", body)
    series = order.get("series") if isinstance(order, dict) else None
    subject = series if isinstance(series, dict) else body
    row, series_uid, step = body.get("row"), subject.get("series_uid"), body.get("step")
    return WorkFailed(
        batch_id=properties.correlation_id,
        queue=queue,
        failed_topic=properties.type,
        failed_message_id=properties.message_id,
        reason=reason,
        row=row if isinstance(row, int) else None,
        series_uid=series_uid if isinstance(series_uid, str) else "",
        step=step if isinstance(step, int) else None,
    )


def subscribes_to(
    message_class: type[M],
) -> Callable[[Callable[[Any, M], None]], Callable[[Any, M], None]]:
    """Let a service's method handle every `message_class` from the service's own queue."""
    decorate: Callable[[Callable[[Any, M], None]], Callable[[Any, M], None]]
    decorate = Subscription.decorator(message_class)
    return decorate


class Readiness(DependencyProvider):
    """`self.ready()`: the consumers are registered with the broker now."""

    queue_consumer = SafeQueueConsumer()

    def get_dependency(self, worker_ctx: Any) -> Callable[[], bool]:
        return lambda: bool(self.queue_consumer.consuming)


def answers_http(method: str, url: str) -> Callable[[F], F]:
    """nameko's HTTP entrypoint, typed."""
    decorate: Callable[[F], F] = http(method, url)
    return decorate


def every(seconds: float) -> Callable[[F], F]:
    """nameko's timer entrypoint, typed."""
    decorate: Callable[[F], F] = timer(interval=seconds)
    return decorate


class Service:
    """A nameko service with GET /health: 200 only while it takes messages from the broker.

    GET /live is 200 as long as the process answers at all: without a broker a restart helps nobody.
    GET /metrics is for Prometheus.
    """

    name = ""
    ready = Readiness()

    @answers_http("GET", "/health")
    def health(self, request: Any) -> tuple[int, dict[str, str], str]:
        consuming = self.ready()
        body = {"service": self.name, "status": "ok" if consuming else "waiting for the broker"}
        return (
            200 if consuming else 503,
            {"Content-Type": "application/json"},
            json.dumps(body),
        )

    @answers_http("GET", "/live")
    def live(self, request: Any) -> str:
        return "alive"

    @answers_http("GET", "/metrics")
    def metrics(self, request: Any) -> tuple[int, dict[str, str], str]:
        return 200, {"Content-Type": metrics.CONTENT_TYPE}, metrics.exposition()


def wait_for_broker(settings: Settings, patience_s: float = 120.0) -> None:
    """Connect once and declare the topology; BrokerUnavailableError after `patience_s`."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            with Connection(settings.amqp_url, connect_timeout=5) as connection:
                declare_topology(connection.default_channel, settings)
                return
        except BUS_ERRORS as error:
            if time.monotonic() > deadline:
                raise BrokerUnavailableError(
                    f"no broker after {patience_s:.0f} s ({type(error).__name__})"
                ) from None
            logs.event(log, "waiting for the broker", error_type=type(error).__name__)
            time.sleep(1.0)
