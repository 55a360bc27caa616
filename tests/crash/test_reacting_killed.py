"""kill -9 of a projector that reacts, again and again: every effect is there, in order, and little is done twice.

The outside is a table that the reaction writes to, see `tests.crash.reacting`. It is compared with the log.
"""

import asyncio
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from runtime.settings import Settings
from tests.crash.lives import Projector, a_projector
from tests.crash.reacting import BUGS, NAME, TABLE
from tests.integration.projecting import ReadSide, until
from tests.integration.reacting import Stock, a_stock

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # a busy machine is no failure

SEED, KILLS = 20_261_125, 3
REACTING = (sys.executable, "-m", "tests.crash.reacting")


class Remembered:
    """What the reaction did, as the outside has it."""

    def __init__(self, pool: Any, read_side: ReadSide) -> None:
        self._pool = pool
        self._read_side = read_side

    async def checkpoint(self) -> dict[str, Any]:
        """As it is stored."""
        return await self._read_side.database["reactions"].find_one({"_id": NAME}) or {"position": 0, "done": []}

    async def through(self) -> None:
        """Wait until the reaction is through with the whole log, and nothing waits to get there."""

        async def is_through() -> bool:
            if await self._pool.fetchval("SELECT count(*) FROM outbox"):
                return False
            head = await self._pool.fetchval("SELECT coalesce(max(position), 0) FROM event_log")
            return bool((await self.checkpoint())["position"] == head)

        await until(is_through, "the reaction to be through")

    async def durable(self) -> set[str]:
        """The ids of the events that the checkpoint says are done."""
        found = await self.checkpoint()
        rows = await self._pool.fetch(
            "SELECT event_id::text FROM event_log WHERE position <= $1 OR position = ANY($2)",
            found["position"],
            found["done"],
        )
        return {row["event_id"] for row in rows}

    async def count(self, what: str) -> int:
        """How many rows of that kind there are."""
        found: int = await self._pool.fetchval("SELECT count(*) FROM remembered WHERE what = $1", what)
        return found

    async def last_id(self) -> int:
        """Of all rows."""
        found: int = await self._pool.fetchval("SELECT coalesce(max(id), 0) FROM remembered")
        return found

    async def begun_after(self, last: int) -> set[str]:
        """The ids of the events of which a handler has begun since."""
        query = "SELECT DISTINCT event_id FROM remembered WHERE id > $1 AND what = 'begun'"
        return {row["event_id"] for row in await self._pool.fetch(query, last)}

    async def pids_since(self, last: int) -> set[int]:
        """The processes that began anything since."""
        query = "SELECT DISTINCT pid FROM remembered WHERE id > $1 AND what = 'begun'"
        return {row["pid"] for row in await self._pool.fetch(query, last)}

    async def wrong(self) -> list[str]:
        """Events without an effect, and aggregates whose first effects are out of order."""
        rows = await self._pool.fetch(
            "SELECT position, aggregate_id,"
            " (SELECT min(id) FROM remembered WHERE event_id = event_log.event_id::text AND what = 'done') AS first"
            " FROM event_log ORDER BY position",
        )
        wrong = [f"no effect of the event at {row['position']}" for row in rows if row["first"] is None]
        last: dict[str, int] = {}
        for row in rows:
            if row["first"] is not None:
                if row["first"] < last.get(row["aggregate_id"], 0):
                    wrong.append(f"the event at {row['position']} took effect before one of its product that is older")
                last[row["aggregate_id"]] = row["first"]
        return wrong


@pytest.fixture
async def remembered(postgres_url: str, read_side: ReadSide) -> AsyncIterator[Remembered]:
    """An empty memory"""
    async with asyncpg.create_pool(postgres_url, min_size=1, max_size=2) as pool:
        await pool.execute(TABLE)
        yield Remembered(pool, read_side)


@pytest.fixture
async def stock(postgres_url: str) -> AsyncIterator[Stock]:
    """An empty log; the reaction begins with its first event."""
    async with a_stock(postgres_url, NAME) as stock:
        yield stock


@asynccontextmanager
async def counting(stock: Stock) -> AsyncIterator[None]:
    """Somebody counts, for as long as the block; few products, so that their events wait for each other."""
    over, chance = asyncio.Event(), random.Random(SEED)
    products = [f"p-{number}" for number in range(12)]
    weights = [1] + [5] * 11  # the slow one seldom: it is to be through with all in the end

    async def count() -> None:
        while not over.is_set():
            await stock.adjust(*chance.choices(products, weights, k=chance.randint(1, 6)))
            await asyncio.sleep(chance.uniform(0.02, 0.1))

    task = asyncio.create_task(count())
    try:
        yield
    finally:
        over.set()
        await task


async def killed_again_and_again(stock: Stock, remembered: Remembered, settings: Settings, *argv: str) -> list[str]:
    """What is wrong after that, and a life without a kill."""
    chance, repeated = random.Random(SEED), set[str]()
    async with counting(stock):
        for _ in range(KILLS):
            before = await remembered.count("done")
            async with a_projector(settings, *REACTING, *argv) as projector:

                async def has_worked(before: int = before) -> bool:
                    return await remembered.count("done") > before + 5

                await until(has_worked, "the reaction to do something in this life")
                await asyncio.sleep(chance.uniform(0, 0.4))
                durable = await remembered.durable()
                await projector.kill()
            last = await remembered.last_id()
            async with a_projector(settings, *REACTING, *argv) as projector:

                async def works_again(last: int = last) -> bool:
                    return len(await remembered.begun_after(last)) > 5

                await until(works_again, "the reaction to go on")
                await projector.kill()
            repeated |= durable & await remembered.begun_after(last)
    async with a_projector(settings, *REACTING):
        await remembered.through()
    wrong = await remembered.wrong()
    return wrong + [f"{len(repeated)} events were begun again that were durably done"] * bool(repeated)


async def test_a_projector_that_is_killed_at_any_moment_loses_no_effect_and_repeats_none_that_is_durable(
    stock: Stock, remembered: Remembered, settings: Settings
) -> None:
    assert await killed_again_and_again(stock, remembered, settings) == []


@pytest.mark.parametrize("bug", BUGS)
async def test_the_crash_test_sees_this_bug(stock: Stock, remembered: Remembered, settings: Settings, bug: str) -> None:
    assert await killed_again_and_again(stock, remembered, settings, bug) != []


async def test_another_takes_over_from_a_projector_that_is_killed_and_one_that_is_paused_begins_nothing_after_it(
    stock: Stock, remembered: Remembered, settings: Settings
) -> None:
    async with counting(stock), a_projector(settings, *REACTING) as first:
        await _works(remembered, first)
        async with a_projector(settings, *REACTING) as second:
            await asyncio.sleep(2)
            await first.kill()
            began = time.monotonic()
            await _works(remembered, second)
            assert time.monotonic() - began < 5
            async with a_projector(settings, *REACTING) as third:
                await asyncio.sleep(2)
                second.process.send_signal(signal.SIGSTOP)
                began = time.monotonic()
                await _works(remembered, third)
                assert time.monotonic() - began < 5
                last = await remembered.last_id()
                second.process.send_signal(signal.SIGCONT)
                await _works(remembered, third)
                await asyncio.sleep(2)
                assert await remembered.pids_since(last) == {third.process.pid}
    async with a_projector(settings, *REACTING):
        await remembered.through()
    assert await remembered.wrong() == []


async def _works(remembered: Remembered, projector: Projector) -> None:
    last = await remembered.last_id()

    async def does() -> bool:
        return projector.process.pid in await remembered.pids_since(last)

    await until(does, "this projector to react")
