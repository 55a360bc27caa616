"""A shortcut is a shorter way to the same answer, whatever is asked."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.routing import Match
from structlog.testing import capture_logs

from query.app import create_app
from runtime.settings import Settings
from runtime.shortcut import Shortcuts
from runtime.tokens import Tokens
from tests.integration.query.shop import Api, Sale, Shop, a_member, a_product, an_order, token

TAKEN = [
    "/orders/o-1",
    "/orders/nobody",
    "/orders/" + "x" * 100,
    "/orders",
    "/orders?limit=1",
    "/orders?limit=%31",
    "/orders?limit=5&status=PREPARING&member_id=ann&placed_from=2026-03-01&placed_to=2026-03-02T10%3A00%3A00Z",
    "/orders?cursor=made-up",
    "/orders?placed_from=2026-03-03&placed_to=2026-03-02",
    "/statistics/sales",
    "/statistics/sales?from=2026-03-01&to=2026-03-03&granularity=hour&group_by=product",
    "/statistics/sales?from=2026-03-03&to=2026-03-01",
    "/statistics/products?from=2026-03-01&to=2026-03-03&sort=units&limit=100",
    "/products",
    "/products?category=office&limit=1",
    "/products/p-1",
    "/products/p%2D1",
    "/products/nothing",
    "/members/me",
    "/members/ann",
    "/members/nobody",
]
NOT_TAKEN = [
    "/orders/" + "x" * 101,
    "/orders/a%00b",
    "/orders/o-1?x=1",
    "/orders/o-1?",
    "/orders/",
    "/orders/o-1/",
    "/orders//",
    "/orders?limit=0",
    "/orders?limit=",
    "/orders?limit",
    "/orders?limit=1&limit=1",
    "/orders?Limit=1",
    "/orders?limit=1&x=2",
    "/orders?status=LOST",
    "/orders?placed_from=yesterday",
    "/orders?cursor=" + "x" * 1001,
    "/statistics/sales?from=20260301",
    "/statistics/sales?granularity=year",
    "/statistics/sales?first_day=2026-03-01",
    "/statistics/products?limit=101",
    "/products?category=%00",
    "/members/a%2Fb",
]
ALSO = ["/statistics", "/projections", "/nowhere", "/orders/o-1/stream/x"]
HEADERS: list[dict[str, str]] = [
    {},
    {"Accept-Encoding": "gzip"},
    {"If-None-Match": '"3"'},
    {"If-None-Match": '"3-gzip"', "Accept-Encoding": "gzip"},
    {"Prefer": "wait=0"},
    token(5),
    token(5) | {"Prefer": "wait=7"},
    token(500) | {"Prefer": "wait=0"},
    {"Consistency-Token": "made up"},
    {"X-Request-Id": "mine"},
]


@pytest.fixture
async def filled(shop: Shop) -> Shop:
    """Something of everything, something long, and something parked."""
    await shop.put("order_detail", an_order(version=3), an_order("o-2", "ben", status="PREPARING"))
    await shop.put("order_detail", an_order("o-3"), _parked=True)
    await shop.put("product_catalog", a_product(), a_product("p-2", category="food", name="x" * 3000))
    await shop.put("member_profile", a_member())
    await shop.sell(Sale("2026-03-02T09:00", "p-1", "office", {"paid_orders": 1, "gross_sales": 500, "units": 5}))
    return shop


@pytest.fixture
async def the_long_way(filled: Shop, query_settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A query API without shortcuts."""
    app = create_app(query_settings)
    assert isinstance(app.router.routes.pop(0), Shortcuts)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://query") as client:
            follower = app.state.read_models.follower
            assert await follower.reaches(lambda: follower.available, 60)
            yield client


@pytest.mark.parametrize("path", [*TAKEN, *NOT_TAKEN, *ALSO, "/orders/o-3"])
async def test_the_answer_is_the_same_as_the_long_way(
    api: Api, filled: Shop, the_long_way: httpx.AsyncClient, query_settings: Settings, path: str
) -> None:
    for caller in ("staff", "operator", "ann", "ben", None):
        for headers in HEADERS if caller in ("staff", "ann") else HEADERS[:1]:
            asked = headers | _authorization(query_settings, caller)
            with capture_logs() as lines:
                short, long = [await client.get(path, headers=asked) for client in (api.client, the_long_way)]
            assert _told(short) == _told(long), (caller, headers)
            assert _said(lines[0]) == _said(lines[1])


@pytest.mark.parametrize("method", ["HEAD", "POST", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/orders/o-1", "/orders", "/statistics/sales", "/products/p-1"])
async def test_other_methods_are_answered_the_same(
    api: Api, filled: Shop, the_long_way: httpx.AsyncClient, query_settings: Settings, method: str, path: str
) -> None:
    asked = _authorization(query_settings, "staff")
    short, long = [await client.request(method, path, headers=asked) for client in (api.client, the_long_way)]
    assert _told(short) == _told(long)


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer x", "Basic YTpi", "bearer  "])
async def test_what_is_no_token_is_refused_the_same(
    api: Api, filled: Shop, the_long_way: httpx.AsyncClient, authorization: str
) -> None:
    for path in ("/orders/o-1", "/orders?limit=x"):
        asked = {"Authorization": authorization}
        short, long = [await client.get(path, headers=asked) for client in (api.client, the_long_way)]
        assert _told(short) == _told(long)
        assert short.status_code == 401


@pytest.mark.parametrize(("path", "taken"), [*((path, True) for path in TAKEN), *((path, False) for path in NOT_TAKEN)])
async def test_what_is_in_order_takes_the_shortcut(early_api: Api, path: str, taken: bool) -> None:
    shortcuts = early_api.app.router.routes[0]
    assert isinstance(shortcuts, Shortcuts)
    url = httpx.URL("http://query" + path)
    scope = {"type": "http", "method": "GET", "path": url.path, "query_string": url.query, "headers": []}
    assert (shortcuts.matches(scope)[0] is Match.FULL) is (taken or path in ("/orders/o-1?",))


async def test_the_document_is_the_same(early_api: Api, query_settings: Settings) -> None:
    long: FastAPI = create_app(query_settings)
    long.router.routes.pop(0)
    assert early_api.app.openapi() == long.openapi()


def _authorization(settings: Settings, caller: str | None) -> dict[str, str]:
    if caller is None:
        return {}
    scope = caller if caller in ("staff", "operator") else "customer"
    return {"Authorization": f"Bearer {Tokens(settings).issue(caller, [scope])}"}


def _told(answer: httpx.Response) -> tuple[int, list[tuple[str, str]], bytes]:
    # Every answer has its own id; and where the projector is not heard of the lag moves on from one to the next.
    own = {"read-model-lag-seconds": "", **({} if "mine" in answer.headers.values() else {"x-request-id": ""})}
    headers = [(name, own.get(name, value)) for name, value in answer.headers.multi_items()]
    return answer.status_code, headers, answer.content


def _said(line: Any) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name not in ("ms", "request_id")}
