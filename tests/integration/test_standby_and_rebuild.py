"""Who owns a projection, and how a view is built afresh while it is served."""

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import NoReturn

import pytest

from projector import bulk
from projector import feed as feed_module
from projector import registry as registry_module
from projector.daemon import Daemon
from projector.failures import GuardFailed
from projector.folding import Folded
from projector.lease import LEASES, Lease
from projector.registry import RebuildRefusedError, Registry
from projector.store import ViewStore
from runtime.settings import Settings
from tests.instances import ORDER_DETAIL
from tests.integration.projecting import ReadSide, a_read_side, a_shop, projecting, until
from tests.oracle.views import expected_views
from views import all_views

INSTANCE = ORDER_DETAIL


async def _states(daemon: Daemon, state: str) -> bool:
    return len(daemon.runners) == len(all_views()) and {runner.state for runner in daemon.runners} == {state}


async def _all_are(daemon: Daemon, state: str) -> None:
    await until(lambda: _states(daemon, state), f"every projection {state}")


async def _owners(read_side: ReadSide) -> set[str]:
    return {lease["owner"] async for lease in read_side.database[LEASES].find({"owner": {"$ne": None}})}


async def _rebuilt(registry: Registry, view: str) -> None:
    async def is_switched() -> bool:
        return (await registry.entry(view)).building is None

    await until(is_switched, f"{view} rebuilt")


async def test_of_two_projectors_one_works_and_the_other_takes_over_at_once_when_it_ends(settings: Settings) -> None:
    async with a_shop(settings.postgres_url or "") as shop, a_read_side(settings) as read_side:
        second = Daemon(settings)
        async with projecting(settings) as first:
            await _all_are(first, "active")
            owners = await _owners(read_side)
            running = second.running()
            await running.__aenter__()
            await _all_are(second, "standby")
        try:
            assert not owners & await _owners(read_side), "a lease that nobody holds has to run out first"
            await _all_are(second, "active")
            await shop.place()
            await read_side.reached(len(shop.acknowledged))
            assert await read_side.views() == expected_views(shop.acknowledged)
        finally:
            await running.__aexit__(None, None, None)


async def test_an_owner_that_is_cut_off_from_the_events_lets_another_have_its_projections(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "CUT_OFF_SECONDS", 2.5)
    async with (
        a_shop(settings.postgres_url or "") as shop,
        a_read_side(settings) as read_side,
        projecting(settings) as first,
    ):
        await _all_are(first, "active")
        async with projecting(settings) as second:
            await _all_are(second, "standby")
            with pytest.MonkeyPatch.context() as cut:
                cut.setattr(first._sequencer, "sequence", _refused)
                await _all_are(second, "active")
                await _all_are(first, "waiting")
                await shop.place()
                await read_side.reached(len(shop.acknowledged))
            await _all_are(first, "standby")
            assert await read_side.views() == expected_views(shop.acknowledged)


async def _refused() -> NoReturn:
    raise ConnectionRefusedError


async def test_an_owner_that_was_paused_past_its_lease_writes_nothing_any_more(settings: Settings) -> None:
    async with a_read_side(settings) as read_side:
        database = read_side.database
        with ThreadPoolExecutor(1) as threads:
            paused, taker = (ViewStore(database, all_views()["order_detail"], INSTANCE, threads) for _ in range(2))
            before, after = Lease(database, INSTANCE), Lease(database, INSTANCE)
            assert await before.acquire()
            checkpoint = await paused.prepare(before.epoch)
            assert not await after.acquire()
            await _expire(read_side)
            assert await after.acquire()
            await taker.prepare(after.epoch)
            # Nothing was projected meanwhile: the position is as the paused owner left it, and would let it through.
            with pytest.raises(GuardFailed):
                await paused.write(_batch_of_one(), checkpoint, 0)
            assert (await read_side.checkpoints())[INSTANCE]["position"] == 0
            assert not await before.renew()


async def test_a_lease_is_free_at_once_when_it_is_released_or_its_process_is_gone(settings: Settings) -> None:
    async with a_read_side(settings) as read_side:
        first, second = Lease(read_side.database, INSTANCE), Lease(read_side.database, INSTANCE)
        assert await first.acquire()
        await first.release()
        assert await second.acquire()
        assert second.epoch == first.epoch + 1
        gone = await asyncio.create_subprocess_exec("true")
        await gone.wait()
        await read_side.database[LEASES].update_one({"_id": INSTANCE}, {"$set": {"pid": gone.pid}})
        assert await first.acquire()


