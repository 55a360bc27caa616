"""No query that is offered reads more than an index leads to.

The server's own profiler keeps every query that the API really sends; each is then explained. So a route is judged
by what it does, not by what somebody believed it would do; one that nobody asks below fails the test.
"""

import re
from collections.abc import Iterator
from itertools import product as combinations
from typing import Any

import httpx
import pytest

from runtime.mongo import Database
from tests.integration.query.posts import a_post
from tests.integration.query.shop import (
    INSTANCES,
    Api,
    Sale,
    Shop,
    a_coupon,
    a_held_coupon,
    a_member,
    a_product,
    an_order,
)
from views.points_account import PointsAccount

OF_ONE_MOMENT = 10
STATUSES = ("PAYMENT_WAITING", "PREPARING", "CANCELED")
_ENVELOPE = {"lsid", "$db", "$clusterTime", "$readPreference", "readConcern", "maxTimeMS", "txnNumber", "cursor"}


@pytest.fixture
async def stocked(shop: Shop) -> Shop:
    """Thousands of documents: few enough to write at once, too many for a scan to look like a good idea."""
    orders = (
        an_order(
            f"o-{number:05d}",
            f"m-{number % 40}",
            status=STATUSES[number % 3],
            placed_at=_moment(number),
        )
        for number in range(4000)
    )
    await shop.put("order_detail", *orders)
    await shop.put("product_catalog", *(a_product(f"p-{n:04d}", category=f"c-{n % 9}") for n in range(2000)))
    await shop.put("member_profile", *(a_member(f"m-{n}") for n in range(2000)))
    coupons = (
        a_held_coupon(f"i-{number:05d}", f"m-{number % 40}", state=("ISSUED", "USED")[number // 40 % 2])
        for number in range(4000)
    )
    await shop.put("member_coupons", *coupons)
    await shop.put("coupon_catalog", *(a_coupon(f"c-{n:04d}") for n in range(2000)))
    wrote = ((f"post-{n:04d}", f"m-{n % 7}", f"p-{n % 11}", _moment(n)) for n in range(4000))
    await shop.put("posts", *(a_post(key, by, product_id=of, written_at=at) for key, by, of, at in wrote))
    await shop.put("points_account", *(PointsAccount(id=f"m-{n}", balance=n) for n in range(2000)))
    sold = {"paid_orders": 1, "gross_sales": 100, "units": 1}
    days = [f"2026-{month:02d}-{day:02d}" for month in (1, 2, 3) for day in range(1, 29)]
    await shop.sell(*(Sale(f"{day}T09:00", f"p-{n}", "c", sold) for day in days for n in range(20)))
    return shop


def _moment(number: int) -> str:
    """One of 420."""
    return f"2026-03-{number % 28 + 1:02d}T09:{number % 60:02d}:00.000000Z"


def _order_lists() -> Iterator[dict[str, str]]:
    whose, status = {"member_id": "m-7"}, {"status": "PREPARING"}
    since, until = {"placed_from": "2026-03-05"}, {"placed_to": "2026-03-20T12:00:00Z"}
    for chosen in combinations([{}, whose], [{}, status], [{}, since], [{}, until]):
        yield {name: value for part in chosen for name, value in part.items()}


async def _ask_everything(api: Api) -> None:
    for caller in ("staff", "m-7"):
        for query in _order_lists():
            page = await api.get("/orders", caller, limit=5, **query)
            cursor = page.json()["next_cursor"]
            assert cursor is not None, query
            assert len((await api.get("/orders", caller, limit=5, cursor=cursor, **query)).json()["items"]) == 5
    for query in ({}, {"category": "c-3"}):
        cursor = (await api.get("/products", **query)).json()["next_cursor"]
        assert (await api.get("/products", cursor=cursor, **query)).status_code == 200
    for state in ({}, {"state": "ISSUED"}, {"state": "USED"}):
        cursor = (await api.get("/members/me/coupons", "m-7", limit=5, **state)).json()["next_cursor"]
        assert len((await api.get("/members/me/coupons", "m-7", cursor=cursor, **state)).json()["items"]) == 20
    cursor = (await api.get("/coupons")).json()["next_cursor"]
    assert (await api.get("/coupons", cursor=cursor)).status_code == 200
    for query in ({}, {"product_id": "p-3"}, {"member_id": "m-3"}, {"product_id": "p-3", "member_id": "m-3"}):
        cursor = (await api.get("/posts", limit=5, **query)).json()["next_cursor"]
        assert len((await api.get("/posts", limit=5, cursor=cursor, **query)).json()["items"]) == 5
    assert (await api.get("/posts/post-0001")).status_code == 200
    for path in ("/orders/o-00001", "/products/p-0001", "/coupons/c-0001", "/members/m-1", "/members/m-1/points"):
        assert (await api.get(path)).status_code == 200
    for path in ("/members/me", "/members/me/points"):
        assert (await api.get(path, "m-1")).status_code == 200
    span = {"from": "2026-01-10", "to": "2026-03-10"}
    for granularity, group in combinations(("hour", "day", "week", "month"), ("none", "product", "category")):
        answer = await api.get("/statistics/sales", granularity=granularity, group_by=group, **span)
        assert len(answer.json()["rows"]) > 0
    for sort in ("net_sales", "units"):
        assert len((await api.get("/statistics/products", sort=sort, **span)).json()["items"]) == 10


async def test_no_offered_query_scans_a_collection(api: Api, stocked: Shop, database: Database) -> None:
    asked: set[str] = set()

    async def note(request: httpx.Request) -> None:
        asked.add(request.url.path)

    api.client.event_hooks["request"].append(note)
    await database.command("profile", 2)
    await _ask_everything(api)
    await database.command("profile", 0)
    commands = await _commands(database)
    assert [path for path in _offered(api) if not any(re.fullmatch(path, one) for one in asked)] == []
    filled = {one for one in INSTANCES.values() if await database[one].estimated_document_count() > 0}
    assert {command.get("find", command.get("aggregate")) for command in commands} == filled
    for command in commands:
        explained = await database.command("explain", command, verbosity="queryPlanner")
        stages = set(_winning_stages(explained))
        assert stages & {"IXSCAN", "IDHACK"}, command
        assert not stages & {"COLLSCAN", "SORT"}, command
    # An index that serves the order alone is walked until enough have passed the filter. (Of the moment in which the
    # page before ended, what was shown is read again.)
    finds = await database["system.profile"].find({"op": "query", "command.find": {"$in": list(filled)}}).to_list(None)
    wasteful = [one["command"] for one in finds if one["docsExamined"] > one["nreturned"] + OF_ONE_MOMENT]
    assert (len(finds) > 0, wasteful) == (True, [])


@pytest.mark.parametrize(
    ("path", "query", "most"),
    [
        ("/orders", {"member_id": "rare"}, 1),
        ("/orders", {"status": "DELIVERING"}, 1),
        ("/orders", {"member_id": "m-7", "status": "DELIVERING"}, 1),
        ("/orders", {"placed_from": "2027-01-01"}, 1),
        ("/orders", {"limit": "5"}, 6),
        ("/products", {"category": "rare"}, 1),
        ("/products", {"limit": "5"}, 6),
        ("/posts", {"product_id": "rare"}, 1),
        ("/posts", {"member_id": "rare"}, 1),
        ("/posts", {"product_id": "p-1", "member_id": "rare"}, 1),
        ("/posts", {"limit": "5"}, 6),
    ],
)
async def test_a_filter_that_few_pass_reads_few_documents(
    api: Api, stocked: Shop, database: Database, path: str, query: dict[str, str], most: int
) -> None:
    await stocked.put("order_detail", an_order("rare", "rare", placed_at="2027-01-01T09:00:00.000000Z"))
    await stocked.put("order_detail", an_order("under-way", "m-7", status="DELIVERING"))
    await stocked.put("product_catalog", a_product("rare", category="rare"))
    await stocked.put("posts", a_post("rare", "rare"), a_post("rare-too", "m-1", product_id="rare"))
    await database.command("profile", 2)
    answer = await api.get(path, **query)
    await database.command("profile", 0)
    assert 0 < len(answer.json()["items"]) <= most
    entry = await database["system.profile"].find_one(
        {"op": "query", "command.find": {"$in": list(INSTANCES.values())}}
    )
    assert entry is not None
    assert entry["docsExamined"] <= most


async def test_a_scan_would_be_noticed(stocked: Shop, database: Database) -> None:
    unindexed = {"find": INSTANCES["order_detail"], "filter": {"total_amount": 1}, "sort": {"updated_at": 1}}
    explained = await database.command("explain", unindexed, verbosity="queryPlanner")
    assert {"COLLSCAN", "SORT"} <= set(_winning_stages(explained))


def _offered(api: Api) -> Iterator[str]:
    """The paths that read views once and are done, as patterns."""
    for path, item in api.app.openapi()["paths"].items():
        tags = item["get"]["tags"]
        if "health" not in tags and "operations" not in tags and not path.endswith("/stream"):
            yield re.sub(r"\{\w+\}", "[^/]+", path)


async def _commands(database: Database) -> list[dict[str, Any]]:
    found = await database["system.profile"].find({"op": {"$in": ["query", "command"]}}).to_list(None)
    sent = [entry["command"] for entry in found if entry["ns"].split(".", 1)[1] in INSTANCES.values()]
    return [_as_sent(command) for command in sent]


def _as_sent(command: dict[str, Any]) -> dict[str, Any]:
    plain = {name: value for name, value in command.items() if name not in _ENVELOPE}
    return {**plain, "cursor": {}} if "aggregate" in command else plain


def _winning_stages(explained: Any) -> Iterator[str]:
    """The names of all stages but those of plans that lost."""
    if isinstance(explained, list):
        for part in explained:
            yield from _winning_stages(part)
    elif isinstance(explained, dict):
        if isinstance(stage := explained.get("stage"), str):
            yield stage
        for name, part in explained.items():
            if name != "rejectedPlans":
                yield from _winning_stages(part)
