"""The OpenAPI document tells what the calls do."""

from typing import Any

import pytest
from pydantic import SecretStr

from query.app import create_app
from runtime.settings import Settings


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    secret = SecretStr("a secret for tests alone, 32 bytes or more")
    # Nothing is asked of a store to describe an API.
    return create_app(Settings(mongo_url="mongodb://127.0.0.1:1/", jwt_secret=secret)).openapi()


def _calls(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    health = {"/livez", "/readyz", "/metrics"}
    return {path: item["get"] for path, item in document["paths"].items() if path not in health}


def test_every_call_of_the_contract_is_described(document: dict[str, Any]) -> None:
    assert set(_calls(document)) >= {
        "/orders/{order_id}",
        "/orders/{order_id}/stream",
        "/orders",
        "/statistics/sales",
        "/statistics/sales/stream",
        "/statistics/products",
        "/products",
        "/products/{product_id}",
        "/members/me",
        "/members/{member_id}",
        "/members/me/coupons",
        "/coupons",
        "/coupons/{coupon_code}",
        "/members/me/points",
        "/members/{member_id}/points",
        "/posts",
        "/posts/{post_id}",
        "/projections",
    }


def test_every_call_tells_its_answer_its_problems_and_how_to_read_ones_own_writes(document: dict[str, Any]) -> None:
    for path, call in _calls(document).items():
        content = call["responses"]["200"]["content"]
        if path.endswith("/stream"):
            assert list(content) == ["text/event-stream"], path
            assert "Last-Event-ID" in {parameter["name"] for parameter in call["parameters"]}, path
        else:
            assert "$ref" in content["application/json"]["schema"], path
        assert {"400", "422", "503"} <= set(call["responses"]), path
        assert {"Consistency-Token", "Prefer"} <= {parameter["name"] for parameter in call["parameters"]}, path