@pytest.mark.parametrize("worth_it", [1, 10**9], ids=["by several processes", "by the runner alone"])
async def test_a_view_is_rebuilt_while_it_is_served_and_written_to(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, worth_it: int
) -> None:
    monkeypatch.setattr(bulk, "WORTH_IT", worth_it)
    chance = random.Random(7)
    async with a_shop(settings.postgres_url or "") as shop, a_read_side(settings) as read_side:
        async with projecting(settings):
            for _ in range(30):
                await shop.some_order(chance)
            await read_side.reached(len(shop.acknowledged))
            registry = Registry(read_side.database)
            for view in all_views():
                # Of coupons, points and posts these orders make no documents.
                is_empty = not await read_side.documents((await registry.entry(view)).active)
                entry = await registry.request_rebuild(view)
                for _ in range(5):
                    await shop.some_order(chance)
                    assert is_empty or await read_side.documents((await registry.entry(view)).active)
                await _rebuilt(registry, view)
                done = await registry.entry(view)
                assert (done.active, done.previous) == (entry.building, entry.active)
                assert done.comparison is not None
                assert done.comparison["different"] == 0
            await read_side.reached(len(shop.acknowledged))
        assert await read_side.views() == expected_views(shop.acknowledged)


async def test_a_rebuild_finds_what_was_wrong_and_can_be_rolled_back(settings: Settings) -> None:
    async with a_shop(settings.postgres_url or "") as shop, a_read_side(settings) as read_side:
        async with projecting(settings):
            order_id = await shop.place()
            await read_side.reached(len(shop.acknowledged))
            await read_side.database[INSTANCE].update_one({"_id": order_id}, {"$set": {"total_amount": -1}})
            registry = Registry(read_side.database)
            await registry.request_rebuild("order_detail", keep_old=True)
            with pytest.raises(RebuildRefusedError):
                await registry.request_rebuild("order_detail")
            await _rebuilt(registry, "order_detail")
            assert (await registry.entry("order_detail")).comparison == {
                "documents": 1,
                "different": 1,
                "examples": [order_id],
            }
            assert await read_side.views() == expected_views(shop.acknowledged)
            await registry.rollback("order_detail")
            served = await read_side.documents((await registry.entry("order_detail")).active)
            assert served[order_id]["total_amount"] == -1
            await shop.pay(order_id)
            await read_side.reached(len(shop.acknowledged))
        # The one that is not served is kept current too: another rollback would bring nothing old.
        for instance in (await registry.entry("order_detail")).instances:
            assert (await read_side.documents(instance))[order_id]["status"] == "PREPARING"


async def test_what_was_replaced_is_dropped_and_no_standby_makes_it_anew(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "GRACE", timedelta(0))
    shopping, reading = a_shop(settings.postgres_url or ""), a_read_side(settings)
    async with shopping as shop, reading as read_side, projecting(settings) as first:
        await _all_are(first, "active")
        async with projecting(settings) as second:
            await _all_are(second, "standby")
            await read_side.reached(len(shop.acknowledged))
            await Registry(read_side.database).request_rebuild("order_detail")

            async def is_dropped() -> bool:
                return INSTANCE not in await read_side.checkpoints()

            await until(is_dropped, "the old view gone")
            await shop.place()
            await read_side.reached(len(shop.acknowledged))
            # Long enough for a runner that still wanted it to have taken it: standbys ask twice a second.
            await asyncio.sleep(1.5)
            assert INSTANCE not in await read_side.checkpoints()
            assert INSTANCE not in await read_side.database.list_collection_names()


async def test_a_rebuild_by_several_processes_that_meets_poison_is_done_by_one_and_parks_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "WORTH_IT", 1)
    chance = random.Random(8)
    async with a_shop(settings.postgres_url or "") as shop, a_read_side(settings) as read_side:
        for _ in range(5):
            await shop.some_order(chance)
        poisoned = await shop.place()
        await shop.raw_event(poisoned, 2, "OrderPaid", '{"payment_id": 5}')
        async with projecting(settings):
            await read_side.reached(len(shop.acknowledged) + 1)
            registry = Registry(read_side.database)
            entry = await registry.request_rebuild("member_profile")
            await _rebuilt(registry, "member_profile")
            assert (await registry.entry("member_profile")).comparison == {
                "documents": len(await read_side.documents(entry.active)),
                "different": 0,
                "examples": [],
            }
        parked = [letter for letter in await read_side.dead_letters() if letter["instance"] == entry.building]
        assert [letter["aggregate_id"] for letter in parked] == [poisoned]


async def _expire(read_side: ReadSide) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    await read_side.database[LEASES].update_one({"_id": INSTANCE}, {"$set": {"expires_at": past}})


def _batch_of_one() -> Folded:
    at = datetime.now(UTC)
    return Folded(events=1, recorded=[at], position=1, snapshot=None, as_of=at, writes=[], dead_letters=[])
