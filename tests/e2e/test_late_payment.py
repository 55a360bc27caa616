"""A payment that is approved after its order has expired, through a whole shop: the money goes back."""

import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from runtime.settings import Settings
from runtime.tokens import Tokens, secret_of
from tests.e2e.stack import Stack, wait_for

SHIPPING = {"receiver": {"name": "Ann", "phone": "1"}, "address": {"zip_code": "1", "address1": "1 Example Street"}}


@pytest.mark.slow
def test_a_payment_that_is_approved_after_its_order_expired_is_refunded(tmp_path: Path) -> None:
    with Stack(tmp_path / "data", environment={"READSIDE_PAYMENT_DEADLINE_SECONDS": "1"}) as stack:
        run = stack.until_ready()
        assert run.payment_gateway_url is not None
        secret = SecretStr(secret_of(stack.data_dir) or "")
        token = Tokens(Settings(jwt_secret=secret)).issue("ann", ["customer", "staff"])
        headers = {"Authorization": f"Bearer {token}"}
        with (
            httpx.Client(base_url=f"http://127.0.0.1:{run.command_port}", headers=headers, timeout=30) as commands,
            httpx.Client(base_url=f"http://127.0.0.1:{run.query_port}", headers=headers, timeout=30) as queries,
            httpx.Client(base_url=run.payment_gateway_url, timeout=30) as gateway,
        ):
            pen = {"product_id": "pen", "name": "Pen", "category": "pens", "unit_price": 250, "stock": 10}
            commands.post("/products", json=pen).raise_for_status()
            order = {"lines": [{"product_id": "pen", "quantity": 1}], "shipping_info": SHIPPING}
            order_id = commands.post("/orders", json=order).json()["order_id"]
            # The job looks every five seconds; the card takes eight.
            payment = {"method": "card", "card_token": "tok_slow_8"}
            assert commands.post(f"/orders/{order_id}/pay", json=payment).status_code == 202
            paid_at = time.monotonic()

            def order_is(status: str) -> Callable[[], bool]:
                return lambda: queries.get(f"/orders/{order_id}").json().get("status") == status

            wait_for(order_is("CANCELED"), "the order to expire")
            expired = queries.get(f"/orders/{order_id}").json()
            payment_id = expired["payment"]["payment_id"]

            def refunded() -> bool:
                charges = gateway.get("/charges", params={"payment_id": payment_id}).json()["items"]
                return bool(charges) and charges[0]["status"] == "refunded"

            wait_for(refunded, "the gateway to have sent the money back")
            assert time.monotonic() - paid_at > 8
        assert [step["event"] for step in expired["timeline"]] == [
            "OrderPlaced",
            "PaymentRequested",
            "PaymentDeclined",
            "OrderCanceled",
        ]
        assert (expired["payment"]["status"], expired["payment"]["decline_code"]) == ("DECLINED", "expired")
        assert expired["stock_status"] == "RELEASED"
