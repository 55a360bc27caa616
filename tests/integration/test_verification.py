"""Views are verified against their log, and healed, while they are read and written."""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest

from events.ordering import OrderCanceled, OrderPaid, OrderPlaced
from eventstore import EventLog
from projector import verification as verification_module
from projector.dead_letters import DeadLetters
from projector.differences import Difference
from projector.failures import GuardFailed
from projector.folding import Folded
from projector.lease import Lease
from projector.store import ViewStore
from projector.verification import Healed, Verification, VerificationRefusedError, Verified, verification_of
from runtime.clock import now
from runtime.settings import Settings
from tests.instances import MEMBER_PROFILE, ORDER_DETAIL, SALES_STATISTICS, instance
from tests.integration import poison as poisoning
from tests.integration.poison import Log, Views, log, poison, views
from tests.integration.projecting import ReadSide, Shop, a_read_side, a_shop, projecting
from tests.oracle.views import Json, expected_views
from views import all_views

__all__ = ["log", "views"]  # fixtures

Corrupt = Callable[[ReadSide], Awaitable[None]]


def untold(_done: int, _of: int) -> None:
    """Nobody watches."""


@asynccontextmanager
async def a_verification(settings: Settings, read_side: ReadSide, view: str) -> AsyncIterator[Verification]:
    """Of one view, folded up to where it stands."""
    async with EventLog(settings.postgres_url or "", "test", pool_size=2) as event_log:
        with closing(await verification_of(read_side.database, event_log, settings, view)) as verification:
            await verification.fold(untold)
            yield verification


async def verified(settings: Settings, read_side: ReadSide, view: str) -> list[Difference]:
    """What differs in a view."""
    found: list[Difference] = []
    async with a_verification(settings, read_side, view) as verification:
        summary = await verification.compare(found.append, untold)
    assert summary.failures == ()
    assert summary.differences == len(found)
    return found


async def all_verified(settings: Settings, read_side: ReadSide) -> dict[str, list[Difference]]:
    """What differs, by view; views in which nothing does are left out."""
    found = {view: await verified(settings, read_side, view) for view in all_views()}
    return {view: differences for view, differences in found.items() if differences}


async def healed(settings: Settings, read_side: ReadSide, view: str) -> Healed:
    """Compare and heal."""
    async with a_verification(settings, read_side, view) as verification:
        await verification.compare(lambda _: None, untold)
        return await verification.heal(untold)


async def some_orders(shop: Shop, chance: random.Random, count: int) -> None:
    """Whole lives, one after the other."""
    for _ in range(count):
        await shop.some_order(chance)


async def a_document(read_side: ReadSide, instance: str, **wanted: Any) -> Json:
    found = await read_side.database[instance].find_one(wanted, sort=[("_id", 1)])
    assert found is not None
    return found


async def _field(read_side: ReadSide) -> None:
    order = await a_document(read_side, ORDER_DETAIL)
    change = {"lines.0.amount": -1, "status": "LOST", "total_amount": float(order["total_amount"])}
    await read_side.database[ORDER_DETAIL].update_one({"_id": order["_id"]}, {"$set": change})


async def _missing(read_side: ReadSide) -> None:
    order = await a_document(read_side, ORDER_DETAIL)
    await read_side.database[ORDER_DETAIL].delete_one({"_id": order["_id"]})


async def _extra(read_side: ReadSide) -> None:
    order = await a_document(read_side, ORDER_DETAIL)
    await read_side.database[ORDER_DETAIL].insert_many([order | {"_id": "nobody's"}, order | {"_id": 7}])


async def _counter(read_side: ReadSide) -> None:
    await read_side.database[SALES_STATISTICS].update_one({"_id": {"$regex": "^day.none"}}, {"$inc": {"units": 1}})


async def _counters_gone(read_side: ReadSide) -> None:
    await read_side.database[SALES_STATISTICS].delete_many({"_id": {"$regex": "^hour"}})


async def _shared(read_side: ReadSide) -> None:
    await read_side.database[MEMBER_PROFILE].update_many({}, {"$set": {"lifetime_value": -5, "nickname": "x"}})


async def _missing_and_extra(read_side: ReadSide) -> None:
    await _missing(read_side)
    await _extra(read_side)


