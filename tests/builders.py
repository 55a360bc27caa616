"""Builders with defaults: a test names only what it is about."""

from datetime import UTC, datetime
from typing import Any

from command.ordering.model import Order
from events.ordering import Address, Line, Orderer, Receiver, ShippingInfo

PLACED_AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LATER = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
ORDERER = Orderer("m-1", "Ann")
SHIPPING_INFO = ShippingInfo(Receiver("Ann", "555"), Address("12345", "1 Example Street", ""), "ring twice")


def a_line(product_id: str = "p-1", *, unit_price: int = 100, quantity: int = 2, **fields: Any) -> Line:
    """A line of two pieces at 100."""
    return Line(
        product_id=product_id,
        name=fields.pop("name", "Product"),
        category=fields.pop("category", "things"),
        unit_price=unit_price,
        quantity=quantity,
        amount=unit_price * quantity,
        **fields,
    )


def an_order(order_id: str = "o-1", *lines: Line, discount_amount: int = 0) -> Order:
    """A placed order, of one line unless told otherwise."""
    return Order.place(
        order_id,
        orderer=ORDERER,
        currency="EUR",
        lines=lines or (a_line(),),
        shipping_info=SHIPPING_INFO,
        discount_amount=discount_amount,
        at=PLACED_AT,
    )
