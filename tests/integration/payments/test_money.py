"""Whatever happens: what the gateway keeps is what the shop has captured and not refunded, and what orders paid."""

import asyncio
import random
from contextlib import suppress

import pytest
from sqlalchemy import text

from command.errors import ConcurrentUpdate, RuleBroken
from command.ordering.model import AlreadyCanceled, PaymentStatus
from events.payments import PaymentFailed
from runtime.settings import Settings
from tests.integration.payments.reacting import REACTIONS, World, a_world

CARDS = (None, "tok_declined", "tok_fail", "tok_fail_2", "tok_lost", "tok_twice", "tok_refund_fail_2", "tok_slow_1")
ROUNDS = 25


async def kept(world: World) -> int:
    """By the gateway's own ledger."""
    return sum(charge["amount"] for charge in await world.charges() if charge["status"] == "captured")


async def counted_on(world: World) -> int:
    """By the shop's tables."""
    async with world.shop.engine.connect() as connection:
        total = await connection.scalar(
            text("SELECT coalesce(sum(amount), 0) FROM payments WHERE status IN ('CAPTURED', 'REFUND_FAILED')")
        )
        return int(total or 0)


async def paid_for(world: World) -> int:
    """By the orders that were paid and not given back."""
    async with world.shop.engine.connect() as connection:
        total = await connection.scalar(
            text("SELECT coalesce(sum(payment_amount), 0) FROM orders WHERE payment_status = 'APPROVED'")
        )
        return int(total or 0)


async def something(world: World, chance: random.Random, orders: list[str]) -> None:
    """One thing that may happen to one order, while some reactions are at work."""
    order_id = chance.choice(orders)
    status = await world.payment_status(order_id)
    with suppress(RuleBroken, ConcurrentUpdate):
        match chance.randrange(4), status:
            case 0 | 1, None | PaymentStatus.DECLINED:
                await _pay(world, chance, orders, order_id)
            case 0, PaymentStatus.APPROVED:
                await world.shop.call_off(order_id)
            case 0, PaymentStatus.REQUESTED:
                await world.expire(order_id)
            case _, PaymentStatus.REFUNDED:
                await _replace(world, orders, order_id)


async def _pay(world: World, chance: random.Random, orders: list[str], order_id: str) -> None:
    try:
        await world.pay(order_id, chance.choice(CARDS))
    except AlreadyCanceled:
        await _replace(world, orders, order_id)


async def _replace(world: World, orders: list[str], order_id: str) -> None:
    if order_id in orders:
        orders.remove(order_id)
        orders.append(await world.order())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_money_adds_up_under_anything(settings: Settings, seed: int) -> None:
    chance = random.Random(seed)
    async with a_world(settings, payment_timeout_seconds=0.5) as world:
        orders = [await world.order() for _ in range(4)]
        for _ in range(ROUNDS):
            working = [world.reacting.run(name) for name in chance.sample(sorted(REACTIONS), 2)]
            happening = [something(world, chance, orders) for _ in range(5)]
            await asyncio.gather(*working, *happening)
        await world.reacting.run()
        for name in REACTIONS:
            await world.reacting.retry(name)
        await world.reacting.run()

        assert await kept(world) == await counted_on(world) == await paid_for(world)
        voided = [one for one in await world.reacting.events() if isinstance(one.event, PaymentFailed)]
        assert {tuple(await world.charged(one.aggregate_id)) for one in voided} <= {(), ("refunded",)}
