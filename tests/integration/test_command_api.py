"""The command API over its ASGI application and a real Postgres."""

import asyncio
from collections import Counter
from typing import Any, ClassVar

import httpx
import pytest

from command.ordering.storage import Orders
from runtime.clock import now
from tests.integration.commanding import PASSWORD, SHIPPING_INFO, Shop, problem, shop

__all__ = ["shop"]


class TestMembers:
    """Sign up, sign in, change the password."""

    SIGN_UP: ClassVar = {"email": "ann@example.com", "name": "Ann", "password": PASSWORD}

    async def signed_in(self, shop: Shop, password: str, email: str = "ann@example.com") -> httpx.Response:
        return await shop.client.post("/token", data={"username": email, "password": password})

    async def test_who_signed_up_can_sign_in_and_order(self, shop: Shop) -> None:
        await shop.product()
        member = (await shop.client.post("/members", json=self.SIGN_UP)).json()

        token = (await self.signed_in(shop, PASSWORD, " ANN@Example.com")).json()

        assert (member["version"], token["token_type"], token["scope"]) == (1, "bearer", "customer")
        order = await shop.order(by={"Authorization": f"Bearer {token['access_token']}"})
        (row,) = await shop.rows("SELECT member_id, orderer_name FROM orders")
        assert (order.status_code, *row) == (201, member["member_id"], "Ann")

    async def test_an_address_belongs_to_one_member_however_it_is_written(self, shop: Shop) -> None:
        await shop.client.post("/members", json=self.SIGN_UP)

        again = await shop.client.post("/members", json=self.SIGN_UP | {"email": "Ann@EXAMPLE.com"})

        assert problem(again) == (409, "email-taken")

    async def test_of_many_who_sign_up_at_once_with_one_address_one_succeeds(self, shop: Shop) -> None:
        answers = await asyncio.gather(*(shop.client.post("/members", json=self.SIGN_UP) for _ in range(5)))

        assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 4}
        assert len(await shop.rows("SELECT 1 FROM outbox")) == 1

    @pytest.mark.parametrize(("email", "password"), [("ann@example.com", "wrong"), ("nobody@example.com", PASSWORD)])
    async def test_a_wrong_sign_in_tells_nothing(self, shop: Shop, email: str, password: str) -> None:
        await shop.client.post("/members", json=self.SIGN_UP)

        answer = await self.signed_in(shop, password, email)

        assert (answer.status_code, answer.json()) == (400, {"error": "invalid_grant"})

    async def test_a_changed_password_replaces_the_old_one(self, shop: Shop) -> None:
        member = (await shop.client.post("/members", json=self.SIGN_UP)).json()
        ann = shop.as_(member["member_id"], "customer")
        change = {"current_password": PASSWORD, "new_password": "battery staple"}

        changed = await shop.post("/members/me/change-password", change, by=ann)
        again = await shop.post("/members/me/change-password", change, by=ann)

        assert (changed.status_code, changed.json()["version"]) == (200, 2)
        assert problem(again) == (422, "wrong-password")
        assert (await self.signed_in(shop, PASSWORD)).status_code == 400
        assert (await self.signed_in(shop, "battery staple")).status_code == 200

    async def test_no_event_holds_a_password_or_its_hash(self, shop: Shop) -> None:
        member = (await shop.client.post("/members", json=self.SIGN_UP)).json()
        change = {"current_password": PASSWORD, "new_password": "battery staple"}
        await shop.post("/members/me/change-password", change, by=shop.as_(member["member_id"], "customer"))

        payloads = [row["payload"] for row in await shop.rows("SELECT payload FROM outbox ORDER BY id")]

        assert payloads == ['{"email":"ann@example.com","name":"Ann"}', "{}"]


