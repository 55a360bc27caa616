"""Orders as the query API serves them."""

from typing import Any

import msgspec
import pytest
from pydantic import TypeAdapter

from query.answers import OrderDetailAnswer, OrderPage
from tests.integration.query.shop import Api, Shop, an_order, ids

STATUSES = ("PAYMENT_WAITING", "PREPARING", "CANCELED")


async def test_an_order_leaves_as_it_is_stored(api: Api, shop: Shop) -> None:
    order = an_order(total_amount=2**40)  # an integer that MongoDB keeps in 64 bits
    await shop.put("order_detail", order)
    answer = await api.get("/orders/o-1", "ann")
    expected = msgspec.json.decode(msgspec.json.encode(order))
    expected["order_id"] = expected.pop("_id")
    assert answer.json() == expected
    TypeAdapter(OrderDetailAnswer).validate_json(answer.content, strict=True)
    assert answer.headers["etag"] == '"1"'
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["vary"] == "Authorization"
    assert answer.headers["read-model-position"] == "10"
    assert answer.headers["read-model-lag-seconds"] == "0.000"


@pytest.mark.parametrize(
    ("caller", "status"), [("ann", 200), ("bob", 404), ("staff", 200), ("operator", 403), (None, 401)]
)
async def test_an_order_is_seen_by_its_buyer_and_by_staff(
    api: Api, shop: Shop, caller: str | None, status: int
) -> None:
    await shop.put("order_detail", an_order())
    assert (await api.get("/orders/o-1", caller)).status_code == status


async def test_another_ones_order_looks_exactly_like_none(api: Api, shop: Shop) -> None:
    await shop.put("order_detail", an_order())
    others, none = await api.get("/orders/o-1", "bob"), await api.get("/orders/o-2", "bob")
    assert (others.status_code, others.content) == (none.status_code, none.content)
    assert others.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("tag", "status"), [('"4"', 304), ('"3", W/"4"', 304), ("*", 304), ('"3"', 200)])
async def test_what_the_caller_has_already_is_not_sent_again(api: Api, shop: Shop, tag: str, status: int) -> None:
    await shop.put("order_detail", an_order(version=4))
    answer = await api.get("/orders/o-1", headers={"If-None-Match": tag})
    assert answer.status_code == status
    assert answer.headers["etag"] == '"4"'
    assert answer.headers["read-model-position"] == "10"
    assert bool(answer.content) is (status == 200)


async def test_nothing_in_an_order_that_does_not_exist_matches(api: Api, shop: Shop) -> None:
    assert (await api.get("/orders/o-1", headers={"If-None-Match": "*"})).status_code == 404


async def test_a_parked_order_says_so_and_shows_no_field_of_the_projector(api: Api, shop: Shop) -> None:
    await shop.put("order_detail", an_order(), _parked=True)
    detail, page = await api.get("/orders/o-1"), await api.get("/orders")
    assert detail.headers["read-model-state"] == "parked"
    assert "_parked" not in detail.json()
    assert page.json()["items"][0]["read_model_state"] == "parked"


async def test_a_list_holds_summaries(api: Api, shop: Shop) -> None:
    await shop.put("order_detail", an_order())
    answer = await api.get("/orders")
    assert answer.json() == {
        "items": [
            {
                "order_id": "o-1",
                "status": "PAYMENT_WAITING",
                "version": 1,
                "currency": "EUR",
                "orderer": {"member_id": "ann", "name": "Ann"},
                "total_amount": 500,
                "discount_amount": 5,
                "points_used": 0,
                "payment_amount": 495,
                "line_count": 2,
                "units": 5,
                "placed_at": "2026-03-02T09:00:00.000000Z",
                "updated_at": "2026-03-02T09:00:00.000000Z",
            }
        ],
        "next_cursor": None,
    }
    TypeAdapter(OrderPage).validate_json(answer.content, strict=True)


async def test_pages_are_newest_first_and_hold_every_order_once_while_orders_arrive(api: Api, shop: Shop) -> None:
    # Ten orders in each of three moments: pages end within a moment too.
    moments = [f"2026-03-02T09:00:0{second}.000000Z" for second in range(3)]
    orders = [an_order(f"o-{index:02d}", placed_at=moments[index % 3]) for index in range(30)]
    await shop.put("order_detail", *orders)
    expected = [order.id for order in sorted(orders, key=lambda order: (order.placed_at, order.id), reverse=True)]
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 4}
    while True:
        page = await api.get("/orders", **query)
        seen += ids(page)
        if (cursor := page.json()["next_cursor"]) is None:
            break
        query["cursor"] = cursor
        newer = an_order(f"x-{len(seen):02d}", placed_at="2026-03-02T10:00:00.000000Z")
        await shop.put("order_detail", newer)
    assert seen == expected


