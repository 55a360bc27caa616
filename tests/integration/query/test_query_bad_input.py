"""What strangers ask the query API: each a clear 4xx, never a 5xx, and never more than was to be seen."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.integration.query.posts import a_post
from tests.integration.query.shop import Api, Shop, a_coupon, a_member, a_product, an_order, ids

OPERATORS = ['{"$gt": ""}', "{'$ne': null}", "[$gt]", "$where", "1; return true"]
UNFIT = ["\x00", "a\x00b", "a\nb", "\x7f", "x" * 101]
LISTS = ["/orders", "/products", "/posts", "/coupons", "/statistics/sales", "/statistics/products"]

PAGED = ("/orders", "/products", "/posts", "/coupons")
RESOURCES = (*PAGED, "/members")

REFUSED = [
    *(f"/orders?{query}" for query in ("limit=0", "limit=-1", "limit=101", f"limit={2**63}", "limit=1e1", "limit=NaN")),
    *(f"/orders?{query}" for query in ("limit=Infinity", "limit=%00", "limit=", "limit=true", "limit=1.5")),
    *(f"/orders?{query}" for query in ("status=paid", "status=", "status[$ne]=PREPARING", "member_id[$gt]=")),
    *(f"/orders?status={quote(operator)}" for operator in OPERATORS),
    *(f"/orders?member_id={quote(unfit)}" for unfit in UNFIT),
    *(f"/orders?placed_from={when}" for when in ("yesterday", "0000-01-01", "99999-01-01", "2026-02-30", "NaN")),
    *(f"/orders?placed_to={when}" for when in ("2026-03-02T25:00:00Z", "9999-12-31", "%00", "1772442000", "-1")),
    "/orders?placed_from=2026-03-03&placed_to=2026-03-02",
    "/orders?status=PREPARING&status=SHIPPED",
    "/orders?limit=1&limit=2",
    "/orders?unknown=1",
    "/orders?$where=1",
    *(f"{path}?cursor={cursor}" for path in PAGED for cursor in ("", "x", "%00", "AAAA", "%ff")),
    *(f"/products?category={quote(unfit)}" for unfit in UNFIT),
    "/products?category=a&category=b",
    *(f"/posts?{name}={quote(unfit)}" for name in ("product_id", "member_id") for unfit in ("", "a/b", *UNFIT)),
    "/posts?product_id=a&product_id=b",
    "/posts?product_id[$gt]=",
    "/posts?author.member_id=a",
    "/posts?deleted=true",
    "/posts?limit=101",
    "/statistics/sales?from=2026-03-03&to=2026-03-02",
    "/statistics/sales?from=1900-01-01&to=2999-12-31",
    "/statistics/sales?from=0001-01-01&to=9999-12-31",
    "/statistics/sales?from=2000-01-01&to=2026-01-01&granularity=hour",
    "/statistics/sales?from=1000-01-01&to=3000-01-01&granularity=hour&group_by=product",
    "/statistics/sales?granularity=year",
    "/statistics/sales?granularity[$ne]=day",
    "/statistics/sales?group_by=member",
    "/statistics/sales?from=2026-03-02&from=2026-03-03",
    "/statistics/products?sort=name",
    "/statistics/products?from=2026-03-02T00:00:00Z",
    *(f"{path}/{quote(unfit, safe='')}" for path in RESOURCES for unfit in UNFIT),
    "/orders/o-1?unknown=1",
    "/members/me?unknown=1",
    "/projections?unknown=1",
]
NOT_FOUND = [
    f"{path}/{quote(odd, safe='')}"
    for path in RESOURCES
    for odd in (*OPERATORS, "%ff", "..", "o-1%2f..", "\u202eo", "\U0001f980", "' OR 1=1 --")
]


@pytest.fixture
async def filled(shop: Shop) -> Shop:
    """One of everything."""
    await shop.put("order_detail", an_order(), an_order("o-2"))
    await shop.put("product_catalog", a_product(), a_product("p-2"))
    await shop.put("coupon_catalog", a_coupon(), a_coupon("SPRING"))
    await shop.put("member_profile", a_member())
    await shop.put("posts", a_post(), a_post("post-2"))
    return shop


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Status and slug."""
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.content) < 20_000
    return answer.status_code, answer.json()["type"].removeprefix("/problems/")


async def test_what_makes_no_sense_is_refused(api: Api, filled: Shop) -> None:
    found = {path: problem(await api.get(path)) for path in REFUSED}

    assert found == dict.fromkeys(REFUSED, (422, "invalid-input"))


async def test_what_could_be_an_id_is_none(api: Api, filled: Shop) -> None:
    found = {path: problem(await api.get(path)) for path in NOT_FOUND}

    assert found == dict.fromkeys(NOT_FOUND, (404, "not-found"))


async def test_bytes_that_are_no_text_are_nobodys_id(api: Api, filled: Shop) -> None:
    paths = [f"{path}/{odd}" for path in RESOURCES for odd in ("%ff", "%ED%A0%80", "%C0%80")]
    found = {path: problem(await api.get(path))[0] for path in paths}

    assert set(found.values()) <= {404, 422}


async def test_operators_select_nothing(api: Api, filled: Shop) -> None:
    for operator in OPERATORS:
        assert ids(await api.get("/orders", member_id=operator)) == []
        assert ids(await api.get("/products", category=operator), "product_id") == []
        for name in ("product_id", "member_id"):
            assert ids(await api.get("/posts", **{name: operator}), "post_id") == []


async def test_a_cursor_with_any_character_changed_is_refused(api: Api, filled: Shop) -> None:
    cursors: dict[str, str] = {path: (await api.get(path, limit=1)).json()["next_cursor"] for path in PAGED}
    for path, cursor in cursors.items():
        tampered = [cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :] for at in range(len(cursor))]
        # The last character may hold bits that mean nothing.
        tampered = [
            cursor[:-1],
            cursor + "AAAA",
            *tampered[:-1],
            cursors["/products" if path == "/orders" else "/orders"],
        ]
        assert {problem(await api.get(path, limit=1, cursor=one)) for one in tampered} == {(422, "invalid-input")}
        assert (await api.get(path, limit=1, cursor=cursor)).status_code == 200


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("Consistency-Token", b"x" * 10_000, 400),
        ("Consistency-Token", b"", 400),
        ("Consistency-Token", b'{"$gt": ""}', 400),
        ("Prefer", b"wait=-1", 200),
        ("Prefer", b"wait=" + b"9" * 10_000, 200),
        ("Prefer", b"wait=NaN", 200),
        ("Prefer", b'"' * 5_000, 200),
        ("If-None-Match", b'"' * 5_000, 200),
        ("If-None-Match", b"\xff", 200),
        ("Accept-Encoding", b"gzip;q=" + b"0" * 5_000, 200),
        ("Accept", b"text/html", 200),
    ],
)
async def test_odd_headers_are_refused_or_mean_nothing(
    api: Api, filled: Shop, name: str, value: bytes, status: int
) -> None:
    assert (await api.get("/orders/o-1", headers={name: value})).status_code == status


async def test_a_body_over_the_limit_is_refused_here_too(api: Api, filled: Shop) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 100_000

    token: dict[str, Any] = dict((await api.get("/orders")).request.headers)
    declared = await api.client.request("GET", "/orders", content=b" " * 1_048_577, headers=_bearer(token))
    # A GET reads no body: what comes without its length is left unread.
    chunked = await api.client.request("GET", "/orders", content=chunks(), headers=_bearer(token))

    assert (problem(declared), chunked.status_code) == ((413, "body-too-large"), 200)


def _bearer(headers: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": headers["authorization"]}