class TestCatalog:
    """Products and their stock."""

    async def test_a_product_is_registered_once(self, shop: Shop) -> None:
        assert (await shop.product()).json() == {"product_id": "p-1", "version": 1}
        assert problem(await shop.product()) == (409, "product-already-registered")
        assert await shop.events_of("p-1") == [(1, "ProductRegistered")]

    async def test_orders_keep_the_price_that_they_were_placed_at(self, shop: Shop) -> None:
        await shop.product()
        before = await shop.placed()
        changed = await shop.client.patch("/products/p-1", json={"unit_price": 700}, headers=shop.staff)
        after = await shop.placed()

        prices = await shop.rows("SELECT order_id, unit_price FROM order_lines")

        assert changed.json() == {"product_id": "p-1", "version": 2}
        assert {row["order_id"]: row["unit_price"] for row in prices} == {before: 500, after: 700}

    async def test_stock_never_falls_below_zero(self, shop: Shop) -> None:
        await shop.product()

        refused = await shop.post("/products/p-1/adjust-stock", {"delta": -11, "reason": "broken"}, by=shop.staff)
        allowed = await shop.post("/products/p-1/adjust-stock", {"delta": -10, "reason": "broken"}, by=shop.staff)

        assert (problem(refused), allowed.status_code) == ((409, "insufficient-stock"), 200)
        assert (await shop.available(), await shop.events_of("p-1")) == (
            0,
            [(1, "ProductRegistered"), (2, "StockAdjusted")],
        )

    @pytest.mark.parametrize("path", ["/products/none", "/products/none/adjust-stock"])
    async def test_a_product_that_does_not_exist_is_404(self, shop: Shop, path: str) -> None:
        body = {"delta": 1, "reason": "found"} if path.endswith("stock") else {"name": "New"}
        method = "POST" if path.endswith("stock") else "PATCH"

        answer = await shop.client.request(method, path, json=body, headers=shop.staff)

        assert problem(answer) == (404, "not-found")


class TestOrdering:
    """One order from placing to delivery."""

    async def test_an_order_from_placing_to_delivery(self, shop: Shop) -> None:
        await shop.product()
        placed = await shop.order(("p-1", 2))
        order = f"/orders/{placed.json()['order_id']}"
        steps = [
            await shop.pay(placed.json()["order_id"]),
            await shop.post(f"{order}/change-shipping-info", SHIPPING_INFO),
            await shop.post(f"{order}/ship", {"carrier": "Post", "tracking_number": "T-1"}, by=shop.staff),
            await shop.post(f"{order}/start-delivery", by=shop.staff),
            await shop.post(f"{order}/complete-delivery", by=shop.staff),
        ]

        assert placed.status_code == 201
        assert placed.headers["location"] == order
        assert {name: placed.json()[name] for name in ("status", "version", "currency", "total_amount")} == {
            "status": "PAYMENT_WAITING",
            "version": 1,
            "currency": "USD",
            "total_amount": 1000,
        }
        assert [(step.status_code, step.json()["status"], step.json()["version"]) for step in steps] == [
            (202, "PAYMENT_WAITING", 2),
            (200, "PREPARING", 4),
            (200, "SHIPPED", 5),
            (200, "DELIVERING", 6),
            (200, "DELIVERY_COMPLETED", 7),
        ]
        assert [step.headers["etag"] for step in (placed, *steps)] == ['"1"', '"2"', '"4"', '"5"', '"6"', '"7"']
        assert len({step.headers["consistency-token"] for step in (placed, *steps)}) == 6

    async def test_a_declined_card_leaves_the_order_to_be_paid_again(self, shop: Shop) -> None:
        await shop.product()
        order_id = await shop.placed()

        await shop.pay(order_id, declined=True)
        await shop.pay(order_id)

        assert [event for _, event in await shop.events_of(order_id)] == [
            "OrderPlaced",
            "PaymentRequested",
            "PaymentDeclined",
            "PaymentRequested",
            "OrderPaid",
        ]

    async def test_while_a_payment_is_in_progress_the_order_takes_no_other_change(self, shop: Shop) -> None:
        await shop.product()
        order = f"/orders/{await shop.placed()}"
        await shop.post(f"{order}/pay", {"method": "card"})

        answers = [
            await shop.post(f"{order}/pay", {"method": "card"}),
            await shop.post(f"{order}/change-shipping-info", SHIPPING_INFO),
            await shop.post(f"{order}/ship", {"carrier": "Post", "tracking_number": "T-1"}, by=shop.staff),
            await shop.post(f"{order}/cancel", {"reason": "mistake"}),
        ]

        assert [problem(answer) for answer in answers] == [(409, "payment-in-progress")] * 4

    @pytest.mark.parametrize(
        ("body", "asked"),
        [
            ({"method": "card"}, (0, 500)),
            ({"method": "card", "points": 200}, (200, 300)),
            ({"method": "points"}, (500, 0)),
            ({"method": "points", "points": 200, "card_token": "tok_visa"}, (200, 300)),
        ],
    )
    async def test_points_pay_what_they_are_asked_to_and_the_card_the_rest(
        self, shop: Shop, body: dict[str, Any], asked: tuple[int, int]
    ) -> None:
        await shop.product()
        order_id = await shop.placed()

        answer = await shop.post(f"/orders/{order_id}/pay", body)

        assert answer.status_code == 202
        (row,) = await shop.rows("SELECT payment_points, payment_amount FROM orders WHERE order_id = $1", order_id)
        assert tuple(row) == asked

    async def test_more_points_than_the_order_costs_are_refused(self, shop: Shop) -> None:
        await shop.product()
        order_id = await shop.placed()

        answer = await shop.post(f"/orders/{order_id}/pay", {"method": "points", "points": 501})

        assert problem(answer) == (422, "points-exceed-amount")
        assert await shop.events_of(order_id) == [(1, "OrderPlaced")]

    async def test_canceling_frees_the_stock_and_refunds_what_was_paid(self, shop: Shop) -> None:
        await shop.product()
        order_id = await shop.placed(("p-1", 4))
        await shop.pay(order_id)
        reserved = await shop.available()

        canceled = await shop.post(f"/orders/{order_id}/cancel", {"reason": "mistake"})
        await shop.settled(order_id)

        assert (canceled.status_code, canceled.json()["status"]) == (200, "CANCELED")
        assert (reserved, await shop.available()) == (6, 10)
        assert (await shop.events_of(order_id))[-2:] == [(4, "OrderCanceled"), (5, "RefundCompleted")]

    async def test_broken_rules_are_409_with_their_names(self, shop: Shop) -> None:
        await shop.product()
        order_id = await shop.placed()
        order = f"/orders/{order_id}"
        ship = {"carrier": "Post", "tracking_number": "T-1"}

        not_paid = await shop.post(f"{order}/ship", ship, by=shop.staff)
        await shop.pay(order_id)
        paid_twice = await shop.post(f"{order}/pay", {"method": "card"})
        await shop.post(f"{order}/ship", ship, by=shop.staff)
        too_late = await shop.post(f"{order}/cancel", {"reason": "mistake"})
        moved_too_late = await shop.post(f"{order}/change-shipping-info", SHIPPING_INFO)

        assert [problem(answer) for answer in (not_paid, paid_twice, too_late, moved_too_late)] == [
            (409, "not-paid"),
            (409, "already-paid"),
            (409, "already-shipped"),
            (409, "already-shipped"),
        ]

    async def test_the_order_of_another_customer_does_not_exist(self, shop: Shop) -> None:
        await shop.product()
        order_id = await shop.placed()
        ben = shop.as_("ben", "customer")

        answers = [
            await shop.post(f"/orders/{order_id}/pay", {"method": "card"}, by=ben),
            await shop.post(f"/orders/{order_id}/change-shipping-info", SHIPPING_INFO, by=ben),
            await shop.post(f"/orders/{order_id}/cancel", {"reason": "mine?"}, by=ben),
            await shop.post("/orders/none/cancel", {"reason": "mine?"}, by=ben),
        ]

        assert [problem(answer) for answer in answers] == [(404, "not-found")] * 4
        assert await shop.events_of(order_id) == [(1, "OrderPlaced")]