CORRUPTIONS: dict[str, dict[str, tuple[Corrupt, set[str]]]] = {
    "values": {
        "order_detail": (_field, {"different"}),
        "sales_statistics": (_counter, {"different"}),
        "member_profile": (_shared, {"different"}),
    },
    "documents": {
        "order_detail": (_missing_and_extra, {"missing", "extra"}),
        "sales_statistics": (_counters_gone, {"missing"}),
    },
}
"""What a hand may do, by view; and what then differs."""


@pytest.mark.parametrize("corruption", CORRUPTIONS)
async def test_what_a_hand_has_changed_is_found_and_healed(settings: Settings, corruption: str) -> None:
    async with a_shop(settings.postgres_url or "") as shop, a_read_side(settings) as read_side:
        async with projecting(settings):
            await some_orders(shop, random.Random(3), 8)
            await read_side.reached(len(shop.acknowledged))
            assert await all_verified(settings, read_side) == {}
            for corrupt, _ in CORRUPTIONS[corruption].values():
                await corrupt(read_side)
            found = await all_verified(settings, read_side)
            kinds = {view: {one.kind for one in differences} for view, differences in found.items()}
            assert kinds == {view: expected for view, (_, expected) in CORRUPTIONS[corruption].items()}
            for view in found:
                assert await healed(settings, read_side, view) == Healed(documents=len(found[view]), left=0)
            assert await all_verified(settings, read_side) == {}
            # The owner goes on from what is right now, not from what it remembers.
            await some_orders(shop, random.Random(4), 3)
            await read_side.reached(len(shop.acknowledged))
        assert await read_side.views() == expected_views(shop.acknowledged)


async def test_the_fields_that_differ_are_named(settings: Settings) -> None:
    async with a_shop(settings.postgres_url or "") as shop, a_read_side(settings) as read_side:
        async with projecting(settings):
            order_id = await shop.place()
            await read_side.reached(len(shop.acknowledged))
        await _field(read_side)
        [found] = await verified(settings, read_side, "order_detail")
        assert found.key == order_id
        assert set(found.paths) == {"lines[0].amount", "status", "total_amount"}


async def test_nothing_seems_to_differ_while_orders_flow(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification_module, "_PAGE", 7)
    async with a_shop(settings.postgres_url or "") as shop, a_read_side(settings) as read_side:
        async with projecting(settings):
            await some_orders(shop, random.Random(5), 10)
            await read_side.reached(len(shop.acknowledged))
            flowing = [asyncio.create_task(_flow(shop, random.Random(seed))) for seed in range(3)]
            try:
                rounds = 0
                while rounds < 3 or not all(task.done() for task in flowing):
                    assert await all_verified(settings, read_side) == {}
                    rounds += 1
            finally:
                await asyncio.gather(*flowing)
            await read_side.reached(len(shop.acknowledged))
        assert await read_side.views() == expected_views(shop.acknowledged)


async def test_healing_while_orders_flow_leaves_every_view_exact(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification_module, "_HEALED_AT_A_TIME", 2)
    async with a_shop(settings.postgres_url or "") as shop, a_read_side(settings) as read_side:
        async with projecting(settings):
            await some_orders(shop, random.Random(6), 10)
            await read_side.reached(len(shop.acknowledged))
            flowing = [asyncio.create_task(_flow(shop, random.Random(seed))) for seed in range(3)]
            try:
                for view, corrupt in (("order_detail", _field), ("sales_statistics", _counter)) * 3:
                    await corrupt(read_side)
                    assert (await healed(settings, read_side, view)).left == 0
                await _shared(read_side)
                assert (await healed(settings, read_side, "member_profile")).left == 0
            finally:
                await asyncio.gather(*flowing)
            await read_side.reached(len(shop.acknowledged))
            assert await all_verified(settings, read_side) == {}
        assert await read_side.views() == expected_views(shop.acknowledged)


async def test_a_batch_that_was_folded_on_what_was_wrong_is_not_written_after_healing(settings: Settings) -> None:
    async with a_shop(settings.postgres_url or "") as shop, a_read_side(settings) as read_side:
        async with projecting(settings):
            await shop.place()
            await read_side.reached(len(shop.acknowledged))
        database, instance = read_side.database, ORDER_DETAIL
        lease = Lease(database, instance)
        assert await lease.acquire()
        with ThreadPoolExecutor(1) as threads:
            store = ViewStore(database, all_views()["order_detail"], instance, threads)
            checkpoint = await store.prepare(lease.epoch)
            await _field(read_side)
            assert await healed(settings, read_side, "order_detail") == Healed(documents=1, left=0)
            at = now()
            batch = Folded(
                events=1,
                recorded=[at],
                position=checkpoint.position + 1,
                snapshot=None,
                as_of=at,
                writes=[],
                dead_letters=[],
            )
            with pytest.raises(GuardFailed):
                await store.write(batch, checkpoint, 0)


