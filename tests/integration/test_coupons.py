"""Coupons through the command API and a real Postgres: defined, issued, claimed, used by orders, given back."""

import json
from typing import Any

import httpx
import pytest

from command.ordering.storage import Orders
from runtime.clock import now
from tests.integration.commanding import Shop, problem, shop

__all__ = ["shop"]

TERMS = {"name": "Ten percent off", "kind": "percent", "value": 10, "valid_until": "2999-01-01T00:00:00Z"}
PAST = {"valid_from": "2020-01-01T00:00:00Z", "valid_until": "2020-02-01T00:00:00Z"}


async def define(shop: Shop, code: str = "TEN", **fields: Any) -> httpx.Response:
    """Ten percent off, for whoever claims it, unless told otherwise."""
    return await shop.post("/coupons", {"coupon_code": code, "is_claimable": True, **TERMS, **fields}, by=shop.staff)


async def claimed(shop: Shop, code: str = "TEN") -> str:
    """The id of a coupon that Ann claimed just now."""
    answer = await shop.post(f"/coupons/{code}/claim")
    assert answer.status_code == 201, answer.text
    coupon_id: str = answer.json()["coupon_id"]
    return coupon_id


async def placed(shop: Shop, code: str = "TEN", *, pieces: int = 1) -> str:
    """The id of an order that Ann placed with a coupon."""
    answer = await shop.order(("p-1", pieces), coupon_code=code)
    assert answer.status_code == 201, answer.text
    order_id: str = answer.json()["order_id"]
    return order_id


async def told(shop: Shop, aggregate_id: str) -> list[str]:
    """The types of its events."""
    return [event_type for _, event_type in await shop.events_of(aggregate_id)]


async def payload(shop: Shop, event_type: str) -> dict[str, Any]:
    """Of the last event of this type."""
    rows = await shop.rows("SELECT payload FROM outbox WHERE event_type = $1 ORDER BY id", event_type)
    found: dict[str, Any] = json.loads(rows[-1]["payload"])
    return found


class TestDefining:
    """What staff enter."""

    async def test_a_code_is_defined_once(self, shop: Shop) -> None:
        first, again = await define(shop), await define(shop, name="Another")

        assert (first.status_code, first.json()) == (201, {"coupon_code": "TEN", "version": 1})
        assert first.headers["location"] == "/coupons/TEN"
        assert problem(again) == (409, "coupon-already-defined")
        assert await told(shop, "TEN") == ["CouponDefined"]

    async def test_what_was_defined_is_told_whole(self, shop: Shop) -> None:
        await define(shop, total_limit=5, valid_from="2026-01-01T09:00:00+09:00")

        assert await payload(shop, "CouponDefined") == {
            "name": "Ten percent off",
            "kind": "percent",
            "value": 10,
            "currency": "USD",
            "minimum_amount": 0,
            "valid_from": "2026-01-01T00:00:00Z",
            "valid_until": "2999-01-01T00:00:00Z",
            "total_limit": 5,
            "per_member_limit": None,
            "is_claimable": True,
        }

    @pytest.mark.parametrize(
        "wrong",
        [
            {"value": 101},
            {"value": 0},
            {"kind": "gift"},
            {"valid_until": "tomorrow"},
            {"valid_until": 4102444800},
            {"valid_until": "4102444800"},
            {"valid_until": None},
            {"total_limit": 0},
            {"minimum_amount": -1},
            {"coupon_code": "a/b"},
        ],
    )
    async def test_what_makes_no_sense_is_refused(self, shop: Shop, wrong: dict[str, Any]) -> None:
        assert problem(await define(shop, **{"code": "TEN"} | wrong)) == (422, "invalid-input")

    async def test_a_coupon_that_ends_before_it_begins_is_refused(self, shop: Shop) -> None:
        ends = await define(shop, valid_from="2999-01-01T00:00:00Z")

        assert problem(ends) == (422, "ends-before-it-begins")

    async def test_an_amount_may_be_more_than_a_hundred(self, shop: Shop) -> None:
        assert (await define(shop, kind="amount", value=101)).status_code == 201


