"""Products and members as the query API serves them."""

import pytest
from pydantic import TypeAdapter

from query.answers import MemberAnswer, ProductPage
from tests.integration.query.shop import PLACED_AT, Api, Shop, a_member, a_product, ids
from views import all_views
from views.member_profile import LastOrder

PEN = {
    "product_id": "p-1",
    "name": "Pen",
    "category": "office",
    "unit_price": 100,
    "currency": "EUR",
    "stock": 8,
    "version": 1,
    "registered_at": PLACED_AT,
    "updated_at": PLACED_AT,
}


async def test_a_product_is_shown_to_everybody(api: Api, shop: Shop) -> None:
    await shop.put("product_catalog", a_product())
    answer = await api.get("/products/p-1", None)
    assert answer.json() == PEN
    assert answer.headers["read-model-position"] == "10"
    assert "vary" not in answer.headers


async def test_an_unknown_product_is_not_found(api: Api, shop: Shop) -> None:
    assert (await api.get("/products/p-1", None)).status_code == 404


async def test_products_by_id_in_pages(api: Api, shop: Shop) -> None:
    await shop.put("product_catalog", *(a_product(f"p-{index}") for index in (2, 3, 1)))
    first = await api.get("/products", None, limit=2)
    assert first.json()["items"][0] == PEN
    TypeAdapter(ProductPage).validate_json(first.content)
    second = await api.get("/products", None, limit=2, cursor=first.json()["next_cursor"])
    assert ids(first, "product_id") + ids(second, "product_id") == ["p-1", "p-2", "p-3"]
    assert second.json()["next_cursor"] is None


async def test_products_of_a_category_in_pages(api: Api, shop: Shop) -> None:
    toys = [a_product(f"p-{index}", category="toys") for index in (4, 2)]
    await shop.put("product_catalog", a_product("p-1"), a_product("p-3"), *toys)
    first = await api.get("/products", None, limit=1, category="toys")
    second = await api.get("/products", None, limit=1, category="toys", cursor=first.json()["next_cursor"])
    assert ids(first, "product_id") + ids(second, "product_id") == ["p-2", "p-4"]
    assert (await api.get("/products", None, cursor=first.json()["next_cursor"])).status_code == 422


async def test_a_members_profile(api: Api, shop: Shop) -> None:
    last = LastOrder("o-1", PLACED_AT, 500)
    await shop.put("member_profile", a_member(order_count=1, lifetime_value=495, currency="EUR", last_order=last))
    answer = await api.get("/members/ann", "ann")
    assert answer.json() == {
        "member_id": "ann",
        "name": "Ann",
        "email": "ann@example.com",
        "email_verified": False,
        "version": 1,
        "registered_at": PLACED_AT,
        "order_count": 1,
        "lifetime_value": 495,
        "currency": "EUR",
        "last_order": {"order_id": "o-1", "placed_at": PLACED_AT, "total_amount": 500},
    }
    TypeAdapter(MemberAnswer).validate_json(answer.content, strict=True)
    assert (await api.get("/members/me", "ann")).json() == answer.json()


async def test_a_member_who_bought_nothing_did_so_in_the_shops_currency(api: Api, shop: Shop) -> None:
    await shop.put("member_profile", a_member())
    assert (await api.get("/members/me", "ann")).json()["currency"] == "EUR"


@pytest.mark.parametrize(
    ("caller", "status"), [("ann", 200), ("bob", 404), ("staff", 200), ("operator", 403), (None, 401)]
)
async def test_a_profile_is_seen_by_its_member_and_by_staff(
    api: Api, shop: Shop, caller: str | None, status: int
) -> None:
    await shop.put("member_profile", a_member())
    assert (await api.get("/members/ann", caller)).status_code == status


@pytest.mark.parametrize(("caller", "status"), [("ann", 403), ("staff", 200), ("operator", 200), (None, 401)])
async def test_projections_are_seen_by_staff_and_operators(
    api: Api, shop: Shop, caller: str | None, status: int
) -> None:
    assert (await api.get("/projections", caller)).status_code == status


async def test_projections_tell_how_far_each_has_come(api: Api, shop: Shop) -> None:
    await shop.tell(17)
    assert await api.follower.reaches(lambda: api.follower.log is not None and api.follower.log.head == 17, 60)
    rows = (await api.get("/projections")).json()["items"]
    assert [row["name"] for row in rows] == sorted(all_views())
    [row] = [row for row in rows if row["name"] == "member_profile"]
    assert row.pop("lag_seconds") > 0
    assert row.pop("health") in {"behind", "stuck"}  # which, is a question of how fast this test runs
    assert row == {
        "name": "member_profile",
        "version": 1,
        "state": "active",
        "position": 10,
        "head": 17,
        "lag_events": 7,
        "parked_sequences": 0,
    }
