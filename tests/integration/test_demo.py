"""The demo shop: there once, in every status, and only where nothing else is."""

from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from command.bootstrap import before_commit_handlers
from command.catalog import service as catalog
from command.members import service as members
from command.members.passwords import password_fits
from command.ordering.model import OrderStatus, PaymentStatus
from command.unit_of_work import Transactions
from eventstore import Doorbell, EventLog
from readside.demo import MEMBERS, ORDERS, PASSWORD, PRODUCTS, load_demo
from runtime.clock import now
from runtime.postgres import make_engine
from runtime.settings import Settings


async def values(settings: Settings, query: str) -> list[Any]:
    assert settings.postgres_url is not None
    connection = await asyncpg.connect(settings.postgres_url)
    try:
        return [row[0] for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def in_a_transaction(settings: Settings, use_case: Any, *, commit: bool) -> Any:
    assert settings.postgres_url is not None
    engine = make_engine(settings.postgres_url, "test", pool_size=1)
    try:
        transactions = Transactions(engine, before_commit_handlers(), Doorbell(settings.postgres_url))
        async with transactions.begin() as uow:
            found = await use_case(uow)
            if commit:
                await uow.commit()
            return found
    finally:
        await engine.dispose()


async def test_the_demo_shop_has_orders_in_every_status(settings: Settings) -> None:
    assert await load_demo(settings) == ORDERS

    assert len(await values(settings, "SELECT 1 FROM orders")) == ORDERS
    assert set(await values(settings, "SELECT DISTINCT status FROM orders")) == set(OrderStatus)
    assert set(await values(settings, "SELECT DISTINCT payment_status FROM orders")) == {
        None,
        PaymentStatus.APPROVED,
        PaymentStatus.DECLINED,
        PaymentStatus.REFUNDED,
    }
    assert len(await values(settings, "SELECT 1 FROM products")) == len(PRODUCTS)


async def test_everything_happened_in_the_last_two_weeks(settings: Settings) -> None:
    await load_demo(settings)

    at = await values(settings, "SELECT occurred_at FROM outbox")
    assert now() - timedelta(days=14, minutes=1) < min(at)
    assert max(at) < now()


async def test_it_is_the_same_shop_every_time(settings: Settings) -> None:
    await load_demo(settings)

    totals = await values(settings, "SELECT total_amount FROM orders ORDER BY placed_at")
    assert totals[:6] == [1890, 8580, 7820, 990, 18150, 16460]


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
async def test_demo_members_can_sign_in(settings: Settings, member: Any) -> None:
    await load_demo(settings)

    found = await in_a_transaction(settings, lambda uow: members.member_with(uow, email=member.email), commit=False)
    assert found.name == member.name
    assert await password_fits(PASSWORD, found.password_hash)


async def test_nothing_is_loaded_a_second_time(settings: Settings) -> None:
    await load_demo(settings)

    assert await load_demo(settings) == 0
    assert len(await values(settings, "SELECT 1 FROM orders")) == ORDERS


async def test_nothing_is_loaded_where_something_has_happened_that_is_not_in_the_log_yet(settings: Settings) -> None:
    await in_a_transaction(
        settings,
        lambda uow: catalog.register_product(
            uow, "p-1", name="Mug", category="cups", unit_price=500, currency="USD", stock=1
        ),
        commit=True,
    )
    assert settings.postgres_url is not None
    async with EventLog(settings.postgres_url, "test", pool_size=1) as log:
        assert await log.head() == 0

    assert await load_demo(settings) == 0
    assert await values(settings, "SELECT 1 FROM orders") == []