class TestIssuing:
    """How members come by coupons."""

    async def test_staff_give_and_members_take(self, shop: Shop) -> None:
        await define(shop)
        given = await shop.post("/coupons/TEN/issue", {"member_id": "ben"}, by=shop.staff)
        taken = await shop.post("/coupons/TEN/claim")

        rows = await shop.rows("SELECT coupon_id, member_id FROM issued_coupons ORDER BY coupon_id")
        for answer, row in zip((given, taken), rows, strict=True):
            coupon_id = row["coupon_id"]
            assert (answer.status_code, answer.headers["etag"]) == (201, '"1"')
            assert answer.json() == {"coupon_id": coupon_id, "coupon_code": "TEN", "version": 1}
            assert await told(shop, coupon_id) == ["CouponIssued"]
        assert [row["member_id"] for row in rows] == ["ben", "ann"]

    async def test_issuing_does_not_touch_the_definition(self, shop: Shop) -> None:
        await define(shop, total_limit=5)
        await claimed(shop)

        assert await told(shop, "TEN") == ["CouponDefined"]

    async def test_what_is_not_claimable_cannot_be_told_from_what_does_not_exist(self, shop: Shop) -> None:
        await define(shop, is_claimable=False)

        answers = [await shop.post(f"/coupons/{code}/claim") for code in ("TEN", "NONE")]
        unknown = await shop.post("/coupons/NONE/issue", {"member_id": "ben"}, by=shop.staff)

        assert answers[0].json() == answers[1].json()
        assert problem(answers[0]) == problem(unknown) == (404, "not-found")

    async def test_an_expired_coupon_is_not_issued(self, shop: Shop) -> None:
        await define(shop, **PAST)

        assert problem(await shop.post("/coupons/TEN/claim")) == (409, "coupon-expired")

    async def test_the_limits_hold(self, shop: Shop) -> None:
        await define(shop, total_limit=3, per_member_limit=2)
        await claimed(shop)
        await claimed(shop)

        third = await shop.post("/coupons/TEN/claim")
        bens = await shop.post("/coupons/TEN/issue", {"member_id": "ben"}, by=shop.staff)
        bens_second = await shop.post("/coupons/TEN/issue", {"member_id": "ben"}, by=shop.staff)

        assert problem(third) == (409, "coupon-limit-reached")
        assert bens.status_code == 201
        assert problem(bens_second) == (409, "coupon-sold-out")
        assert len(await shop.rows("SELECT 1 FROM issued_coupons")) == 3


