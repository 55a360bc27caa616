"""RabbitMQ: every event to whoever bound a queue for it, in order, confirmed, over a broker that comes and goes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aio_pika
import msgspec
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue
from pydantic import SecretStr

from events.catalog import StockAdjusted
from eventstore.log import StoredEvent
from projector.publishing.rabbitmq import stretches
from runtime.clock import now
from runtime.settings import Settings
from tests.brokers.publishing import as_in_the_log, published, publishing
from tests.brokers.rabbit import Rabbit
from tests.integration.projecting import until
from tests.integration.reacting import Stock

PRODUCTS = [f"p-{number}" for number in range(40)]


async def test_a_queue_gets_the_events_it_is_bound_for_as_the_feed_tells_them(
    rabbit_settings: Settings, stock: Stock
) -> None:
    for _ in range(3):
        await stock.adjust(*PRODUCTS)
    async with (
        queue(rabbit_settings, "product.StockAdjusted") as wanted,
        queue(rabbit_settings, "order.#") as others,
        publishing(rabbit_settings) as publisher,
    ):
        await published(publisher, 120)
        await stock.adjust(*PRODUCTS)
        await published(publisher, 160)
        messages = await received(wanted, 160)
        assert others.declaration_result.message_count == 0

    assert [event_of(message) for message in messages] == await as_in_the_log(rabbit_settings)
    first = messages[0]
    assert (first.content_type, first.type, first.delivery_mode, first.headers["position"]) == (
        "application/cloudevents+json",
        StockAdjusted.__name__,
        aio_pika.DeliveryMode.PERSISTENT,
        1,
    )
    assert first.message_id == event_of(first)["id"]


async def test_events_without_a_queue_are_confirmed(rabbit_settings: Settings, stock: Stock) -> None:
    await stock.adjust(*PRODUCTS)
    async with publishing(rabbit_settings) as publisher:
        await published(publisher, 40)


async def test_an_exchange_is_told_what_happens_after_it_was_first_set(rabbit_settings: Settings, stock: Stock) -> None:
    settings = rabbit_settings.model_copy(update={"rabbitmq_from_beginning": False})
    await stock.adjust(*PRODUCTS)
    async with queue(settings, "#") as wanted:
        # Sequenced before anybody publishes: what stands in the log then is the past.
        async with publishing(settings.model_copy(update={"rabbitmq_exchange": "elsewhere"})) as publisher:
            await published(publisher, 40)
            await stock.adjust("p-1")
            await published(publisher, 41)
        await stock.adjust("p-2")
        async with publishing(settings) as publisher:
            await published(publisher, 42)
            [message] = await received(wanted, 1)
    assert event_of(message)["position"] == 42


async def test_a_broker_that_restarts_has_missed_nothing(
    settings: Settings, stock: Stock, rabbit_script: Path, tmp_path: Path
) -> None:
    node = Rabbit(rabbit_script, tmp_path)
    own = settings.model_copy(update={"rabbitmq_url": SecretStr(node.url), "rabbitmq_from_beginning": True})
    async with publishing(own) as publisher:
        with node.running():
            async with queue(own, "#", durable="kept"):
                await stock.adjust(*PRODUCTS)
                await published(publisher, 40)
        await stock.adjust(*PRODUCTS)

        async def waits() -> bool:
            return publisher.state == "waiting"

        await until(waits, "waiting")
        with node.running():
            await published(publisher, 80)
            async with queue(own, "#", durable="kept") as kept:
                positions = [event_of(message)["position"] for message in await received(kept, 80)]
    assert [*dict.fromkeys(positions)] == [*range(1, 81)]


def test_a_stretch_never_holds_an_aggregate_twice() -> None:
    aggregates = "aabacbbca"
    events = [_stored(position, name) for position, name in enumerate(aggregates, 1)]
    cut = ["".join(event.aggregate_id for event in stretch) for stretch in stretches(events)]
    assert cut == ["a", "ab", "acb", "bca"]
    assert list(stretches([])) == []


@asynccontextmanager
async def queue(settings: Settings, binding: str, durable: str | None = None) -> AsyncIterator[AbstractQueue]:
    """A subscriber's."""
    assert settings.rabbitmq_url is not None
    connection = await aio_pika.connect(settings.rabbitmq_url.get_secret_value())
    async with connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(settings.rabbitmq_exchange, aio_pika.ExchangeType.TOPIC, durable=True)
        made = await channel.declare_queue(durable, durable=durable is not None, exclusive=durable is None)
        await made.bind(exchange, binding)
        yield made


async def received(wanted: AbstractQueue, count: int) -> list[AbstractIncomingMessage]:
    """So many messages, in the order of the queue."""
    found: list[AbstractIncomingMessage] = []
    async with wanted.iterator(timeout=30) as messages:
        async for message in messages:
            await message.ack()
            found.append(message)
            if len(found) == count:
                break
    return found


def event_of(message: AbstractIncomingMessage) -> dict[str, Any]:
    """The CloudEvent in the body."""
    told: dict[str, Any] = msgspec.json.decode(message.body)
    return told


def _stored(position: int, aggregate_id: str) -> StoredEvent:
    return StoredEvent(
        position=position,
        event_id=str(position),
        event_type="StockAdjusted",
        schema_version=1,
        aggregate_type="product",
        aggregate_id=aggregate_id,
        aggregate_version=position,
        occurred_at=now(),
        recorded_at=now(),
        correlation_id=None,
        causation_id=None,
        traceparent=None,
        snapshot=None,
        payload="{}",
    )