async def _flow(shop: Shop, chance: random.Random) -> None:
    for _ in range(12):
        await shop.some_order(chance)


async def test_what_is_parked_or_discarded_is_no_difference_and_its_mark_survives_healing(
    settings: Settings, log: Log, views: Views
) -> None:
    read_side = ReadSide(views.database)
    given_up, waiting = await log.place("p-1", "p-2"), await log.place("p-1")
    with pytest.MonkeyPatch.context() as broken:
        for view in poisoning.VIEWS:
            poison(broken, view, OrderPlaced, given_up)
            poison(broken, view, OrderCanceled, waiting)
        async with poisoning.projecting(settings):
            await log.place("p-2")
            await log.pay(waiting)
            await log.cancel(waiting)
            await views.reached(log.count)
            for view in poisoning.VIEWS:
                await _give_up(views, view, given_up)
            assert await all_verified(settings, read_side) == {}
            before = await views.documents()
            # Counters are of many aggregates, and bear no mark.
            marked = {view for view, held in before.items() if any("_parked" in one for one in held.values())}
            assert marked == poisoning.VIEWS.keys() - {"sales_statistics"}
            for view, documents in before.items():
                await views.database[instance(view)].update_many({}, {"$set": {"units": 12345, "version": -1}})
                assert await healed(settings, read_side, view) == Healed(documents=len(documents), left=0)
            assert await views.documents() == before


async def _give_up(views: Views, view: str, aggregate_id: str) -> None:
    for letter in await views.ids(view):
        if (await views.letters.show(letter))["aggregate_id"] == aggregate_id:
            asked = await views.letters.ask_discard(letter, "ann", "sent twice")
            assert (await views.letters.outcome(letter, asked[letter], 60.0))["state"] == "discarded"


async def test_a_letter_that_succeeds_while_a_view_is_verified_is_folded_late(
    settings: Settings, log: Log, views: Views
) -> None:
    read_side = ReadSide(views.database)
    bad = await log.place("p-1")
    async with poisoning.projecting(settings):
        with pytest.MonkeyPatch.context() as broken:
            poison(broken, "order_detail", OrderPaid, bad)
            await log.pay(bad)
            await log.cancel(bad)
            await views.reached(log.count)
        found: list[Difference] = []
        async with a_verification(settings, read_side, "order_detail") as verification:
            letters = DeadLetters(views.database)
            asked = await letters.ask_retry(None, "ann")
            for letter, request in asked.items():
                assert (await letters.outcome(letter, request, 60.0))["state"] == "resolved"
            await verification.compare(found.append, untold)
        assert found == []


async def test_an_event_that_is_not_folded_any_more_is_told_and_nothing_is_healed(
    settings: Settings, log: Log, views: Views, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_side = ReadSide(views.database)
    order_id = await log.place("p-1")
    async with poisoning.projecting(settings):
        await log.pay(order_id)
        await views.reached(log.count)
    poison(monkeypatch, "order_detail", OrderPaid, order_id)
    async with a_verification(settings, read_side, "order_detail") as verification:
        summary = await verification.compare(lambda _: None, untold)
        assert summary == Verified(
            instance=ORDER_DETAIL,
            position=log.count,
            documents=1,
            differences=1,
            failures=(f"OrderPaid at {log.count}: ValueError: no such step",),
        )
        with pytest.raises(VerificationRefusedError):
            await verification.heal(untold)


async def test_an_older_version_that_is_still_served_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_shop(settings.postgres_url or "") as shop, a_read_side(settings) as read_side:
        async with projecting(settings):
            await read_side.reached(len(shop.acknowledged))
        monkeypatch.setattr(all_views()["order_detail"], "version", 1_000)
        with pytest.raises(VerificationRefusedError, match=rf"{re.escape(ORDER_DETAIL)} is served"):
            await verified(settings, read_side, "order_detail")
