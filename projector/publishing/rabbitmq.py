"""To RabbitMQ: one topic exchange, one persistent message for each event, in structured mode, with publisher confirms.

The routing key is ``<aggregate type>.<event name>``, as in ``order.OrderPaid``: a queue binds ``order.*``,
``*.OrderPaid`` or ``#``. Events that no queue is bound for are confirmed, and gone; they are in the log for whoever
comes later.

Confirms come one by one, and a message may be refused while one sent after it was taken. So an event goes out only when
its predecessor in its aggregate has been confirmed: a batch is sent in stretches in which no aggregate stands twice.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import aio_pika
from aio_pika.abc import AbstractExchange
from aio_pika.connection import make_url
from aio_pika.exceptions import AMQPError

from eventstore.cloud_events import STRUCTURED, structured
from eventstore.log import StoredEvent
from projector.publishing.outlet import BrokerAway, Send
from runtime.settings import Settings

_CONNECT_SECONDS = 10.0
_CONFIRM_SECONDS = 30.0
"""A broker that is out of memory or disk blocks its publishers: then the batch is begun again, and again."""

_FAILURES = (AMQPError, ConnectionError, TimeoutError, OSError)


class RabbitOutlet:
    """The exchange of the settings; made where it is not there."""

    name = "rabbitmq"
    trouble: str | None = None

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.from_beginning = settings.rabbitmq_from_beginning

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Send]:
        """One connection and channel of one owner's. Raises `BrokerAway`."""
        assert self._settings.rabbitmq_url is not None
        url = self._settings.rabbitmq_url.get_secret_value()
        # Not the robust one: it would send again by itself, in an order of its own. And not by the library's `connect`,
        # which leaves one that it could not connect to the garbage collector, with no loop to close itself on.
        connection = aio_pika.Connection(make_url(url), client_properties={"connection_name": "readside publisher"})
        try:
            yield partial(_send, await self._exchange(connection))
        finally:
            await connection.close()

    async def _exchange(self, connection: aio_pika.Connection) -> AbstractExchange:
        try:
            await connection.connect(timeout=_CONNECT_SECONDS)
            channel = await connection.channel(publisher_confirms=True, on_return_raises=False)
            return await channel.declare_exchange(
                self._settings.rabbitmq_exchange, aio_pika.ExchangeType.TOPIC, durable=True
            )
        except _FAILURES as error:
            raise BrokerAway(_sentence(error)) from None


async def _send(exchange: AbstractExchange, events: Sequence[StoredEvent]) -> None:
    for stretch in stretches(events):
        sending = [asyncio.ensure_future(_publish(exchange, event)) for event in stretch]
        try:
            await asyncio.gather(*sending)
        except _FAILURES as error:
            raise BrokerAway(_sentence(error)) from None
        finally:
            for one in sending:
                one.cancel()
            await asyncio.gather(*sending, return_exceptions=True)


async def _publish(exchange: AbstractExchange, event: StoredEvent) -> None:
    await exchange.publish(message_of(event), routing_key_of(event), mandatory=False, timeout=_CONFIRM_SECONDS)


def stretches(events: Sequence[StoredEvent]) -> Iterator[Sequence[StoredEvent]]:
    """The events in their order, cut before each whose aggregate has been in the stretch already."""
    start, seen = 0, set[tuple[str, str]]()
    for number, event in enumerate(events):
        aggregate = event.aggregate_type, event.aggregate_id
        if aggregate in seen:
            yield events[start:number]
            start = number
            seen.clear()
        seen.add(aggregate)
    if events:
        yield events[start:]


def message_of(event: StoredEvent) -> aio_pika.Message:
    """The whole CloudEvent as the body; a subscriber can tell what it is, and what it has seen, by the properties."""
    return aio_pika.Message(
        structured(event),
        content_type=STRUCTURED,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        message_id=event.event_id,
        type=event.event_type,
        timestamp=event.occurred_at,
        app_id="readside",
        headers={"position": event.position, "aggregateversion": event.aggregate_version},
    )


def routing_key_of(event: StoredEvent) -> str:
    """``order.OrderPaid``."""
    return f"{event.aggregate_type}.{event.event_type}"


def _sentence(error: BaseException) -> str:
    # Without its text: a driver's may hold the URL, and that the password.
    return f"RabbitMQ: {type(error).__name__}"
