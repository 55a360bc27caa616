"""Commands under a condition: over the ASGI application and a real Postgres."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.integration.commanding import PASSWORD, SHIPPING_INFO, Shop, problem, shop

__all__ = ["shop"]


async def matching(
    shop: Shop, path: str, body: Any, if_match: str, *, by: dict[str, str] | None = None, method: str = "POST"
) -> httpx.Response:
    """Send a command under ``If-Match``; by Ann unless told otherwise."""
    caller = shop.ann if by is None else by
    return await shop.client.request(method, path, json=body, headers=caller | {"If-Match": if_match})


@pytest.fixture
async def order(shop: Shop) -> str:
    """The path of an order at version 1."""
    await shop.product()
    return f"/orders/{await shop.placed()}"


@pytest.mark.parametrize("if_match", ['"1"', "*", ' "1"', '"7", "1"', '"7" ,"1"', 'W/"1","1"'])
async def test_a_condition_that_holds_is_no_hindrance(shop: Shop, order: str, if_match: str) -> None:
    answer = await matching(shop, f"{order}/cancel", {"reason": ""}, if_match)

    assert (answer.status_code, answer.headers["etag"]) == (200, '"2"')


@pytest.mark.parametrize("if_match", ['"2"', '"0"', '"01"', '"x"', '""', 'W/"1"', '"2","3"', '"99999999999999999999"'])
async def test_a_stale_version_changes_nothing(shop: Shop, order: str, if_match: str) -> None:
    answer = await matching(shop, f"{order}/cancel", {"reason": ""}, if_match)

    assert problem(answer) == (412, "stale-version")
    assert await shop.events_of(order.removeprefix("/orders/")) == [(1, "OrderPlaced")]
    assert await shop.available() == 9


@pytest.mark.parametrize("if_match", ["1", "", '"1', '"1" "2"', "*,*", '"1",', "'1'", "W/1", "w/" + '"1"'])
async def test_a_malformed_condition_is_422(shop: Shop, order: str, if_match: str) -> None:
    answer = await matching(shop, f"{order}/cancel", {"reason": ""}, if_match)

    assert problem(answer) == (422, "invalid-input")
    assert answer.json()["errors"][0]["loc"] == ["header", "If-Match"]


async def test_a_stale_version_is_told_before_any_rule(shop: Shop, order: str) -> None:
    await shop.post(f"{order}/cancel", {"reason": "mistake"})
    calls: list[tuple[str, Any, dict[str, str]]] = [
        ("pay", {"method": "card"}, shop.ann),
        ("change-shipping-info", SHIPPING_INFO, shop.ann),
        ("cancel", {"reason": ""}, shop.ann),
        ("ship", {"carrier": "Post", "tracking_number": "1"}, shop.staff),
        ("start-delivery", None, shop.staff),
        ("complete-delivery", None, shop.staff),
    ]

    answers = [await matching(shop, f"{order}/{verb}", body, '"1"', by=by) for verb, body, by in calls]
    by_rule = [await matching(shop, f"{order}/{verb}", body, '"2"', by=by) for verb, body, by in calls]

    assert [problem(answer) for answer in answers] == [(412, "stale-version")] * 6
    assert [problem(answer) for answer in by_rule] == [(409, "already-canceled")] * 6


async def test_products_and_passwords_too(shop: Shop, order: str) -> None:
    sign_up = {"email": "ann@example.com", "name": "Ann", "password": PASSWORD}
    member = (await shop.client.post("/members", json=sign_up)).json()["member_id"]
    me = shop.as_(member, "customer")
    change = {"current_password": PASSWORD, "new_password": "battery staple"}
    adjust = {"delta": 1, "reason": "found"}

    async def each(if_match: str) -> list[int]:
        answers = [
            await matching(shop, "/products/p-1", {"name": "Cup"}, if_match, by=shop.staff, method="PATCH"),
            await matching(shop, "/members/me/change-password", change, if_match, by=me),
        ]
        return [answer.status_code for answer in answers]

    assert (await each('"2"'), await each('"1"')) == ([412, 412], [200, 200])
    stale = await matching(shop, "/products/p-1/adjust-stock", adjust, '"1"', by=shop.staff)
    current = await matching(shop, "/products/p-1/adjust-stock", adjust, '"2"', by=shop.staff)
    assert (problem(stale), current.status_code) == ((412, "stale-version"), 200)


async def test_the_order_of_another_does_not_tell_its_version(shop: Shop, order: str) -> None:
    answer = await matching(shop, f"{order}/cancel", {"reason": ""}, '"9"', by=shop.as_("ben", "customer"))

    assert problem(answer) == (404, "not-found")


async def test_what_does_not_exist_yet_matches_nothing(shop: Shop, order: str) -> None:
    body = {"lines": [{"product_id": "p-1", "quantity": 1}], "shipping_info": SHIPPING_INFO}

    assert problem(await matching(shop, "/orders", body, "*")) == (412, "stale-version")
    assert len(await shop.rows("SELECT 1 FROM orders")) == 1


async def test_of_many_with_one_version_one_wins_and_the_others_are_told(shop: Shop, order: str) -> None:
    answers = await asyncio.gather(
        *(matching(shop, f"{order}/change-shipping-info", SHIPPING_INFO, '"1"') for _ in range(16))
    )

    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 15
    assert [version for version, _ in await shop.events_of(order.removeprefix("/orders/"))] == [1, 2]


async def test_a_retry_gets_its_first_answer_although_its_version_is_now_stale(shop: Shop, order: str) -> None:
    headers = shop.ann | {"If-Match": '"1"', "Idempotency-Key": "k"}
    first = await shop.client.post(f"{order}/cancel", json={"reason": ""}, headers=headers)

    again = await shop.client.post(f"{order}/cancel", json={"reason": ""}, headers=headers)

    assert (first.status_code, again.status_code, again.content) == (200, 200, first.content)
