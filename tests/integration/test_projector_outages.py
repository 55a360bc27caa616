"""A store that is killed under the projector: it is waited for, makes no dead letter, and needs no hand."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.exc import SQLAlchemyError

from command.migrations import migrate
from readside.embedded.mongo import EmbeddedMongo
from readside.embedded.postgres import EmbeddedPostgres
from readside.embedded.start import Embedded, start
from readside.supervisor import Supervisor
from runtime.postgres import DRIVER_ERRORS
from runtime.settings import Settings
from tests.integration.projecting import ReadSide, Shop, a_read_side, a_shop, logged_facts, projecting, until
from tests.oracle.views import differences, expected_views

pytestmark = pytest.mark.slow


@asynccontextmanager
async def kept_running(database: Embedded) -> AsyncIterator[Supervisor]:
    """A database of this test's own, which is started again as `readside up` would."""
    supervisor = Supervisor(log=lambda _name, _line: None, on_start=lambda: None)
    try:
        await start(supervisor, [database])
        yield supervisor
    finally:
        await supervisor.end()


def kill_nine(supervisor: Supervisor) -> None:
    """End its one child as the kernel would when memory is short."""
    (running,) = supervisor.running.values()
    os.kill(running.pid, signal.SIGKILL)


async def trading_through(shop: Shop, orders: int) -> None:
    """Orders one after the other; where a store is away the customer comes back."""
    chance = random.Random(1)
    for _ in range(orders):
        while True:
            try:
                await shop.some_order(chance)
                break
            except (*DRIVER_ERRORS, SQLAlchemyError):
                await asyncio.sleep(0.05)


async def killed_in_the_middle(shop: Shop, read_side: ReadSide, supervisor: Supervisor) -> None:
    """Twice: trade, wait until the views have begun to follow, kill, go on trading."""
    for _ in range(2):
        trading = asyncio.create_task(trading_through(shop, 20))
        await read_side.reached(len(shop.acknowledged) + 1)
        kill_nine(supervisor)
        await trading


async def test_a_killed_mongodb_is_waited_for(settings: Settings, postgres_url: str, tmp_path: Path) -> None:
    mongo = EmbeddedMongo(tmp_path)
    settings = settings.model_copy(update={"mongo_url": mongo.url})
    async with kept_running(mongo) as supervisor, a_shop(postgres_url) as shop, a_read_side(settings) as read_side:
        async with projecting(settings) as daemon:
            await killed_in_the_middle(shop, read_side, supervisor)
            await read_side.reached(len(shop.acknowledged))
            await daemon.projections_work()

        assert differences(await read_side.views(), expected_views(shop.acknowledged)) == []
        assert await read_side.dead_letters() == []


async def test_a_killed_postgres_is_waited_for(settings: Settings, tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path)
    settings = settings.model_copy(update={"postgres_url": postgres.url})
    try:
        async with kept_running(postgres) as supervisor, a_read_side(settings) as read_side:
            await migrate(postgres.url)
            async with a_shop(postgres.url) as shop, projecting(settings) as daemon:
                await killed_in_the_middle(shop, read_side, supervisor)
                # A commit whose answer was lost may have happened: the log knows, once the queue is empty.
                await until(lambda: sequenced(postgres.url), "an empty outbox")
                facts = await logged_facts(postgres.url)
                await read_side.reached(len(facts))
                await daemon.postgres_works()

            assert differences(await read_side.views(), expected_views(facts)) == []
            assert await read_side.dead_letters() == []
            told = [fact.told() for fact in facts]
            assert all(fact.told() in told for fact in shop.acknowledged)
    finally:
        postgres.clear()


async def sequenced(url: str) -> bool:
    """Whether all that was committed stands in the log."""
    try:
        connection = await asyncpg.connect(url)
    except DRIVER_ERRORS:
        return False  # it is on its way back
    try:
        return not await connection.fetchval("SELECT EXISTS (SELECT FROM outbox)")
    finally:
        await connection.close()
