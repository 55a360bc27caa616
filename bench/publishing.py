"""Publishing: how many events a second go to a broker, each confirmed, against reading the log alone.

The brokers are what can be had without Docker: Tansu (Kafka's protocol, topics in memory), and RabbitMQ where it is
installed. They share the machine with the publisher; the figures say what the hop costs us, and nothing of Kafka.
"""

import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.suite import Bench, Part, Row
from bench.workload import fill_log
from eventstore import EventLog
from projector.publishing.engine import outlets
from projector.publishing.outlet import Send
from projector.publishing.publisher import MOST_AT_ONCE
from runtime.settings import Settings
from tests.brokers.kafka import tansu
from tests.brokers.rabbit import Rabbit, server_script

_DATABASE = "bench_publish"


async def measure(bench: Bench) -> list[Row]:
    """Every broker in turns with reading, in every round."""
    url = await bench.fresh(_DATABASE)
    await fill_log(url, bench.orders)
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, tansu(Path(folder)) as brokers:
        told: dict[str, dict[str, Any]] = {"Kafka": {"kafka_brokers": brokers}}
        script = server_script()
        if script is None:
            await _rounds(bench, url, told, found)
        else:
            node = Rabbit(script, Path(folder))
            with node.running():
                await _rounds(bench, url, told | {"RabbitMQ": {"rabbitmq_url": node.url}}, found)
    await bench.drop(_DATABASE)
    reading = statistics.median(found["reading alone"])
    return [
        {
            "ratio_to_reading": round(statistics.median(rates) / reading, 2),
            "to": name,
            "events_a_second": round(statistics.median(rates)),
        }
        for name, rates in found.items()
    ]


async def _rounds(bench: Bench, url: str, told: dict[str, dict[str, Any]], found: dict[str, list[float]]) -> None:
    for number in range(bench.rounds):
        found.setdefault("reading alone", []).append(await _rate(url, None))
        for name, fields in told.items():
            settings = Settings(_env_file=None, kafka_topic=f"round-{number}", **fields)  # type: ignore[call-arg]
            found.setdefault(name, []).append(await _rate(url, settings))


async def _rate(url: str, settings: Settings | None) -> float:
    async with EventLog(url, "bench") as events, _sending(settings) as send:
        started, position = time.perf_counter(), 0
        while batch := await events.get(position, MOST_AT_ONCE):
            await send(batch)
            position = batch[-1].position
        return position / (time.perf_counter() - started)


@asynccontextmanager
async def _sending(settings: Settings | None) -> AsyncIterator[Send]:
    if settings is None:
        yield _nowhere
        return
    [outlet] = outlets(settings)
    async with outlet.connected() as send:
        yield send


async def _nowhere(_: Any) -> None:
    return


part = Part("publish", "publishing to brokers, events a second", measure, by_default=False, orders=(10_000,))
