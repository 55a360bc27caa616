"""What a process tells of its pools, its loop and its schedule is so at the moment of the scrape."""

import asyncio
import time

import pytest
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector
from sqlalchemy.exc import TimeoutError as PoolExhausted

from projector.schedule_metrics import ScheduleMetrics
from runtime.metrics import LoopLag
from runtime.mongo import mongo_database
from runtime.mongo_pools import MongoPools
from runtime.pools import POSTGRES_POOLS, TIMEOUTS
from runtime.postgres import make_engine
from runtime.settings import Settings


def scraped(collector: Collector) -> dict[str, float]:
    """The samples by their text, as a scraper reads them."""
    registry = CollectorRegistry()
    registry.register(collector)
    lines = generate_latest(registry).decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


async def test_a_pool_tells_who_waits_and_counts_who_waited_in_vain(postgres_url: str) -> None:
    engine = make_engine(postgres_url, "of a test", pool_size=1, pool_timeout_seconds=0.3)

    def told() -> tuple[float, float, float, float]:
        found = scraped(POSTGRES_POOLS)
        label = 'pool="of a test"'
        return (
            found[f'readside_postgres_pool_connections{{{label},state="in_use"}}'],
            found[f'readside_postgres_pool_connections{{{label},state="idle"}}'],
            found[f"readside_postgres_pool_size{{{label}}}"],
            found[f"readside_postgres_pool_waiting{{{label}}}"],
        )

    async def one_more() -> None:
        async with engine.connect():
            pass

    try:
        async with engine.connect():
            assert told() == (1, 0, 1, 0)
            waiting = asyncio.create_task(one_more())
            await asyncio.sleep(0.05)
            assert told() == (1, 0, 1, 1)
            with pytest.raises(PoolExhausted):
                await waiting
            assert told() == (1, 0, 1, 0)
        assert told() == (0, 1, 1, 0)
        assert TIMEOUTS.labels("of a test")._value.get() == 1
    finally:
        await engine.dispose()


async def test_the_pools_of_mongodb_are_found_where_the_driver_keeps_them(settings: Settings) -> None:
    pools, database = MongoPools(), mongo_database(settings, "test")
    assert scraped(pools) == {}
    pools.add(database.client)
    try:
        await database.command("ping")
        found = scraped(pools)
    finally:
        database.client.close()
    assert found['readside_mongo_pool_connections{state="idle"}'] >= 1
    assert found['readside_mongo_pool_connections{state="in_use"}'] == 0
    assert found["readside_mongo_pool_size"] > 0
    assert found["readside_mongo_pool_waiting"] == 0


async def test_a_loop_that_was_held_up_tells_so_afterwards() -> None:
    lag = LoopLag(every_seconds=0.02)
    watching = asyncio.create_task(lag.watch())
    await asyncio.sleep(0.05)
    time.sleep(0.2)  # noqa: ASYNC251 - holding up the loop is the point
    await asyncio.sleep(0.05)
    watching.cancel()
    assert scraped(lag)["readside_event_loop_lag_seconds"] >= 0.1


async def test_what_is_due_by_the_clock_tells_for_how_long_it_was_not_done() -> None:
    schedule, scheduler, done = ScheduleMetrics(), AsyncIOScheduler(timezone="UTC"), asyncio.Event()

    async def tick() -> None:
        done.set()

    schedule.watch(scheduler)
    scheduler.add_job(tick, "interval", seconds=0.5, id="tick")
    scheduler.add_job(tick, "interval", seconds=3600, id="never")
    scheduler.start()
    try:
        assert scraped(schedule)['readside_schedule_since_run_seconds{schedule="never"}'] < 0.1
        await done.wait()
        await asyncio.sleep(0.1)
        found = scraped(schedule)
    finally:
        scheduler.shutdown(wait=False)
    assert found['readside_schedule_interval_seconds{schedule="never"}'] == 3600
    assert found['readside_schedule_since_run_seconds{schedule="tick"}'] < 0.4
    assert found['readside_schedule_since_run_seconds{schedule="never"}'] > 0.4