class TestNothingIsWrittenOnFailure:
    """A command that fails leaves no trace: no row, no event, no change of stock."""

    async def test_when_one_of_two_products_is_short(self, shop: Shop) -> None:
        await shop.product("p-1")
        await shop.product("p-2", stock=1)

        refused = await shop.order(("p-1", 1), ("p-2", 2))

        assert problem(refused) == (409, "insufficient-stock")
        assert "p-2" in refused.json()["detail"]
        await self.assert_untouched(shop, stock={"p-1": 10, "p-2": 1})

    async def test_when_the_lines_of_one_product_are_too_many_together(self, shop: Shop) -> None:
        await shop.product()

        assert problem(await shop.order(("p-1", 6), ("p-1", 5))) == (409, "insufficient-stock")
        await self.assert_untouched(shop, stock={"p-1": 10})

    async def test_when_a_product_is_unknown(self, shop: Shop) -> None:
        await shop.product()

        assert problem(await shop.order(("p-1", 1), ("none", 1))) == (422, "unknown-product")
        await self.assert_untouched(shop, stock={"p-1": 10})

    @pytest.mark.parametrize("quantity", [0, -1, 1_000_001, "2", 1.5, None])
    async def test_when_a_quantity_is_none(self, shop: Shop, quantity: Any) -> None:
        await shop.product()

        assert problem(await shop.order(("p-1", quantity))) == (422, "invalid-input")
        await self.assert_untouched(shop, stock={"p-1": 10})

    async def test_when_a_field_is_unknown(self, shop: Shop) -> None:
        await shop.product()

        assert problem(await shop.order(gift_wrap=True)) == (422, "invalid-input")
        await self.assert_untouched(shop, stock={"p-1": 10})

    async def test_when_the_caller_may_not(self, shop: Shop) -> None:
        await shop.product()

        assert problem(await shop.order(by={})) == (401, "unauthorized")
        assert problem(await shop.order(by=shop.staff)) == (403, "forbidden")
        assert problem(await shop.post("/products/p-1/adjust-stock", {"delta": 1, "reason": "x"})) == (403, "forbidden")
        await self.assert_untouched(shop, stock={"p-1": 10})

    async def assert_untouched(self, shop: Shop, *, stock: dict[str, int]) -> None:
        """Only the products are there, as they were registered."""
        assert await shop.rows("SELECT 1 FROM orders UNION ALL SELECT 1 FROM order_lines") == []
        assert {row["event_type"] for row in await shop.rows("SELECT event_type FROM outbox")} == {"ProductRegistered"}
        assert {product_id: await shop.available(product_id) for product_id in stock} == stock


