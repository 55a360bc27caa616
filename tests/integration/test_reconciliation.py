"""Totals of the orders' tables against totals of the statistics, while both move."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text

from events.ordering import OrderCanceled, OrderPlaced
from eventstore import EventLog
from readside.reconciliation import NotComparable, Total, reconciled
from runtime.postgres import make_engine
from runtime.settings import Settings
from tests.instances import SALES_STATISTICS
from tests.integration.poison import poison
from tests.integration.projecting import ReadSide, Shop, a_read_side, a_shop, projecting

MEASURES = {
    "placed_orders",
    "placed_amount",
    "paid_orders",
    "gross_sales",
    "units",
    "canceled_orders",
    "canceled_amount",
}


@asynccontextmanager
async def reconciling(settings: Settings) -> AsyncIterator[tuple[Shop, ReadSide]]:
    """A shop and its views."""
    async with a_shop(settings.postgres_url or "") as shop, a_read_side(settings) as read_side:
        yield shop, read_side


async def totals_of(settings: Settings, read_side: ReadSide) -> Sequence[Total]:
    """Both sides' totals, of this moment."""
    engine = make_engine(settings.postgres_url or "", "test", pool_size=1)
    try:
        async with EventLog(settings.postgres_url or "", "test", pool_size=1) as event_log:
            return await reconciled(read_side.database, event_log, engine, settings)
    finally:
        await engine.dispose()


async def wrong(settings: Settings, read_side: ReadSide) -> dict[str, int]:
    """What the statistics have too much, by total."""
    return {total.name: total.difference for total in await totals_of(settings, read_side) if total.difference}


async def some_orders(shop: Shop, seed: int, count: int) -> None:
    """Whole lives, one after the other."""
    chance = random.Random(seed)
    for _ in range(count):
        await shop.some_order(chance)


async def test_orders_and_statistics_agree_while_orders_flow(settings: Settings) -> None:
    async with reconciling(settings) as (shop, read_side):
        async with projecting(settings):
            await some_orders(shop, 1, 10)
            await read_side.reached(len(shop.acknowledged))
            flowing = [asyncio.create_task(some_orders(shop, seed, 10)) for seed in (2, 3)]
            try:
                rounds = 0
                while rounds < 5 or not all(task.done() for task in flowing):
                    assert await wrong(settings, read_side) == {}
                    rounds += 1
            finally:
                await asyncio.gather(*flowing)
            await read_side.reached(len(shop.acknowledged))
        # Without a projector: in the outbox, and in no statistics yet.
        await some_orders(shop, 4, 3)
        totals = {total.name: total for total in await totals_of(settings, read_side)}
        assert {name for name in totals if " " not in name} == MEASURES
        assert {name for name, total in totals.items() if total.difference} == set()
        facts = [fact for fact in shop.acknowledged if fact.name == "OrderPlaced"]
        assert totals["placed_orders"].orders == len(facts)
        assert totals["placed_amount by category"].orders == sum(fact.payload["total_amount"] for fact in facts)


async def test_a_difference_on_either_side_is_found(settings: Settings) -> None:
    async with reconciling(settings) as (shop, read_side):
        async with projecting(settings):
            order_id = await shop.place()
            await shop.pay(order_id)
            await read_side.reached(len(shop.acknowledged))
        assert await wrong(settings, read_side) == {}
        async with shop.engine.begin() as connection:
            await connection.execute(text("UPDATE orders SET total_amount = total_amount + 5"))
        # The orders have 5 more than they said in any event.
        expected = {"placed_amount": -5, "gross_sales": -5}
        assert await wrong(settings, read_side) == expected | {f"{name} by category": -5 for name in expected}
        statistics = read_side.database[SALES_STATISTICS]
        await statistics.update_many({"_id": {"$regex": "^month.none"}}, {"$inc": {"units": 3}})
        assert (await wrong(settings, read_side))["units"] == 3


async def test_an_order_without_its_event_is_found(settings: Settings) -> None:
    async with reconciling(settings) as (shop, read_side):
        async with projecting(settings):
            await shop.place()
            await read_side.reached(len(shop.acknowledged))
        await shop.place()
        async with shop.engine.begin() as connection:
            await connection.execute(text("DELETE FROM outbox"))
        assert (await wrong(settings, read_side))["placed_orders"] == -1


async def test_what_is_parked_is_counted_where_it_can_be_folded_and_told_where_not(settings: Settings) -> None:
    async with reconciling(settings) as (shop, read_side):
        bad = await shop.place()
        with pytest.MonkeyPatch.context() as broken:
            poison(broken, "sales_statistics", OrderPlaced, bad)
            async with projecting(settings):
                await shop.pay(bad)
                await read_side.reached(len(shop.acknowledged))
            with pytest.raises(NotComparable, match="no such step"):
                await totals_of(settings, read_side)
        assert await wrong(settings, read_side) == {}


async def test_a_cancelation_of_an_order_that_was_not_paid_counts_on_neither_side(settings: Settings) -> None:
    async with reconciling(settings) as (shop, read_side):
        async with projecting(settings):
            declined, paid = await shop.place(), await shop.place()
            await shop.pay(declined, card_token="tok_declined")
            await shop.pay(paid)
            await shop.cancel(declined)
            await shop.cancel(paid)
            await read_side.reached(len(shop.acknowledged))
        assert await wrong(settings, read_side) == {}
        totals = {total.name: total.orders for total in await totals_of(settings, read_side)}
        assert [totals[name] for name in ("placed_orders", "paid_orders", "canceled_orders")] == [2, 1, 1]
        assert [fact.name for fact in shop.acknowledged].count(OrderCanceled.__name__) == 2