class TestUsing:
    """An order and its coupon."""

    @pytest.mark.parametrize(
        ("terms", "discount"),
        [
            ({"value": 10}, 100),
            ({"value": 33}, 330),
            ({"value": 100}, 1000),
            ({"kind": "amount", "value": 300}, 300),
            ({"kind": "amount", "value": 5000}, 1000),
            ({"minimum_amount": 1000}, 100),
        ],
    )
    async def test_it_takes_off_what_it_is_worth(self, shop: Shop, terms: dict[str, Any], discount: int) -> None:
        await shop.product()
        await define(shop, **terms)
        coupon_id = await claimed(shop)

        order = await shop.order(("p-1", 2), coupon_code="TEN")

        assert (order.json()["total_amount"], order.json()["discount_amount"]) == (1000, discount)
        coupon = {"coupon_id": coupon_id, "coupon_code": "TEN"}
        assert (await payload(shop, "OrderPlaced"))["coupon"] == coupon
        assert await payload(shop, "CouponUsed") == {
            "coupon_code": "TEN",
            "member_id": "ann",
            "order_id": order.json()["order_id"],
            "discount_amount": discount,
        }
        paid = await shop.post(f"/orders/{order.json()['order_id']}/pay", {"method": "card"})
        assert paid.status_code == 202
        asked = await payload(shop, "PaymentRequested")
        assert (asked["amount"], asked["coupon"]) == (1000 - discount, coupon)

    async def test_percents_are_rounded_down(self, shop: Shop) -> None:
        await shop.product(unit_price=99)
        await define(shop, value=15)
        await claimed(shop)

        assert (await shop.order(coupon_code="TEN")).json()["discount_amount"] == 14

    @pytest.mark.parametrize(
        ("terms", "refusal"),
        [
            ({"minimum_amount": 501}, "coupon-not-applicable"),
            ({"valid_from": "2998-01-01T00:00:00Z"}, "coupon-not-applicable"),
        ],
    )
    async def test_an_order_that_it_is_not_for_is_refused(
        self, shop: Shop, terms: dict[str, Any], refusal: str
    ) -> None:
        await shop.product()
        await define(shop, **terms)
        coupon_id = await claimed(shop)

        assert problem(await shop.order(coupon_code="TEN")) == (409, refusal)
        assert await told(shop, coupon_id) == ["CouponIssued"]
        assert await shop.available() == 10

    async def test_it_is_not_used_up_where_it_takes_nothing_off(self, shop: Shop) -> None:
        await shop.product(unit_price=9)
        await define(shop)
        await claimed(shop)

        assert problem(await shop.order(coupon_code="TEN")) == (409, "coupon-not-applicable")

    async def test_an_expired_coupon_is_refused(self, shop: Shop) -> None:
        await shop.product()
        await define(shop)
        await claimed(shop)
        await shop.rows("UPDATE issued_coupons SET valid_until = now()")

        assert problem(await shop.order(coupon_code="TEN")) == (409, "coupon-expired")

    async def test_only_whoever_holds_one_can_use_it(self, shop: Shop) -> None:
        await shop.product()
        await define(shop)
        await claimed(shop)

        answers = [
            await shop.order(coupon_code="TEN", by=shop.as_("ben", "customer")),
            await shop.order(coupon_code="NONE"),
        ]

        assert [problem(answer) for answer in answers] == [(422, "unknown-coupon")] * 2

    async def test_one_coupon_is_for_one_order_and_two_are_for_two(self, shop: Shop) -> None:
        await shop.product()
        await define(shop)
        await claimed(shop)
        await claimed(shop)

        answers = [await shop.order(coupon_code="TEN") for _ in range(3)]

        assert [answer.status_code for answer in answers] == [201, 201, 409]
        assert problem(answers[2]) == (409, "coupon-already-used")

    async def test_where_the_stock_is_short_the_coupon_stays(self, shop: Shop) -> None:
        await shop.product()
        await define(shop)
        coupon_id = await claimed(shop)

        assert problem(await shop.order(("p-1", 11), coupon_code="TEN")) == (409, "insufficient-stock")
        assert await told(shop, coupon_id) == ["CouponIssued"]
        assert (await shop.order(coupon_code="TEN")).status_code == 201


