"""The order of a placing benchmark: what is chosen, and the rows and the event that every way by hand writes of it."""

import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec

from events.ordering import Address, Line, Orderer, OrderPlaced, Receiver, ShippingInfo
from runtime.ids import new_id

PRODUCTS = 4_000
"""So many that two orders seldom wait for each other's stock."""
LINES = 3

MEMBER_ID = "bench-member"
SHIPPING = ShippingInfo(Receiver("Ann", "555-0100"), Address("12345", "1 Example Street", ""), "ring twice")
SHIPPING_COLUMNS = {
    "receiver_name": SHIPPING.receiver.name,
    "receiver_phone": SHIPPING.receiver.phone,
    "zip_code": SHIPPING.address.zip_code,
    "address1": SHIPPING.address.address1,
    "address2": SHIPPING.address.address2,
    "message": SHIPPING.message,
}
Place = Callable[[list[str]], Awaitable[object]]


def chosen(rng: random.Random) -> list[str]:
    """Three products, in the order in which everybody locks their stock."""
    return sorted(f"p-{number}" for number in rng.sample(range(1, PRODUCTS + 1), LINES))


def event_of(product_ids: list[str], found: Any, name: str) -> tuple[str, datetime, str, list[Line]]:
    def of(product_id: str) -> Line:
        row = found[product_id]
        named = row if isinstance(row, asyncpg.Record) else row.__dict__ if hasattr(row, "__dict__") else row._mapping
        price = named["unit_price"]
        return Line(product_id, named["name"], named["category"], price, 1, price)

    lines = [of(product_id) for product_id in product_ids]
    event = OrderPlaced(
        orderer=Orderer(MEMBER_ID, name),
        currency="USD",
        lines=tuple(lines),
        total_amount=sum(line.amount for line in lines),
        discount_amount=0,
        shipping_info=SHIPPING,
    )
    return new_id(), datetime.now(UTC), msgspec.json.encode(event).decode(), lines


def order_values(order_id: str, name: str, at: datetime, lines: list[Line]) -> tuple[Any, ...]:
    total = sum(line.amount for line in lines)
    return (order_id, MEMBER_ID, name, total, *SHIPPING_COLUMNS.values(), at)


def rows_of(
    product_ids: list[str], found: Any, name: str | None
) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]:
    assert name is not None
    order_id, at, payload, lines = event_of(product_ids, found, name)
    order = {
        "order_id": order_id,
        "version": 1,
        "status": "PAYMENT_WAITING",
        "member_id": MEMBER_ID,
        "orderer_name": name,
        "currency": "USD",
        "total_amount": sum(line.amount for line in lines),
        "discount_amount": 0,
        **SHIPPING_COLUMNS,
        "placed_at": at,
    }
    held = [
        {
            "order_id": order_id,
            "line_number": number,
            "product_id": line.product_id,
            "name": line.name,
            "category": line.category,
            "unit_price": line.unit_price,
            "quantity": line.quantity,
            "amount": line.amount,
            "discount": 0,
        }
        for number, line in enumerate(lines, 1)
    ]
    return order, held, {"event_id": new_id(), "order_id": order_id, "at": at, "payload": payload}
