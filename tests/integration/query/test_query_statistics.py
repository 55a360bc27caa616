"""Sales statistics, against sums made one sale at a time."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import cycle
from typing import Any

import pytest
from pydantic import TypeAdapter

from query.answers import BestSellers, SalesAnswer
from tests.instances import SALES_STATISTICS
from tests.integration.query.shop import Api, Sale, Shop, a_product, summed

FIRST, LAST = date(2025, 12, 20), date(2026, 3, 10)

PERIODS: dict[str, Callable[[Sale], str]] = {
    "hour": lambda sale: sale.hour,
    "day": lambda sale: sale.hour[:10],
    "week": lambda sale: _monday(date.fromisoformat(sale.hour[:10])),
    "month": lambda sale: sale.hour[:7],
}
KEYS: dict[str, Callable[[Sale], str | None]] = {
    "none": lambda _: None,
    "product": lambda sale: sale.product_id,
    "category": lambda sale: sale.category,
}


def _monday(day: date) -> str:
    while day.strftime("%a") != "Mon":
        day -= timedelta(days=1)
    return day.isoformat()


def _sales() -> Iterator[Sale]:
    products = cycle([("pen|blue", "office"), ("ink", "office"), ("ball", "toys"), ("kite é", "toys")])
    day, number = FIRST, 0
    while day <= LAST:
        for hour in range(number % 3):  # every third day there is none
            product, category = next(products)
            number += 1
            amount = 2**33 + number
            counters = {"placed_orders": 1, "placed_amount": amount}
            if number % 4:
                counters |= {"paid_orders": 1, "gross_sales": amount, "units": number % 7 + 1}
            if not number % 6:
                counters |= {"canceled_orders": 1, "canceled_amount": amount - 5}
            yield Sale(f"{day.isoformat()}T{8 + hour:02d}:00", product, category, counters)
        day, number = day + timedelta(days=1), number + 1


SALES = list(_sales())


def _expected(first: str, last: str, granularity: str, group: str) -> dict[str, Any]:
    inside = [sale for sale in SALES if first <= sale.hour[:10] <= last]
    rows: defaultdict[tuple[str, str | None], list[Sale]] = defaultdict(list)
    for sale in inside:
        rows[PERIODS[granularity](sale), KEYS[group](sale)].append(sale)
    return {
        "granularity": granularity,
        "time_zone": "UTC",
        "currency": "EUR",
        "rows": [
            {"period": period, "key": key, **summed(rows[period, key])}
            for period, key in sorted(rows, key=lambda row: (row[0], row[1] or ""))
        ],
        "totals": summed(inside),
        "as_of": "2026-03-02T10:00:00.000000Z",
    }


@pytest.mark.parametrize("group", KEYS)
@pytest.mark.parametrize("granularity", PERIODS)
async def test_rows_and_totals_are_the_sums_of_the_sales(api: Api, shop: Shop, granularity: str, group: str) -> None:
    await shop.sell(*SALES)
    for first, last in (
        (FIRST, LAST),
        (date(2026, 1, 1), date(2026, 2, 28)),  # whole months
        (date(2026, 1, 14), date(2026, 2, 3)),  # parts of two
        (date(2025, 12, 31), date(2026, 3, 1)),  # a day at each end
        (date(2026, 1, 14), date(2026, 1, 14)),
        (date(2024, 1, 1), date(2024, 12, 31)),  # nothing
    ):
        query = {"from": first.isoformat(), "to": last.isoformat()}
        answer = await api.get("/statistics/sales", granularity=granularity, group_by=group, **query)
        assert answer.json() == _expected(query["from"], query["to"], granularity, group)
        TypeAdapter(SalesAnswer).validate_json(answer.content, strict=True)


@pytest.mark.parametrize("sort", ["net_sales", "units"])
async def test_the_best_sellers_are_those_with_the_largest_sums(api: Api, shop: Shop, sort: str) -> None:
    await shop.sell(*SALES)
    await shop.put("product_catalog", a_product("ink", name="Black ink"))
    query = {"from": "2025-12-31", "to": "2026-03-01"}
    inside = [sale for sale in SALES if query["from"] <= sale.hour[:10] <= query["to"]]
    sums = {
        product: summed(s for s in inside if s.product_id == product)
        for product in ("ball", "ink", "kite é", "pen|blue")
    }
    shown = ("paid_orders", "units", "gross_sales", "canceled_amount", "net_sales")
    expected = [
        {
            "product_id": product,
            "name": "Black ink" if product == "ink" else None,
            **{name: sums[product][name] for name in shown},
        }
        for product in sorted(sums, key=lambda product: (-sums[product][sort], product))
    ]
    answer = await api.get("/statistics/products", sort=sort, limit=3, **query)
    assert answer.json()["items"] == expected[:3]
    TypeAdapter(BestSellers).validate_json(answer.content, strict=True)


async def test_products_that_sold_alike_stand_by_id(api: Api, shop: Shop) -> None:
    sold = {"paid_orders": 1, "gross_sales": 100, "units": 1}
    await shop.sell(*(Sale("2026-03-02T09:00", product, "x", sold) for product in ("b", "c", "a")))
    answer = await api.get("/statistics/products", **{"from": "2026-03-02", "to": "2026-03-02"})
    assert [item["product_id"] for item in answer.json()["items"]] == ["a", "b", "c"]


async def test_a_product_that_nobody_paid_for_is_no_best_seller(api: Api, shop: Shop) -> None:
    await shop.sell(Sale("2026-03-02T09:00", "p", "x", {"placed_orders": 1, "placed_amount": 100}))
    answer = await api.get("/statistics/products", **{"from": "2026-03-02", "to": "2026-03-02"})
    assert answer.json()["items"] == []


async def test_by_default_the_last_thirty_days_are_told_by_day(api: Api, shop: Shop) -> None:
    today = datetime.now(UTC).date()
    days = [today - timedelta(days=ago) for ago in (30, 29, 0)]
    await shop.sell(*(Sale(f"{day}T09:00", "p", "x", {"paid_orders": 1}) for day in days))
    answer = (await api.get("/statistics/sales")).json()
    assert answer["granularity"] == "day"
    # Where midnight passes during the test, one day more has gone.
    assert [row["period"] for row in answer["rows"]][-1:] == [today.isoformat()]
    assert days[0].isoformat() not in {row["period"] for row in answer["rows"]}


@pytest.mark.parametrize(
    "query",
    [
        {"from": "2026-03-03", "to": "2026-03-02"},
        {"from": "2026-02-30"},
        {"from": "20260301"},
        {"to": "2026-03-02T09:00:00Z"},
        {"granularity": "year"},
        {"group_by": "member"},
        {"from": "2025-03-02", "to": "2026-03-03", "granularity": "hour"},
        {"from": "1910-01-01", "to": "2026-03-03"},
        {"limit": "10"},
    ],
)
async def test_what_the_statistics_do_not_know_is_refused(api: Api, shop: Shop, query: dict[str, str]) -> None:
    answer = await api.get("/statistics/sales", **query)
    assert answer.status_code == 422
    assert answer.json()["type"] == "/problems/invalid-input"


@pytest.mark.parametrize(("caller", "status"), [("ann", 403), ("operator", 403), ("staff", 200), (None, 401)])
@pytest.mark.parametrize("path", ["/statistics/sales", "/statistics/products"])
async def test_statistics_are_for_staff(api: Api, shop: Shop, path: str, caller: str | None, status: int) -> None:
    assert (await api.get(path, caller)).status_code == status


async def test_while_another_time_zone_is_being_built_the_answer_names_the_one_that_its_days_are_of(
    api: Api, shop: Shop
) -> None:
    await shop.database.checkpoints.update_one({"_id": SALES_STATISTICS}, {"$set": {"time_zone": "Asia/Seoul"}})
    await shop.tell(10, time_zone="Europe/Berlin")
    assert await api.follower.reaches(
        lambda: (
            api.follower.log is not None
            and api.follower.log.time_zone == "Europe/Berlin"
            and any(one.time_zone == "Asia/Seoul" for one in api.follower.checkpoints())
        ),
        60,
    )
    assert (await api.get("/statistics/sales")).json()["time_zone"] == "Asia/Seoul"