async def test_a_page_that_ends_with_the_last_order_has_no_next_cursor(api: Api, shop: Shop) -> None:
    await shop.put("order_detail", an_order("o-1"), an_order("o-2"))
    assert (await api.get("/orders", limit=2)).json()["next_cursor"] is None
    assert (await api.get("/orders", limit=1)).json()["next_cursor"] is not None


async def test_a_customer_sees_no_orders_but_their_own(api: Api, shop: Shop) -> None:
    await shop.put("order_detail", an_order("o-1", "ann"), an_order("o-2", "bob"))
    assert ids(await api.get("/orders", "ann")) == ["o-1"]
    assert ids(await api.get("/orders", "ann", member_id="ann")) == ["o-1"]
    assert ids(await api.get("/orders", "ann", member_id="bob")) == []
    assert ids(await api.get("/orders", "staff")) == ["o-2", "o-1"]
    assert ids(await api.get("/orders", "staff", member_id="bob")) == ["o-2"]


async def test_orders_by_status(api: Api, shop: Shop) -> None:
    await shop.put("order_detail", *(an_order(f"o-{status}", status=status) for status in STATUSES))
    assert ids(await api.get("/orders", status="PREPARING")) == ["o-PREPARING"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"placed_from": "2026-03-02"}, ["next-day", "late", "early"]),
        ({"placed_to": "2026-03-02"}, ["late", "early", "day-before"]),
        ({"placed_from": "2026-03-02", "placed_to": "2026-03-02"}, ["late", "early"]),
        ({"placed_from": "2026-03-02T14:59:59.999999Z"}, ["next-day", "late"]),
        ({"placed_to": "2026-03-01T15:00:00Z"}, ["early", "day-before"]),
        (
            {"placed_from": "2026-03-02T00:00:00+09:00", "placed_to": "2026-03-02T23:59:59.999999+09:00"},
            ["late", "early"],
        ),
        ({"placed_from": "2026-03-01T15:00:00Z", "placed_to": "2026-03-01T15:00:00Z"}, ["early"]),
    ],
)
async def test_orders_by_time_with_both_ends_in_and_days_of_business_time(
    api: Api, shop: Shop, query: dict[str, str], found: list[str]
) -> None:
    await shop.tell(10, time_zone="Asia/Seoul")
    assert await api.follower.reaches(
        lambda: api.follower.log is not None and api.follower.log.time_zone == "Asia/Seoul", 60
    )
    await shop.put(
        "order_detail",
        an_order("day-before", placed_at="2026-03-01T14:59:59.999999Z"),
        an_order("early", placed_at="2026-03-01T15:00:00.000000Z"),  # midnight in Seoul
        an_order("late", placed_at="2026-03-02T14:59:59.999999Z"),
        an_order("next-day", placed_at="2026-03-02T15:00:00.000000Z"),
    )
    assert ids(await api.get("/orders", **query)) == found


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "many"},
        {"status": "LOST"},
        {"status": ""},
        {"member_id": "a\x00"},
        {"placed_from": "yesterday"},
        {"placed_from": "2026-03-02T09:00:00"},
        {"placed_from": "2026-03-03", "placed_to": "2026-03-02"},
        {"placed_from": "2026-03-03T00:00:00Z", "placed_to": "2026-03-02"},
        {"cursor": ""},
        {"cursor": "made-up"},
        {"sort": "oldest"},
    ],
)
async def test_what_the_list_does_not_know_is_refused(api: Api, shop: Shop, query: dict[str, str]) -> None:
    answer = await api.get("/orders", **query)
    assert answer.status_code == 422
    assert answer.json()["type"] == "/problems/invalid-input"
    assert answer.json()["errors"][0]["loc"][:2] == ["query", next(iter(query))]


async def test_a_cursor_is_of_use_with_its_own_filters_alone(api: Api, shop: Shop) -> None:
    await shop.put("order_detail", an_order("o-1"), an_order("o-2"))
    cursor = (await api.get("/orders", limit=1)).json()["next_cursor"]
    assert (await api.get("/orders", limit=1, cursor=cursor)).status_code == 200
    assert (await api.get("/orders", limit=1, cursor=cursor, status="PREPARING")).status_code == 422
    assert (await api.get("/orders", "ann", limit=1, cursor=cursor)).status_code == 422


@pytest.mark.parametrize("path", ["/orders/a%00b", "/orders/a%1fb", "/orders/" + "x" * 101, "/orders/o-1?x=1"])
async def test_an_id_that_cannot_be_is_refused(api: Api, shop: Shop, path: str) -> None:
    assert (await api.get(path)).status_code == 422
