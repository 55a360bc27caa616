"""Coupons that many want at once: no more issued than there are, none used twice, and nobody waits in a circle."""

import asyncio
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import TimeoutError as PoolExhausted

from command.bootstrap import before_commit_handlers
from command.coupons import service
from command.errors import CommandRefused
from command.ordering.model import OrderStatus
from command.ordering.storage import Orders
from command.steps import Steps
from command.unit_of_work import Transactions, UnitOfWork
from events.reaction import NotNow
from eventstore import Doorbell
from runtime.clock import now
from runtime.postgres import make_engine
from tests.integration.commanding import Shop, problem, shop
from tests.integration.test_coupons import claimed, define, placed, told
from tests.settling import settle

__all__ = ["shop"]

Outcomes = Counter[str]


@pytest.fixture
async def transactions(postgres_url: str) -> AsyncIterator[Transactions]:
    """The write side without HTTP, as a process with as many connections as the command API has."""
    engine = make_engine(postgres_url, "crowd", pool_size=16)
    yield Transactions(engine, before_commit_handlers(), Doorbell(postgres_url))
    await engine.dispose()


@contextmanager
def statements() -> Iterator[list[str]]:
    """Every statement that is sent meanwhile."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", note)


@contextmanager
def driver_errors() -> Iterator[list[str]]:
    """What the database says meanwhile that is not to be heard: a deadlock is retried, and would go unnoticed."""
    heard: list[str] = []

    def note(context: ExceptionContext) -> None:
        heard.append(str(context.original_exception))

    event.listen(Engine, "handle_error", note)
    try:
        yield heard
    finally:
        event.remove(Engine, "handle_error", note)


async def crowd(runs: int, at_once: int, run: Callable[[int], Awaitable[object]]) -> Outcomes:
    """So many runs, so many of them at the same time, and how they ended."""
    outcomes: Outcomes = Counter()
    numbers = iter(range(runs))

    async def worker() -> None:
        for number in numbers:
            outcomes[await outcome_of(number)] += 1

    async def outcome_of(number: int) -> str:
        while True:
            try:
                await run(number)
                return "done"
            except CommandRefused as refusal:
                return type(refusal).__name__
            except (PoolExhausted, TimeoutError):
                continue  # on a loaded machine: a caller is told 503, and comes again

    await asyncio.gather(*(worker() for _ in range(at_once)))
    return outcomes


def claiming(transactions: Transactions, *, each: int = 1) -> Callable[[int], Awaitable[None]]:
    """The use case, once; every member asks so many times in a row."""

    async def claim(number: int) -> None:
        async with transactions.begin() as uow:
            await service.claim_coupon(uow, "TEN", member_id=f"m-{number // each}")
            await uow.commit()

    return claim


class TestTheLastHundred:
    """Ten thousand want one."""

    async def test_ten_thousand_requests_issue_exactly_a_hundred(self, shop: Shop, transactions: Transactions) -> None:
        await define(shop, total_limit=100)

        with driver_errors() as heard:
            outcomes = await crowd(10_000, 200, claiming(transactions))

        assert outcomes == {"done": 100, "CouponSoldOut": 9_900}
        assert heard == []
        await self.assert_issued(shop, 100)

    async def test_of_members_who_ask_again_and_again_nobody_gets_two(
        self, shop: Shop, transactions: Transactions
    ) -> None:
        await define(shop, total_limit=100, per_member_limit=1)

        with driver_errors() as heard:
            outcomes = await crowd(10_000, 200, claiming(transactions, each=50))

        assert outcomes["done"] == 100
        assert outcomes.keys() == {"done", "CouponSoldOut", "CouponLimitReached"}
        assert heard == []
        await self.assert_issued(shop, 100)
        assert len(await shop.rows("SELECT DISTINCT member_id FROM issued_coupons")) == 100

    async def test_hundreds_of_calls_issue_exactly_a_hundred(self, shop: Shop) -> None:
        await define(shop, total_limit=100)

        answers = await asyncio.gather(
            *(shop.post("/coupons/TEN/claim", by=shop.as_(f"m-{number}", "customer")) for number in range(400))
        )

        assert Counter(answer.status_code for answer in answers) == {201: 100, 409: 300}
        assert {problem(answer) for answer in answers if answer.status_code == 409} == {(409, "coupon-sold-out")}
        await self.assert_issued(shop, 100)

    async def test_one_member_at_many_doors_gets_no_more_than_one_member_gets(self, shop: Shop) -> None:
        await define(shop, per_member_limit=3)

        answers = await asyncio.gather(*(shop.post("/coupons/TEN/claim") for _ in range(40)))

        assert Counter(answer.status_code for answer in answers) == {201: 3, 409: 37}
        assert len(await shop.rows("SELECT 1 FROM issued_coupons")) == 3

    async def assert_issued(self, shop: Shop, count: int) -> None:
        """So many coupons, each with its event, and none left."""
        assert len(await shop.rows("SELECT 1 FROM issued_coupons")) == count
        assert len(await shop.rows("SELECT 1 FROM outbox WHERE event_type = 'CouponIssued'")) == count
        assert [row["remaining"] for row in await shop.rows("SELECT remaining FROM coupons_left")] == [0]


class TestOrders:
    """Orders that meet over a coupon."""

    async def test_of_many_orders_with_one_coupon_one_is_placed(self, shop: Shop) -> None:
        await shop.product(stock=100)
        await define(shop)
        coupon_id = await claimed(shop)

        answers = await asyncio.gather(*(shop.order(coupon_code="TEN") for _ in range(20)))

        assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 19}
        assert {problem(answer) for answer in answers if answer.status_code == 409} == {(409, "coupon-already-used")}
        assert await told(shop, coupon_id) == ["CouponIssued", "CouponUsed"]
        assert await shop.available() == 99

    async def test_as_many_orders_are_placed_as_there_are_coupons(self, shop: Shop) -> None:
        await shop.product(stock=100)
        await define(shop)
        for _ in range(5):
            await claimed(shop)

        answers = await asyncio.gather(*(shop.order(coupon_code="TEN") for _ in range(20)))

        assert Counter(answer.status_code for answer in answers) == {201: 5, 409: 15}
        used = await shop.rows("SELECT DISTINCT coupon_id FROM coupon_uses")
        assert len(used) == 5

    async def test_of_a_payment_and_another_order_one_gets_the_coupon(self, shop: Shop) -> None:
        await shop.product(stock=1_000)
        await define(shop)
        for _ in range(10):
            coupon_id = await claimed(shop)
            first = await placed(shop)
            await shop.pay(first, declined=True)

            paid, another = await asyncio.gather(
                shop.post(f"/orders/{first}/pay", {"method": "card"}), shop.order(coupon_code="TEN")
            )

            assert sorted((paid.status_code < 300, another.status_code < 300)) == [False, True]
            refused = problem(paid if paid.status_code == 409 else another)
            assert refused in {(409, "coupon-not-available"), (409, "coupon-already-used")}
            assert await told(shop, coupon_id) == ["CouponIssued", "CouponUsed", "CouponReturned", "CouponUsed"]

    async def test_a_customer_who_cancels_while_the_payment_expires_has_the_coupon_back_once(
        self, shop: Shop, transactions: Transactions
    ) -> None:
        await shop.product(stock=1_000)
        await define(shop)
        coupon_id = await claimed(shop)
        steps = Steps(transactions)
        for round_ in range(1, 11):
            order_id = await placed(shop)

            await asyncio.gather(
                shop.post(f"/orders/{order_id}/cancel", {"reason": "mistake"}), steps.take(None, expiring(order_id))
            )

            assert await told(shop, coupon_id) == ["CouponIssued", *["CouponUsed", "CouponReturned"] * round_]


def expiring(order_id: str) -> Callable[[UnitOfWork], Awaitable[None]]:
    """As the scheduled job does it."""

    async def expire(uow: UnitOfWork) -> None:
        order = await uow.repository(Orders).get(order_id)
        if order.status is OrderStatus.PAYMENT_WAITING:
            order.expire(at=now())

    return expire


def answering(order_id: str, *, declined: bool) -> Callable[[UnitOfWork], Awaitable[None]]:
    """As the reactions do it."""

    async def answer(uow: UnitOfWork) -> None:
        if (await uow.repository(Orders).get(order_id)).is_paying:
            await settle(uow, order_id, declined=declined)

    return answer


class Trade:
    """Customers with few coupons, and few products, who place, pay and cancel, and a daemon that answers them."""

    def __init__(self, shop: Shop, steps: Steps, seed: int) -> None:
        self.shop, self.steps, self.chance = shop, steps, random.Random(seed)
        self.orders: list[str] = []
        self.refused: Counter[str] = Counter()

    async def anything(self, _: int) -> None:
        """One step of somebody's."""
        step = self.chance.choice([self.place, self.place, self.pay, self.pay, self.cancel, self.answer, self.expire])
        await step()

    async def place(self) -> None:
        products = ["p-1", "p-2", "p-3"]
        self.chance.shuffle(products)
        answer = await self.shop.order(*((product, 1) for product in products), coupon_code="TEN")
        if answer.status_code == 201:
            self.orders.append(answer.json()["order_id"])
        else:
            self.refused[problem(answer)[1]] += 1

    async def pay(self) -> None:
        await self._command("pay", {"method": "card"})

    async def cancel(self) -> None:
        await self._command("cancel", {"reason": "mistake"})

    async def _command(self, name: str, body: dict[str, str]) -> None:
        if self.orders:
            answer = await self.shop.post(f"/orders/{self.chance.choice(self.orders)}/{name}", body)
            if answer.status_code >= 400:
                self.refused[problem(answer)[1]] += 1

    async def answer(self) -> None:
        if self.orders:
            declined = self.chance.random() < 0.7
            await self._step(answering(self.chance.choice(self.orders), declined=declined))

    async def expire(self) -> None:
        if self.orders:
            await self._step(expiring(self.chance.choice(self.orders)))

    async def _step(self, use_case: Callable[[UnitOfWork], Awaitable[None]]) -> None:
        try:
            await self.steps.take(None, use_case)
        except NotNow:
            # The daemon would come back later; here somebody else does something.
            self.refused["lost every race"] += 1