class TestAtTheSameTime:
    """Commands that meet."""

    async def test_fifty_orders_for_the_last_ten_pieces_sell_exactly_ten(self, shop: Shop) -> None:
        await shop.product(stock=10)

        answers = await asyncio.gather(*(shop.order() for _ in range(50)))

        assert Counter(answer.status_code for answer in answers) == {201: 10, 409: 40}
        assert {problem(answer) for answer in answers if answer.status_code == 409} == {(409, "insufficient-stock")}
        assert await shop.available() == 0
        assert len(await shop.rows("SELECT 1 FROM outbox WHERE event_type = 'OrderPlaced'")) == 10

    async def test_orders_that_name_products_in_opposite_order_do_not_block_each_other(self, shop: Shop) -> None:
        for product_id in ("p-1", "p-2"):
            await shop.product(product_id, stock=1_000)

        answers = await asyncio.gather(
            *(
                shop.order(*((("p-1", 1), ("p-2", 1)) if number % 2 else (("p-2", 1), ("p-1", 1))))
                for number in range(40)
            )
        )

        assert {answer.status_code for answer in answers} == {201}
        assert (await shop.available("p-1"), await shop.available("p-2")) == (960, 960)

    async def test_of_many_payments_of_one_order_one_goes_through(self, shop: Shop) -> None:
        await shop.product()
        order_id = await shop.placed()

        answers = await asyncio.gather(*(shop.post(f"/orders/{order_id}/pay", {"method": "card"}) for _ in range(8)))

        assert Counter(answer.status_code for answer in answers) == {202: 1, 409: 7}
        assert await shop.events_of(order_id) == [(1, "OrderPlaced"), (2, "PaymentRequested")]

    async def test_commands_on_one_order_never_both_win_with_the_same_version(self, shop: Shop) -> None:
        await shop.product()
        order_id = await shop.placed()

        answers = await asyncio.gather(
            *(shop.post(f"/orders/{order_id}/change-shipping-info", SHIPPING_INFO) for _ in range(16))
        )

        won = sorted(answer.json()["version"] for answer in answers if answer.status_code == 200)
        lost = {problem(answer) for answer in answers if answer.status_code != 200}
        assert won == list(range(2, 2 + len(won)))
        assert won
        assert lost <= {(409, "concurrent-update")}
        assert await shop.events_of(order_id) == [
            (1, "OrderPlaced"),
            *((version, "ShippingInfoChanged") for version in won),
        ]

    async def test_shipping_and_canceling_at_once_never_both_happen(self, shop: Shop) -> None:
        await shop.product(stock=1_000)
        ship = {"carrier": "Post", "tracking_number": "T-1"}
        for _ in range(10):
            order_id = await shop.placed()
            await shop.pay(order_id)

            shipped, canceled = await asyncio.gather(
                shop.post(f"/orders/{order_id}/ship", ship, by=shop.staff),
                shop.post(f"/orders/{order_id}/cancel", {"reason": "mistake"}),
            )

            assert sorted((shipped.status_code, canceled.status_code)) == [200, 409]


async def test_a_second_look_within_a_command_does_not_lose_what_was_changed_since_the_first(shop: Shop) -> None:
    await shop.product()
    order_id = await shop.placed()

    async with shop.transaction() as uow:
        order = await uow.repository(Orders).get(order_id)
        order.request_payment("pay-1", method="card", at=now())
        again = await uow.repository(Orders).get(order_id)
        await uow.commit()

    assert again is order
    assert await shop.events_of(order_id) == [(1, "OrderPlaced"), (2, "PaymentRequested")]