class TestGivingBack:
    """What becomes of the coupon of an order that is not paid, or called off."""

    async def test_canceling_gives_it_back(self, shop: Shop) -> None:
        await shop.product()
        await define(shop)
        coupon_id = await claimed(shop)
        order_id = await placed(shop)

        canceled = await shop.post(f"/orders/{order_id}/cancel", {"reason": "mistake"})

        assert canceled.status_code == 200
        assert await told(shop, coupon_id) == ["CouponIssued", "CouponUsed", "CouponReturned"]
        assert await payload(shop, "CouponReturned") == {
            "coupon_code": "TEN",
            "member_id": "ann",
            "order_id": order_id,
            "cause": "order-canceled",
        }
        await placed(shop)

    async def test_canceling_a_paid_order_gives_it_back(self, shop: Shop) -> None:
        await shop.product()
        await define(shop)
        coupon_id = await claimed(shop)
        order_id = await placed(shop)
        await shop.pay(order_id)
        await shop.post(f"/orders/{order_id}/cancel", {"reason": "mistake"})
        await shop.settled(order_id)

        assert await told(shop, coupon_id) == ["CouponIssued", "CouponUsed", "CouponReturned"]
        assert (await payload(shop, "OrderCanceled"))["refund_amount"] == 450

    async def test_after_a_declined_payment_the_order_is_payable_at_its_price_and_takes_its_coupon_again(
        self, shop: Shop
    ) -> None:
        await shop.product()
        await define(shop)
        coupon_id = await claimed(shop)
        order_id = await placed(shop)
        await shop.pay(order_id, declined=True)
        declined = await told(shop, coupon_id)
        # Whoever granted the discount looked at the terms; who pays later does not again.
        await shop.rows("UPDATE issued_coupons SET valid_until = '2020-01-01'")

        await shop.pay(order_id)

        assert declined == ["CouponIssued", "CouponUsed", "CouponReturned"]
        assert await told(shop, coupon_id) == [*declined, "CouponUsed"]
        assert (await payload(shop, "CouponUsed"))["discount_amount"] == 50
        assert (await payload(shop, "OrderPaid"))["amount"] == 450

    async def test_it_is_given_back_once_by_a_declined_payment_and_then_a_cancellation(self, shop: Shop) -> None:
        await shop.product()
        await define(shop)
        coupon_id = await claimed(shop)
        order_id = await placed(shop)
        await shop.pay(order_id, declined=True)

        await shop.post(f"/orders/{order_id}/cancel", {"reason": "mistake"})

        assert await told(shop, coupon_id) == ["CouponIssued", "CouponUsed", "CouponReturned"]

    async def test_an_order_whose_coupon_another_uses_meanwhile_cannot_be_paid_and_nothing_happens(
        self, shop: Shop
    ) -> None:
        await shop.product()
        await define(shop)
        coupon_id = await claimed(shop)
        first = await placed(shop)
        await shop.pay(first, declined=True)
        second = await placed(shop)
        before = await shop.events_of(first)

        refused = await shop.post(f"/orders/{first}/pay", {"method": "card"})

        assert problem(refused) == (409, "coupon-not-available")
        assert await shop.events_of(first) == before
        assert (await told(shop, coupon_id))[-1] == "CouponUsed"
        # Calling off the first takes nothing from the second.
        assert (await shop.post(f"/orders/{first}/cancel", {"reason": "x"})).status_code == 200
        assert (await payload(shop, "CouponUsed"))["order_id"] == second
        assert (await told(shop, coupon_id))[-1] == "CouponUsed"

    async def test_once_the_other_order_is_called_off_it_can_be_paid_again(self, shop: Shop) -> None:
        await shop.product()
        await define(shop)
        await claimed(shop)
        first = await placed(shop)
        await shop.pay(first, declined=True)
        second = await placed(shop)
        await shop.post(f"/orders/{second}/cancel", {"reason": "mistake"})

        await shop.pay(first)

        assert (await payload(shop, "CouponUsed"))["order_id"] == first

    @pytest.mark.parametrize("is_paying", [True, False])
    async def test_an_order_that_expires_gives_it_back_once(self, shop: Shop, is_paying: bool) -> None:
        await shop.product()
        await define(shop)
        coupon_id = await claimed(shop)
        order_id = await placed(shop)
        if is_paying:
            await shop.post(f"/orders/{order_id}/pay", {"method": "card"})

        async with shop.transaction() as uow:
            (await uow.repository(Orders).get(order_id)).expire(at=now())
            await uow.commit()

        assert await told(shop, coupon_id) == ["CouponIssued", "CouponUsed", "CouponReturned"]
        assert await shop.available() == 10