async def test_nobody_waits_in_a_circle_and_every_coupon_is_where_its_order_says(
    shop: Shop, transactions: Transactions
) -> None:
    for product_id in ("p-1", "p-2", "p-3"):
        await shop.product(product_id, stock=1_000)
    await define(shop)
    for _ in range(3):
        await claimed(shop)
    trade = Trade(shop, Steps(transactions), seed=7)

    with driver_errors() as heard:
        await crowd(1_000, 24, trade.anything)

    assert heard == []
    assert trade.refused.keys() <= {
        "coupon-already-used",
        "coupon-not-available",
        "already-canceled",
        "already-paid",
        "payment-in-progress",
        "concurrent-update",
        "lost every race",
    }
    await assert_all_adds_up(shop)


async def assert_all_adds_up(shop: Shop) -> None:
    """Each coupon is used by the order that says so, and stock by the orders that are not canceled."""
    orders = await shop.rows("SELECT order_id, status, payment_status, coupon_id FROM orders")
    holders = {
        row["order_id"]: row["coupon_id"]
        for row in orders
        if row["status"] != "CANCELED" and row["payment_status"] != "DECLINED"
    }
    held = await shop.rows("SELECT order_id, coupon_id FROM issued_coupons WHERE order_id IS NOT NULL")
    assert {row["order_id"]: row["coupon_id"] for row in held} == holders
    assert len(held) == len(holders)
    lives = Counter(row["event_type"] for row in await shop.rows("SELECT event_type FROM outbox"))
    assert lives["CouponUsed"] - lives["CouponReturned"] == len(holders)
    assert lives["CouponUsed"] > 10
    living = sum(row["status"] != "CANCELED" for row in orders)
    assert {await shop.available(product_id) for product_id in ("p-1", "p-2", "p-3")} == {1_000 - living}


async def test_an_order_without_a_coupon_costs_the_coupons_context_no_statement(shop: Shop) -> None:
    await shop.product()

    with statements() as sent:
        order_id = await shop.placed()
        await shop.pay(order_id, declined=True)
        await shop.pay(order_id)
        await shop.post(f"/orders/{order_id}/cancel", {"reason": "mistake"})

    assert len(sent) > 10
    assert [
        statement for statement in sent if re.search(r"\b(issued_coupons|coupon_uses|coupons\w*)\b", statement)
    ] == []
