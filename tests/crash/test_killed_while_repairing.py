"""kill -9 of a projector that retries dead letters, or builds a view afresh: the next one goes on, and all is exact."""

from typing import Any

import pytest

from projector.dead_letters import DeadLetters
from projector.registry import Registry
from runtime.settings import Settings
from tests.crash.lives import a_projector, dies_at, found_wrong, trading
from tests.crash.runner import REBUILDS, REPAIRS
from tests.instances import ORDER_DETAIL
from tests.integration.projecting import ReadSide, Shop, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # a busy machine is no failure

SEED = 20_261_121
VIEW = "order_detail"


async def damaged(read_side: ReadSide, order_ids: list[str]) -> dict[str, Any]:
    """Put something that is no version into these orders' documents; returns what was there."""
    documents = read_side.database[(await read_side.active())[VIEW]]
    sound = {one["_id"]: one["version"] async for one in documents.find({"_id": {"$in": order_ids}})}
    await documents.update_many({"_id": {"$in": order_ids}}, {"$set": {"version": "no version"}})
    return sound


async def repaired(read_side: ReadSide, versions: dict[str, Any]) -> None:
    """Put back what was there."""
    documents = read_side.database[(await read_side.active())[VIEW]]
    for order_id, version in versions.items():
        await documents.update_one({"_id": order_id}, {"$set": {"version": version}})


@pytest.mark.parametrize("point", REPAIRS)
async def test_a_projector_that_is_killed_in_a_retry_of_dead_letters_leaves_nothing_half_done(
    shop: Shop, read_side: ReadSide, settings: Settings, point: str
) -> None:
    letters = DeadLetters(read_side.database)
    order_ids = [await shop.place() for _ in range(3)]
    async with a_projector(settings):
        await read_side.reached(len(shop.acknowledged))
    # Only now: a projector that holds the documents would repair them by itself.
    versions = await damaged(read_side, order_ids)
    for order_id in order_ids:
        await shop.redirect(order_id)
        await shop.pay(order_id)
    async with a_projector(settings):
        await read_side.reached(len(shop.acknowledged))
    assert len(await read_side.dead_letters()) == 9

    await repaired(read_side, versions)
    await letters.ask_retry(None, "ann")
    async with trading(shop, SEED, writers=1):
        await dies_at(settings, point, nth=2)

    async with a_projector(settings):

        async def is_settled() -> bool:
            return await read_side.dead_letters() == []

        await until(is_settled, "every dead letter settled")
        assert await found_wrong(shop, read_side) == []


@pytest.mark.parametrize("point", REBUILDS)
async def test_a_projector_that_is_killed_in_a_rebuild_leaves_a_view_that_the_next_one_completes(
    shop: Shop, read_side: ReadSide, settings: Settings, point: str
) -> None:
    registry = Registry(read_side.database)
    async with a_projector(settings), trading(shop, SEED):
        await read_side.reached(150)
    await registry.request_rebuild(VIEW)

    async with trading(shop, SEED + 100, writers=1):
        await dies_at(settings, point, nth=1)

    async with a_projector(settings):

        async def is_served() -> bool:
            return (await read_side.active())[VIEW] == f"{ORDER_DETAIL}.g2"

        await until(is_served, "the rebuilt view served")
        assert await found_wrong(shop, read_side) == []
    entry = await registry.entry(VIEW)
    assert entry.building is None
    assert entry.comparison is not None
    assert entry.comparison["different"] == 0
