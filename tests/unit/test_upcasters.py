"""What was published before reads as its newest version: an old log goes on."""

import json
from typing import Any

import msgspec
import pytest

from events.envelope import decode, shapes
from events.ordering import OrderCanceled, OrderPlaced, PaymentDeclined, PaymentRequested
from tests.unit.views.given import a_canceled_order, a_placed_order

ORDER: dict[str, Any] = json.loads(msgspec.json.encode(a_placed_order()))
CANCELED: dict[str, Any] = json.loads(msgspec.json.encode(a_canceled_order(was_paid=True)))
OLD = [
    ("OrderPlaced", {name: value for name, value in ORDER.items() if name != "coupon"}),
    ("PaymentRequested", {"payment_id": "pay-1", "method": "card", "amount": 200, "points": 0}),
    ("PaymentDeclined", {"payment_id": "pay-1", "reason": "no money"}),
    ("OrderCanceled", {name: value for name, value in CANCELED.items() if name not in ("coupon", "payment_id")}),
]


@pytest.mark.parametrize(("event_type", "fields"), OLD, ids=[event_type for event_type, _ in OLD])
def test_an_event_of_before_there_were_coupons_has_none(event_type: str, fields: dict[str, Any]) -> None:
    msgspec.convert(fields, shapes()[event_type, 1])  # as it was

    event = decode(event_type, 1, json.dumps(fields))

    assert isinstance(event, OrderPlaced | PaymentRequested | PaymentDeclined | OrderCanceled)
    assert event.coupon is None
    newest = json.loads(msgspec.json.encode(event))
    assert newest | fields == newest
