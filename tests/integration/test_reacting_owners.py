"""Who owns a reaction: one at a time, another at once after a clean end, and nobody who was paused past their lease."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from projector.failures import GuardFailed
from projector.lease import LEASES, Lease
from projector.reacting.progress import MongoProgress, instance_of
from projector.reacting.window import Mark
from runtime.settings import Settings
from tests.integration.projecting import until
from tests.integration.reacting import (
    Gate,
    Kept,
    Outside,
    Stock,
    a_reaction,
    a_stock,
    is_state,
    mongo,
    quick,
    reacting,
    runner_of,
)

__all__ = ["mongo"]

INSTANCE = instance_of("ship")


@pytest.fixture
async def stock(postgres_url: str) -> AsyncIterator[Stock]:
    """An empty log; the reaction is known from its beginning on."""
    async with a_stock(postgres_url, "ship") as stock:
        yield stock


async def _none() -> int:
    return 0


async def test_of_two_projectors_one_reacts_and_the_other_takes_over_at_once_when_it_ends(
    stock: Stock, mongo: Kept, settings: Settings
) -> None:
    here, there = Outside(), Outside()
    ending = reacting(quick(settings), a_reaction(here))
    first = await ending.__aenter__()
    await is_state(first, "active")
    async with reacting(quick(settings), a_reaction(there)) as second:
        await is_state(second, "standby")
        calls = await stock.adjust("a", "b")
        await here.did(*calls)
        await mongo.reached(2)

        async def is_known() -> bool:
            return runner_of(second).position == 2

        await until(is_known, "the standby to know how far it is")
        await ending.__aexit__(None, None, None)
        began = time.monotonic()
        later = await stock.adjust("a", "c")
        await there.did(*later)
        assert time.monotonic() - began < 3
    assert (sorted(here.begun), sorted(there.begun)) == (sorted(calls), sorted(later))


async def test_a_paused_owner_moves_no_checkpoint_any_more_even_where_nothing_happened_meanwhile(
    stock: Stock, mongo: Kept
) -> None:
    paused, taker = (MongoProgress(mongo.database, "ship") for _ in range(2))
    before, after = Lease(mongo.database, INSTANCE), Lease(mongo.database, INSTANCE)
    assert await before.acquire()
    assert await paused.prepare(before.epoch, _none) == Mark(0)
    await _expire(mongo)
    assert await after.acquire()
    assert await taker.prepare(after.epoch, _none) == Mark(0)
    with pytest.raises(GuardFailed):
        await paused.write(Mark(1), [], 0)
    with pytest.raises(GuardFailed):
        await paused.prepare(before.epoch, _none)
    assert (await mongo.checkpoint())["position"] == 0


async def test_an_owner_that_lost_its_lease_begins_nothing_and_lets_go_of_what_it_had_begun(
    stock: Stock, mongo: Kept, settings: Settings
) -> None:
    outside, gate = Outside(), Gate()
    outside.behave = gate.passed
    async with reacting(quick(settings), a_reaction(outside)) as daemon:
        await stock.adjust("a", "a")
        await outside.began(("a", 1))
        await mongo.database[LEASES].update_one({"_id": INSTANCE}, {"$set": {"owner": "another"}, "$inc": {"epoch": 1}})
        await is_state(daemon, "standby")
        gate.open()
        await stock.adjust("b")
        await asyncio.sleep(0.3)
        assert (outside.begun, outside.done) == ([("a", 1)], [])
        await _expire(mongo)
        await outside.did(("a", 1), ("a", 2), ("b", 1))
        assert runner_of(daemon).status()["epoch"] == 3


async def test_an_owner_that_is_not_sure_of_its_lease_begins_nothing_until_it_is(
    stock: Stock, mongo: Kept, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = Outside()
    async with reacting(quick(settings), a_reaction(outside)) as daemon:
        await is_state(daemon, "active")
        tenure = runner_of(daemon)._tenure
        with pytest.MonkeyPatch.context() as paused:
            # What its clock says after a pause, before anybody has told it anything.
            paused.setattr(type(tenure), "is_sure", property(lambda _: False))
            await stock.adjust("a")
            await asyncio.sleep(0.5)
            assert outside.begun == []
        await outside.did(("a", 1))


async def _expire(mongo: Kept) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    await mongo.database[LEASES].update_one({"_id": INSTANCE}, {"$set": {"expires_at": past}})
