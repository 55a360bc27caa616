"""What strangers send, and what every answer carries: over the ASGI application and a real Postgres."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.integration.commanding import SHIPPING_INFO, Shop, problem, shop

__all__ = ["shop"]

ORDER = {"lines": [{"product_id": "p-1", "quantity": 1}], "shipping_info": SHIPPING_INFO}
_JSON = "application/json"


async def sent(shop: Shop, content: bytes, *, media_type: str | None = _JSON, path: str = "/orders") -> httpx.Response:
    """POST these bytes."""
    headers = {"Content-Type": media_type} if media_type is not None else {}
    return await shop.client.post(path, content=content, headers=shop.ann | headers)


def order_with(quantity: str = "1", product_id: str = '"p-1"', more: str = "") -> bytes:
    """An order as text, with something odd in it."""
    shipping = json.dumps(SHIPPING_INFO)
    line = f'{{"product_id": {product_id}, "quantity": {quantity}}}'
    return f'{{"lines": [{line}], "shipping_info": {shipping}{more}}}'.encode()


_BAD_BODIES = {
    "nothing": b"",
    "cut off": b'{"lines": [',
    "no object": b"[]",
    "null": b"null",
    "text": b'"orders"',
    "not UTF-8": b'{"coupon_code": "\xff"}',
    "UTF-16": '{"lines": []}'.encode("utf-16"),
    "NUL": b'{"a": "\x00"}',
    "NaN": order_with("NaN"),
    "Infinity": order_with("Infinity"),
    "-Infinity": order_with("-Infinity"),
    "1e400": order_with("1e400"),
    "1e0": order_with("1e0"),
    "2^63": order_with(str(2**63)),
    "10,000 digits": order_with("9" * 10_000),
    "zero": order_with("0"),
    "negative": order_with("-1"),
    "true": order_with("true"),
    "a query operator": order_with(product_id='{"$gt": ""}'),
    "a lone surrogate": order_with(product_id='"\\ud800"'),
    "a NUL in an id": order_with(product_id='"a\\u0000b"'),
    "a slash in an id": order_with(product_id='"a/b"'),
    "an endless id": order_with(product_id=f'"{"x" * 500_000}"'),
    "a lone surrogate as a field": order_with(more=', "\\ud800": 1'),
    "an endless field": order_with(more=f', "{"x" * 500_000}": 1'),
    "a lone surrogate as a coupon": order_with(more=', "coupon_code": "\\udfff"'),
    "a NUL as a coupon": order_with(more=', "coupon_code": "a\\u0000b"'),
    "10,000 lines": json.dumps(ORDER | {"lines": ORDER["lines"] * 10_000}).encode(),  # type: ignore[operator]
    "10,000 fields": json.dumps(ORDER | {f"f{number}": 1 for number in range(10_000)}).encode(),
    "deep nesting": b"[" * 100_000,
    "deep nesting, closed": b'{"lines": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": b'{"lines":' * 50_000,
}


class TestBadInput:
    """Each a clear 4xx with nothing written."""

    @pytest.mark.parametrize("body", _BAD_BODIES.values(), ids=_BAD_BODIES)
    @pytest.mark.parametrize("key", [None, "k"])
    async def test_in_a_body(self, shop: Shop, body: bytes, key: str | None) -> None:
        await shop.product()
        headers = shop.ann | {"Content-Type": _JSON} | ({"Idempotency-Key": key} if key else {})

        answer = await shop.client.post("/orders", content=body, headers=headers)

        assert problem(answer) == (422, "invalid-input")
        assert 1 <= len(answer.json()["errors"]) <= 51
        assert len(answer.content) < 20_000
        assert await shop.rows("SELECT 1 FROM orders") == []

    @pytest.mark.parametrize("order_id", ["%00", "a%00b", "%0a", "%7f", "x" * 101, "%ED%A0%80%0d"])
    async def test_in_a_path(self, shop: Shop, order_id: str) -> None:
        assert problem(await shop.post(f"/orders/{order_id}/cancel", {"reason": ""})) == (422, "invalid-input")

    @pytest.mark.parametrize("order_id", ["%ff", "%ED%A0%80", "'; DROP TABLE orders; --", '{"$gt": ""}', "..", "%25"])
    async def test_in_a_path_that_could_be_one(self, shop: Shop, order_id: str) -> None:
        assert problem(await shop.post(f"/orders/{order_id}/cancel", {"reason": ""}))[0] in (404, 405)

    @pytest.mark.parametrize("reason", ["\\ud800", "a\\u0000", "\\u001b[2J"])
    async def test_in_prose(self, shop: Shop, reason: str) -> None:
        body = f'{{"reason": "{reason}"}}'.encode()
        assert problem(await sent(shop, body, path="/orders/none/cancel")) == (422, "invalid-input")

    @pytest.mark.parametrize("field", ["email", "name", "password"])
    @pytest.mark.parametrize("value", ["\\ud800@example.com longer", "\\u0000@example.com longer"])
    async def test_in_a_sign_up(self, shop: Shop, field: str, value: str) -> None:
        body = {"email": "ann@example.com", "name": "Ann", "password": "correct horse"} | {field: "VALUE"}
        answer = await sent(shop, json.dumps(body).replace("VALUE", value).encode(), path="/members")

        # A password may be any text; but it must be text.
        fine = field == "password" and "0000" in value
        assert answer.status_code == (201 if fine else 422), answer.text

    @pytest.mark.parametrize("username", ["\x00", "x" * 100_000, "\udcff"])
    async def test_in_a_sign_in(self, shop: Shop, username: str) -> None:
        encoded = "".join(f"%{byte:02x}" for byte in username.encode("utf-8", "surrogatepass"))
        body = f"username={encoded}&password={encoded}".encode()
        answer = await sent(shop, body, path="/token", media_type="application/x-www-form-urlencoded")

        assert (answer.status_code, answer.json()) == (400, {"error": "invalid_grant"})

    @pytest.mark.parametrize("query", ["after=-1", f"after={2**63}", "after=1e3", "limit=0", "aggregate_id=%00"])
    async def test_in_a_query(self, shop: Shop, query: str) -> None:
        answer = await shop.client.get(f"/events?{query}", headers=shop.as_("o", "operator"))

        assert problem(answer) == (422, "invalid-input")

    @pytest.mark.parametrize(
        "media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/json", "x", None]
    )
    async def test_of_another_media_type_is_415(self, shop: Shop, media_type: str | None) -> None:
        await shop.product()

        assert problem(await sent(shop, json.dumps(ORDER).encode(), media_type=media_type)) == (
            415,
            "unsupported-media-type",
        )
        assert await shop.rows("SELECT 1 FROM orders") == []

    @pytest.mark.parametrize(
        "media_type", ["application/json; charset=utf-8", "Application/JSON", "application/x+json"]
    )
    async def test_json_may_be_called_by_each_of_its_names(self, shop: Shop, media_type: str) -> None:
        await shop.product()

        assert (await sent(shop, json.dumps(ORDER).encode(), media_type=media_type)).status_code == 201

    async def test_a_sign_in_is_a_form(self, shop: Shop) -> None:
        answer = await sent(shop, b'{"username": "a", "password": "b"}', path="/token")

        assert problem(answer) == (415, "unsupported-media-type")

    async def test_a_body_over_the_limit_is_413_declared_or_not(self, shop: Shop) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(20):
                yield b" " * 100_000

        headers = shop.ann | {"Content-Type": _JSON}
        declared = await shop.client.post("/orders", content=b" " * 1_048_577, headers=headers)
        not_declared = await shop.client.post("/orders", content=chunks(), headers=headers)
        form = await shop.client.post(
            "/token", content=chunks(), headers={"Content-Type": "application/x-www-form-urlencoded"}
        )

        assert [problem(answer) for answer in (declared, not_declared, form)] == [(413, "body-too-large")] * 3


class TestEveryAnswer:
    """Headers that do not depend on what was asked."""

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("GET", "/livez", b""),
            ("GET", "/nowhere", b""),
            ("DELETE", "/orders", b""),
            ("POST", "/orders", b"{"),
            ("POST", "/orders", b" " * 1_048_577),
        ],
    )
    async def test_is_careful(self, shop: Shop, method: str, path: str, body: bytes) -> None:
        answer = await shop.client.request(method, path, content=body, headers=shop.ann)

        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert answer.headers["cache-control"] == "no-store"
        assert len(answer.headers["x-request-id"]) == 36

    async def test_of_a_crash_too_and_tells_nothing(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        def crash(*_: Any) -> None:
            raise RuntimeError("secret")

        monkeypatch.setattr("command.unit_of_work.Transactions.begin", crash)
        shop.client._transport.raise_app_exceptions = False  # type: ignore[attr-defined]
        answer = await shop.client.post("/orders", json=ORDER, headers=shop.ann | {"X-Request-Id": "r-1"})

        assert problem(answer) == (500, "internal-error")
        assert "secret" not in answer.text
        assert (answer.headers["x-request-id"], answer.headers["cache-control"]) == ("r-1", "no-store")

    @pytest.mark.parametrize("given", ["x" * 129, "a b", 'a"b', "", "a\u00e9"])
    async def test_does_not_repeat_an_unfit_request_id(self, shop: Shop, given: str) -> None:
        answer = await shop.client.get("/livez", headers={b"X-Request-Id": given.encode("latin-1")})

        assert len(answer.headers["x-request-id"]) == 36


async def test_the_request_id_is_the_correlation_id_of_the_events(shop: Shop) -> None:
    await shop.product()
    traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    named = shop.ann | {"X-Request-Id": "r-1", "traceparent": traceparent}

    answers = [await shop.client.post("/orders", json=ORDER, headers=headers) for headers in (named, shop.ann)]

    rows = await shop.rows(
        "SELECT correlation_id, traceparent FROM outbox WHERE event_type = 'OrderPlaced' ORDER BY id"
    )
    assert [row["correlation_id"] for row in rows] == [answer.headers["x-request-id"] for answer in answers]
    assert [row["traceparent"] for row in rows] == [traceparent, None]
    assert answers[0].headers["x-request-id"] == "r-1"


@pytest.mark.parametrize("subject", ["", "a\x00b", "a\nb", "\ud800"])
async def test_a_subject_that_cannot_be_written_down_is_nobodys(shop: Shop, subject: str) -> None:
    await shop.product()

    assert problem(await shop.order(by=shop.as_(subject, "customer"))) == (401, "unauthorized")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/posts/p-1", "DELETE, PATCH"),
        ("GET", "/orders", "POST"),
        ("DELETE", "/events", "GET, HEAD"),
        ("POST", "/livez", "GET, HEAD"),
    ],
)
async def test_405_names_every_method_that_the_path_takes_also_where_several_routes_share_it(
    shop: Shop, method: str, path: str, allowed: str
) -> None:
    answer = await shop.client.request(method, path, headers=shop.staff)

    assert (problem(answer), answer.headers["allow"]) == ((405, "method-not-allowed"), allowed)
