"""Events within the process: handlers run in the transaction of what they answer; nothing leaks between requests."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from command.catalog import handlers as catalog_handlers
from command.ordering.storage import Orders
from command.unit_of_work import Handlers, UnitOfWork
from events.ordering import OrderPlaced, ShippingInfoChanged
from eventstore import PendingEvent
from runtime.clock import now
from tests.builders import SHIPPING_INFO
from tests.integration.commanding import SHIPPING_INFO as SHIPPING_BODY
from tests.integration.commanding import Shop, shop

__all__ = ["shop"]

REQUESTS = 300


async def test_of_hundreds_of_requests_at_once_each_commits_its_own_events_and_no_others(shop: Shop) -> None:
    products = [f"p-{number}" for number in range(5)]
    for product_id in products:
        await shop.product(product_id, stock=REQUESTS)

    async def place(number: int) -> tuple[str, str, str]:
        request_id, buyer = str(uuid4()), f"buyer-{number}"
        body = {
            "lines": [{"product_id": products[number % 5], "quantity": 1}],
            "shipping_info": SHIPPING_BODY | {"message": request_id},
        }
        headers = shop.as_(buyer, "customer") | {"X-Request-Id": request_id}
        answer = await shop.client.post("/orders", json=body, headers=headers)
        assert answer.status_code == 201, answer.text
        return answer.json()["order_id"], request_id, buyer

    placed = await asyncio.gather(*(place(number) for number in range(REQUESTS)))

    rows = await shop.rows(
        """SELECT aggregate_id, correlation_id, payload::json -> 'orderer' ->> 'member_id' AS buyer,
                  payload::json -> 'shipping_info' ->> 'message' AS message
             FROM outbox WHERE event_type = 'OrderPlaced'"""
    )
    found = {row["aggregate_id"]: (row["correlation_id"], row["message"], row["buyer"]) for row in rows}
    assert len(rows) == REQUESTS
    assert found == {order_id: (request_id, request_id, buyer) for order_id, request_id, buyer in placed}
    assert [await shop.available(product_id) for product_id in products] == [REQUESTS - REQUESTS // 5] * 5


async def test_handlers_of_one_event_run_in_their_order_and_their_events_in_the_same_transaction(shop: Shop) -> None:
    await shop.product()
    order_id = await shop.placed()
    ran: list[str] = []

    async def first(_: PendingEvent, uow: UnitOfWork) -> None:
        ran.append("first")
        (await uow.repository(Orders).get(order_id)).request_payment("pay-1", method="card", at=now())

    async def second(_: PendingEvent, __: UnitOfWork) -> None:
        ran.append("second")

    handlers = Handlers()
    handlers.before_commit(ShippingInfoChanged, first)
    handlers.before_commit(ShippingInfoChanged, second)
    async with shop.transaction(handlers) as uow:
        (await uow.repository(Orders).get(order_id)).change_shipping_info(SHIPPING_INFO, at=now())
        await uow.commit()

    assert ran == ["first", "second"]
    rows: Any = await shop.rows(
        "SELECT event_type, transaction_id::text FROM outbox WHERE aggregate_version > 1 ORDER BY id"
    )
    assert [row["event_type"] for row in rows] == ["ShippingInfoChanged", "PaymentRequested"]
    assert len({row["transaction_id"] for row in rows}) == 1


async def test_a_handler_that_fails_undoes_what_the_command_and_the_handlers_before_it_did(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.product()
    before = await shop.rows("SELECT id FROM outbox")

    async def fail(_: PendingEvent, __: UnitOfWork) -> None:
        raise OSError("this handler is broken")

    handlers = Handlers()
    catalog_handlers.subscribe(handlers)
    handlers.before_commit(OrderPlaced, fail)
    monkeypatch.setattr(shop.write_side.transactions.handlers, "_by_type", handlers._by_type)

    with pytest.raises(OSError, match="broken"):
        await shop.order()

    assert await shop.rows("SELECT order_id FROM orders") == []
    assert (await shop.available(), await shop.rows("SELECT id FROM outbox")) == (10, before)
