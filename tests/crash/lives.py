"""Processes that live until they are killed, what goes on meanwhile, and what does not add up afterwards."""

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from runtime.settings import Settings
from tests.integration.projecting import ReadSide, Shop, logged_facts, same_facts
from tests.oracle.views import differences, expected_views

READSIDE = (sys.executable, str(Path(sys.executable).with_name("readside")))
RUNNER = (sys.executable, "-m", "tests.crash.runner")
IMMORTAL = (*RUNNER, "never", "0")


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
    """One that dies at a point, or at none by itself; killed at the end of the block at the latest."""
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
    process = await asyncio.create_subprocess_exec(*(argv or IMMORTAL), env=environment, stdout=output, stderr=output)
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


async def dies_at(settings: Settings, point: str, *, nth: int) -> None:
    """Run the projector until it has killed itself there."""
    async with a_projector(settings, *RUNNER, point, str(nth)) as projector, asyncio.timeout(120):
        assert await projector.process.wait() == -9
