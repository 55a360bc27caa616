"""kill -9, again and again, and then everything must add up.

Writers give commands to the domain all the while; the projector is a process of its own, as `readside up` starts it.
In the end the log is compared with what was acknowledged, and every document of every view with what an independent
count of it says. The last tests plant a bug and show that the comparison sees it.
"""

import asyncio
import random
import time

import pytest

from runtime.settings import Settings
from tests.crash.lives import a_projector, dies_at, found_wrong, trading
from tests.crash.runner import POINTS
from tests.integration.projecting import ReadSide, Shop

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # a busy machine is no failure

SEED = 20_260_302
FEWEST_KILLS, KILLS, MOST_SECONDS = 3, 15, 45.0


async def test_a_projector_that_is_killed_at_any_moment_loses_and_repeats_nothing(
    shop: Shop, read_side: ReadSide, settings: Settings
) -> None:
    chance, kills, deadline = random.Random(SEED), 0, time.monotonic() + MOST_SECONDS
    positions = [0]
    async with trading(shop, SEED):
        while kills < FEWEST_KILLS or (kills < KILLS and time.monotonic() < deadline):
            async with a_projector(settings) as projector:
                # It has begun to work in this life too: a kill before that would prove little.
                await read_side.reached(positions[-1] + 1)
                await asyncio.sleep(chance.uniform(0, 0.25))
                await projector.kill()
            kills += 1
            positions.append(max(one["position"] for one in (await read_side.checkpoints()).values()))

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


@pytest.mark.parametrize("bug", ["the checkpoint runs ahead", "shared checkpoints run ahead"])
async def test_the_crash_test_sees_a_checkpoint_that_runs_ahead(
    shop: Shop, read_side: ReadSide, settings: Settings, bug: str
) -> None:
    assert await wrong_after(shop, read_side, settings, bug) != []


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
