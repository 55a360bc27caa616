"""The consumers of docs/how-to/subscribe.md for the two brokers, as the page has them; killed, they go on."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aio_pika
from aio_pika.exceptions import DeliveryError

from runtime.settings import Settings
from tests.brokers.publishing import published, publishing
from tests.how_to import HOW_TO
from tests.integration.projecting import until
from tests.integration.reacting import Stock

_PASSED_OVER = b'{"position": 0, "type": "StockAdjusted", "subject": "product/none", "aggregateversion": 0}'
PRODUCTS = [f"p-{number}" for number in range(10)]


async def test_the_kafka_consumer_goes_on_after_kill_9_where_it_was(
    kafka_settings: Settings, stock: Stock, tmp_path: Path
) -> None:
    told = {"BROKERS": kafka_settings.kafka_brokers or "", "TOPIC": kafka_settings.kafka_topic}
    async with publishing(kafka_settings) as publisher:
        await stock.adjust(*PRODUCTS)
        await published(publisher, 10)
        first = await printed(consumer("confluent_kafka"), told, tmp_path, 10)
        await stock.adjust(*PRODUCTS)
        await published(publisher, 20)
        second = await printed(consumer("confluent_kafka"), told, tmp_path, 10)
    assert sorted(map(position_of, first)) == [*range(1, 11)]
    # What was printed when it was killed, and not yet committed, comes once more.
    fresh = [line for line in second if line != first[-1]]
    assert len(fresh) >= 9
    assert {*map(position_of, fresh)} <= {*range(11, 21)}
    assert len({*fresh}) == len(fresh)
    assert first[0].split()[1:] == ["StockAdjusted", f"product/p-{position_of(first[0]) - 1}"]


async def test_the_rabbitmq_consumer_sees_every_event_in_order(
    rabbit_settings: Settings, stock: Stock, tmp_path: Path
) -> None:
    assert rabbit_settings.rabbitmq_url is not None
    told = {"RABBITMQ": rabbit_settings.rabbitmq_url.get_secret_value(), "EXCHANGE": rabbit_settings.rabbitmq_exchange}
    source = consumer("aio_pika")
    async with running(source, told, tmp_path):
        await has_bound(rabbit_settings)
    async with publishing(rabbit_settings) as publisher:
        await stock.adjust(*PRODUCTS)
        await published(publisher, 10)
        first = await printed(source, told, tmp_path, 10)
        await stock.adjust(*PRODUCTS)
        await published(publisher, 20)
        second = await printed(source, told, tmp_path, 10)
    positions = [*map(position_of, first), *map(position_of, second)]
    # What was printed and not yet acknowledged when it was killed comes once more.
    assert [*dict.fromkeys(positions)] == [*range(1, len(set(positions)) + 1)]
    assert len(set(positions)) >= 19


def consumer(library: str) -> str:
    """The page's program that uses this library."""
    blocks = re.findall(r"```python\n(.*?)```", (HOW_TO / "subscribe.md").read_text(), re.DOTALL)
    [source] = [block for block in blocks if library in block]
    return str(source)


async def printed(source: str, told: Mapping[str, str], folder: Path, count: int) -> list[str]:
    """What it prints first; it is killed then."""
    async with running(source, told, folder) as output, asyncio.timeout(60):
        return [(await output.readline()).decode().strip() for _ in range(count)]


@asynccontextmanager
async def running(source: str, told: Mapping[str, str], folder: Path) -> AsyncIterator[asyncio.StreamReader]:
    """The program, until the block ends."""
    (folder / "consumer.py").write_text(source)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "consumer.py", cwd=folder, env=dict(told), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        process.kill()
        await process.wait()


async def has_bound(settings: Settings) -> None:
    """Wait until the consumer's queue gets what is told to the exchange."""
    assert settings.rabbitmq_url is not None
    async with await aio_pika.connect(settings.rabbitmq_url.get_secret_value()) as connection:
        channel = await connection.channel(on_return_raises=True)
        exchange = await channel.declare_exchange(settings.rabbitmq_exchange, aio_pika.ExchangeType.TOPIC, durable=True)

        async def is_bound() -> bool:
            try:
                # An event of a product that the consumer knows a later version of already: it passes over it.
                await exchange.publish(aio_pika.Message(_PASSED_OVER), "product.StockAdjusted")
            except DeliveryError:
                return False
            return True

        await until(is_bound, "the queue to be bound")


def position_of(line: str) -> int:
    """The first word."""
    return int(line.split()[0])
