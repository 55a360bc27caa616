"""kill -9, again and again, and then everything must add up.

Writers give commands to the domain all the while; the projector is a process of its own, as `readside up` starts it.
In the end the log is compared with what was acknowledged, and every document of every view with what an independent
count of it says. The last tests plant a bug and show that the comparison sees it.
"""

import asyncio
import os
import random
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from runtime.settings import Settings
from tests.crash.runner import POINTS
from tests.integration.projecting import ReadSide, Shop, a_read_side, a_shop, logged_facts, same_facts
from tests.oracle.views import differences, expected_views

pytestmark = pytest.mark.slow

READSIDE = (sys.executable, str(Path(sys.executable).with_name("readside")), "projector", "--port", "0")
RUNNER = (sys.executable, "-m", "tests.crash.runner")
SEED = 20_260_302
KILLS, MOST_SECONDS = 15, 90.0


@pytest.fixture
async def shop(postgres_url: str) -> AsyncIterator[Shop]:
    """An opened shop."""
    async with a_shop(postgres_url) as shop:
        yield shop


@pytest.fixture
async def read_side(settings: Settings) -> AsyncIterator[ReadSide]:
    """The views of this test."""
    async with a_read_side(settings) as read_side:
        yield read_side


class Projector:
    """A projector in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def a_projector(settings: Settings, *argv: str) -> AsyncIterator[Projector]:
    """`readside projector`, or the runner that dies at a point; killed at the end of the block at the latest."""
    environment = os.environ | {
        "READSIDE_POSTGRES_URL": settings.postgres_url or "",
        "READSIDE_MONGO_URL": settings.mongo_url or "",
        "READSIDE_MONGO_DATABASE": settings.mongo_database,
        "READSIDE_DATA_DIR": str(settings.data_dir),
        "READSIDE_JWT_SECRET": settings.jwt_secret.get_secret_value() if settings.jwt_secret else "",
        "READSIDE_BATCH_LIMIT": "200",
        "READSIDE_LOG_LEVEL": "error",
    }
    output = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*(argv or READSIDE), env=environment, stdout=output, stderr=output)
    projector = Projector(process)
    try:
        yield projector
    finally:
        await projector.kill()


@asynccontextmanager
async def trading(shop: Shop, seed: int, *, writers: int = 4) -> AsyncIterator[None]:
    """Several writers at once, for as long as the block; each ends with a whole order."""
    over = asyncio.Event()

    async def write(chance: random.Random) -> None:
        while not over.is_set():
            await shop.some_order(chance)
            await shop.adjust_stock("p-0", chance.randint(1, 9))
            await asyncio.sleep(chance.uniform(0, 0.05))

    tasks = [asyncio.create_task(write(random.Random(seed + number))) for number in range(writers)]
    try:
        yield
    finally:
        over.set()
        await asyncio.gather(*tasks)


async def found_wrong(shop: Shop, read_side: ReadSide) -> list[str]:
    """Once every view has come to the end of the log: what does not add up."""
    await read_side.reached(len(shop.acknowledged))
    wrong = [] if same_facts(await logged_facts(shop.url), shop.acknowledged) else ["the log is not what happened"]
    wrong += differences(await read_side.views(), expected_views(shop.acknowledged))
    wrong += [f"dead letter: {letter}" for letter in await read_side.dead_letters()]
    return wrong


async def test_a_projector_that_is_killed_at_any_moment_loses_and_repeats_nothing(
    shop: Shop, read_side: ReadSide, settings: Settings
) -> None:
    chance, kills, deadline = random.Random(SEED), 0, time.monotonic() + MOST_SECONDS
    positions = [0]
    async with trading(shop, SEED):
        while kills < KILLS and time.monotonic() < deadline:
            async with a_projector(settings) as projector:
                # It has begun to work in this life too: a kill before that would prove little.
                await read_side.reached(positions[-1] + 1)
                await asyncio.sleep(chance.uniform(0, 0.25))
                await projector.kill()
            kills += 1
            positions.append(max(one["position"] for one in (await read_side.checkpoints()).values()))

    assert kills == KILLS
    async with a_projector(settings):
        assert await found_wrong(shop, read_side) == []


async def test_two_projectors_that_are_killed_in_turn_lose_and_repeat_nothing(
    shop: Shop, read_side: ReadSide, settings: Settings
) -> None:
    async with trading(shop, SEED + 100, writers=2), a_projector(settings) as first, a_projector(settings) as second:
        await read_side.reached(len(shop.acknowledged))
        await first.kill()
        await read_side.reached(len(shop.acknowledged) + 20)
        async with a_projector(settings):
            await second.kill()
            await read_side.reached(len(shop.acknowledged) + 20)

    async with a_projector(settings):
        assert await found_wrong(shop, read_side) == []


@pytest.mark.parametrize("point", POINTS)
async def test_a_projector_that_is_killed_at_this_point_loses_and_repeats_nothing(
    shop: Shop, read_side: ReadSide, settings: Settings, point: str
) -> None:
    assert await wrong_after(shop, read_side, settings, point) == []


async def test_the_crash_test_sees_a_checkpoint_that_runs_ahead(
    shop: Shop, read_side: ReadSide, settings: Settings
) -> None:
    assert await wrong_after(shop, read_side, settings, "the checkpoint runs ahead") != []


async def test_the_crash_test_sees_documents_that_run_ahead(
    shop: Shop, read_side: ReadSide, settings: Settings
) -> None:
    assert await wrong_after(shop, read_side, settings, "the documents run ahead") != []


async def wrong_after(shop: Shop, read_side: ReadSide, settings: Settings, point: str) -> list[str]:
    """What does not add up after a death at this point, and a life without one."""
    async with trading(shop, SEED + 200, writers=2):
        await dies_at(settings, point, nth=9)
    async with a_projector(settings):
        return await found_wrong(shop, read_side)


async def dies_at(settings: Settings, point: str, *, nth: int) -> None:
    """Run the projector until it has killed itself there."""
    async with a_projector(settings, *RUNNER, point, str(nth)) as projector, asyncio.timeout(60):
        assert await projector.process.wait() == -9
