"""Coupons as the query API serves them: to members their own, to staff what is defined."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from query.coupon_answers import CouponAnswer, CouponPage, MemberCouponPage
from tests.integration.query.shop import PLACED_AT, Api, Shop, a_coupon, a_held_coupon, ids

TERMS = {
    "coupon_code": "TEN",
    "name": "Ten percent off",
    "kind": "percent",
    "value": 10,
    "currency": "EUR",
    "minimum_amount": 0,
    "valid_from": PLACED_AT,
    "valid_until": "2027-01-01T00:00:00.000000Z",
    "version": 1,
}
USED: dict[str, Any] = {"state": "USED", "order_id": "o-1", "discount_amount": 50}


async def test_a_member_sees_their_own_coupons_issued_last_first(api: Api, shop: Shop) -> None:
    await shop.put("member_coupons", a_held_coupon("i-1", **USED), a_held_coupon("i-2"), a_held_coupon("i-3", "bob"))

    answer = await api.get("/members/me/coupons", "ann")

    held = {**TERMS, "issued_at": PLACED_AT, "updated_at": PLACED_AT}
    assert answer.json() == {
        "items": [
            {"coupon_id": "i-2", **held, "state": "ISSUED", "order_id": None, "discount_amount": None},
            {"coupon_id": "i-1", **held, **USED},
        ],
        "next_cursor": None,
    }
    TypeAdapter(MemberCouponPage).validate_json(answer.content)


@pytest.mark.parametrize(("state", "held"), [("ISSUED", ["i-4", "i-2"]), ("USED", ["i-3", "i-1"])])
async def test_coupons_by_state_in_pages(api: Api, shop: Shop, state: str, held: list[str]) -> None:
    free, used = [a_held_coupon(f"i-{number}") for number in (2, 4)], [a_held_coupon(f"i-{n}", **USED) for n in (1, 3)]
    await shop.put("member_coupons", *free, *used)

    first = await api.get("/members/me/coupons", "ann", state=state, limit=1)
    cursor = first.json()["next_cursor"]
    second = await api.get("/members/me/coupons", "ann", state=state, limit=1, cursor=cursor)

    assert ids(first, "coupon_id") + ids(second, "coupon_id") == held
    assert second.json()["next_cursor"] is None
    # A cursor is of one list of one member.
    assert (await api.get("/members/me/coupons", "ann", cursor=cursor)).status_code == 422
    assert (await api.get("/members/me/coupons", "bob", state=state, cursor=cursor)).status_code == 422


@pytest.mark.parametrize("query", ["state=RETURNED", "state=issued", "state=", "state[$ne]=USED", "member_id=ann"])
async def test_what_is_no_state_is_refused(api: Api, shop: Shop, query: str) -> None:
    assert (await api.get(f"/members/me/coupons?{query}", "ann")).status_code == 422


@pytest.mark.parametrize(("caller", "status"), [("ann", 200), ("staff", 403), ("operator", 403), (None, 401)])
async def test_whoever_is_no_customer_holds_no_coupons(api: Api, shop: Shop, caller: str | None, status: int) -> None:
    assert (await api.get("/members/me/coupons", caller)).status_code == status


async def test_staff_see_what_is_defined_and_how_it_is_taken_up(api: Api, shop: Shop) -> None:
    await shop.put("coupon_catalog", a_coupon(total_limit=100, issued_count=3, used_count=2))

    answer = await api.get("/coupons/TEN")

    assert answer.json() == {
        **TERMS,
        "total_limit": 100,
        "per_member_limit": None,
        "is_claimable": True,
        "issued_count": 3,
        "used_count": 2,
        "defined_at": PLACED_AT,
    }
    TypeAdapter(CouponAnswer).validate_json(answer.content)
    assert (await api.get("/coupons/NONE")).status_code == 404


async def test_coupons_by_code_in_pages(api: Api, shop: Shop) -> None:
    await shop.put("coupon_catalog", *(a_coupon(code) for code in ("B", "C", "A")))

    first = await api.get("/coupons", limit=2)
    second = await api.get("/coupons", limit=2, cursor=first.json()["next_cursor"])

    TypeAdapter(CouponPage).validate_json(first.content)
    assert ids(first, "coupon_code") + ids(second, "coupon_code") == ["A", "B", "C"]
    assert second.json()["next_cursor"] is None


@pytest.mark.parametrize("path", ["/coupons", "/coupons/TEN"])
@pytest.mark.parametrize(("caller", "status"), [("ann", 403), ("operator", 403), (None, 401)])
async def test_only_staff_see_them(api: Api, shop: Shop, path: str, caller: str | None, status: int) -> None:
    await shop.put("coupon_catalog", a_coupon())
    assert (await api.get(path, caller)).status_code == status
