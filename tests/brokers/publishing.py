"""A daemon that publishes, and what was published, as tests ask for both."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from confluent_kafka import Consumer, Message, TopicPartition

from eventstore import EventLog
from eventstore.cloud_events import cloud_event
from projector.daemon import Daemon
from projector.publishing.publisher import Publisher
from runtime.settings import Settings
from tests.integration.projecting import until

_PATIENCE_SECONDS = 30.0


@asynccontextmanager
async def publishing(settings: Settings) -> AsyncIterator[Publisher]:
    """The one publisher of a daemon that runs as long as the block does."""
    daemon = Daemon(settings)
    async with daemon.running():
        [publisher] = daemon.publishing.publishers
        yield publisher


async def published(publisher: Publisher, position: int) -> None:
    """Wait until the broker has confirmed everything up to there."""

    async def is_there() -> bool:
        return publisher.position >= position

    await until(is_there, f"{publisher.name} at {position}: {publisher.status()}")


async def as_in_the_log(settings: Settings) -> list[dict[str, Any]]:
    """Every event as the event feed tells it."""
    assert settings.postgres_url is not None
    async with EventLog(settings.postgres_url, "test") as events:
        stored = await events.get(0, 100_000)
    return [msgspec.json.decode(msgspec.json.encode(cloud_event(one))) for one in stored]


async def consumed(settings: Settings, count: int) -> dict[int, list[Message]]:
    """So many messages of the topic, from its beginning, by partition."""
    return await asyncio.to_thread(_consumed, settings, count)


def _consumed(settings: Settings, count: int) -> dict[int, list[Message]]:
    consumer = Consumer(
        {
            "bootstrap.servers": settings.kafka_brokers,
            "group.id": "test",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 20,
        }
    )
    try:
        partitions = consumer.list_topics(settings.kafka_topic, timeout=10).topics[settings.kafka_topic].partitions
        # Assigned by hand: to form a group of one takes seconds.
        consumer.assign([TopicPartition(settings.kafka_topic, number, 0) for number in partitions])
        found: dict[int, list[Message]] = {number: [] for number in partitions}
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while sum(map(len, found.values())) < count and time.monotonic() < deadline:
            for message in consumer.consume(1000, 0.1):
                assert message.error() is None, message.error()
                found[message.partition() or 0].append(message)
        return found
    finally:
        consumer.close()


def headers_of(message: Message) -> dict[str, str]:
    """As text."""
    return {name: _text(value) for name, value in dict(message.headers() or []).items()}


def _text(value: str | bytes | None) -> str:
    assert isinstance(value, bytes)
    return value.decode()


def event_of(message: Message) -> dict[str, Any]:
    """The CloudEvent of a message in binary mode."""
    headers = headers_of(message)
    told: dict[str, Any] = {name.removeprefix("ce_"): value for name, value in headers.items() if name[:3] == "ce_"}
    told["datacontenttype"] = headers["content-type"]
    for name in ("position", "aggregateversion"):
        told[name] = int(told[name])
    return told | {"data": msgspec.json.decode(message.value() or b"")}


def positions_of(messages: Sequence[Message]) -> list[int]:
    """In the order of the partition."""
    return [int(headers_of(message)["ce_position"]) for message in messages]
