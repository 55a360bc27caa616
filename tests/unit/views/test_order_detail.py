"""Order detail: what every event of an order changes, and that it changes nothing else."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from events.envelope import DomainEvent
from events.ordering import (
    AppliedCoupon,
    DeliveryCompleted,
    DeliveryStarted,
    PaymentDeclined,
    PaymentRequested,
    RefundCompleted,
    RefundFailed,
    ShippingInfoChanged,
    ShippingStarted,
)
from tests.builders import ORDERER, SHIPPING_INFO, a_line
from tests.unit.views.given import (
    STAMP,
    a_canceled_order,
    a_paid_order,
    a_placed_order,
    given,
    happened,
)
from views.order_detail import Cancellation, Payment, Refund, Shipment, Step, view

ELSEWHERE = msgspec.structs.replace(SHIPPING_INFO, message="leave it with the neighbours")


def requested(payment_id: str = "pay-1", *, amount: int = 200, points: int = 0) -> PaymentRequested:
    """By card, unless points are named."""
    return PaymentRequested(
        payment_id=payment_id, member_id="m-1", method="card", amount=amount, currency="EUR", points=points
    )


REQUESTED = requested()
SHIPPED = ShippingStarted(carrier="Snail", tracking_number="S-1")
PLACED = {
    "currency": "EUR",
    "orderer": ORDERER,
    "lines": (a_line(),),
    "total_amount": 200,
    "payment_amount": 200,
    "shipping_info": SHIPPING_INFO,
    "placed_at": STAMP,
    "updated_at": STAMP,
}
PAYMENT = Payment(
    payment_id="pay-1", method="card", status="REQUESTED", amount=200, points=0, requested_at=STAMP, approved_at=None
)
APPROVED = msgspec.structs.replace(PAYMENT, status="APPROVED", approved_at=STAMP)
SHIPMENT = Shipment(carrier="Snail", tracking_number="S-1", shipped_at=STAMP)
CANCELLATION = Cancellation(reason="changed my mind", canceled_by="m-1", canceled_at=STAMP)
REFUND = Refund(status="REFUND_REQUESTED", amount=200, requested_at=STAMP)

PAID_ORDER: tuple[DomainEvent, ...] = (a_placed_order(), REQUESTED, a_paid_order())
SHIPPED_ORDER = (*PAID_ORDER, SHIPPED)
CANCELED_ORDER = (*PAID_ORDER, a_canceled_order(was_paid=True))


def stage(events: Sequence[DomainEvent], **fields: Any) -> dict[str, Any]:
    """What every order has after these events, and these fields."""
    timeline = tuple(Step(type(event).__name__, STAMP) for event in events)
    return PLACED | {"version": len(events), "timeline": timeline} | fields


STAGES: dict[str, tuple[tuple[DomainEvent, ...], dict[str, Any]]] = {
    "placed": ((a_placed_order(),), {"status": "PAYMENT_WAITING"}),
    "payment requested": ((a_placed_order(), REQUESTED), {"payment": PAYMENT}),
    "paid": (PAID_ORDER, {"status": "PREPARING", "payment": APPROVED, "stock_status": "SOLD"}),
    "redirected": ((a_placed_order(), ShippingInfoChanged(shipping_info=ELSEWHERE)), {"shipping_info": ELSEWHERE}),
    "shipped": (
        SHIPPED_ORDER,
        {"status": "SHIPPED", "payment": APPROVED, "shipment": SHIPMENT, "stock_status": "SOLD"},
    ),
    "in delivery": (
        (*SHIPPED_ORDER, DeliveryStarted()),
        {
            "status": "DELIVERING",
            "payment": APPROVED,
            "stock_status": "SOLD",
            "shipment": msgspec.structs.replace(SHIPMENT, delivery_started_at=STAMP),
        },
    ),
    "delivered": (
        (*SHIPPED_ORDER, DeliveryStarted(), DeliveryCompleted()),
        {
            "status": "DELIVERY_COMPLETED",
            "payment": APPROVED,
            "stock_status": "SOLD",
            "shipment": msgspec.structs.replace(SHIPMENT, delivery_started_at=STAMP, delivered_at=STAMP),
        },
    ),
    "canceled before it was paid": (
        (a_placed_order(), a_canceled_order(was_paid=False)),
        {"status": "CANCELED", "cancellation": CANCELLATION, "stock_status": "RELEASED"},
    ),
    "canceled after it was paid": (
        CANCELED_ORDER,
        {
            "status": "CANCELED",
            "cancellation": CANCELLATION,
            "stock_status": "RELEASED",
            "payment": msgspec.structs.replace(APPROVED, status="REFUND_REQUESTED"),
            "refund": REFUND,
        },
    ),
    "refunded": (
        (*CANCELED_ORDER, RefundCompleted(payment_id="pay-1", amount=200)),
        {
            "status": "CANCELED",
            "cancellation": CANCELLATION,
            "stock_status": "RELEASED",
            "payment": msgspec.structs.replace(APPROVED, status="REFUNDED"),
            "refund": msgspec.structs.replace(REFUND, status="REFUNDED", settled_at=STAMP),
        },
    ),
    "refund failed": (
        (*CANCELED_ORDER, RefundFailed(payment_id="pay-1", amount=200, reason="account closed")),
        {
            "status": "CANCELED",
            "cancellation": CANCELLATION,
            "stock_status": "RELEASED",
            "payment": msgspec.structs.replace(APPROVED, status="REFUND_FAILED"),
            "refund": msgspec.structs.replace(
                REFUND, status="REFUND_FAILED", settled_at=STAMP, failure="account closed"
            ),
        },
    ),
}


@pytest.mark.parametrize(("events", "fields"), STAGES.values(), ids=STAGES.keys())
def test_an_order_shows_how_far_it_has_come(events: tuple[DomainEvent, ...], fields: dict[str, Any]) -> None:
    given(view, *events).then("o-1", **stage(events, **fields))


def test_the_discount_lowers_what_is_to_be_paid_and_not_the_total() -> None:
    line = a_line(discount=30)

    order = given(view, a_placed_order(line, discount_amount=30)).documents["o-1"]

    assert (order.total_amount, order.discount_amount, order.payment_amount) == (200, 30, 170)


def test_a_declined_payment_frees_its_points_and_can_be_paid_again() -> None:
    first = requested(amount=150, points=50)
    declined = PaymentDeclined(payment_id="pay-1", reason="no cover")
    again = requested("pay-2")
    refused = msgspec.structs.replace(
        PAYMENT,
        status="DECLINED",
        amount=150,
        points=50,
        declined_at=STAMP,
        decline_code="card-declined",
        decline_reason="no cover",
    )
    events = (a_placed_order(), first, declined)

    given(view, *events).then(
        "o-1", **stage(events, payment=refused, points_used=0, payment_amount=200, points_status="RETURNED")
    )
    given(view, *events, again).then(
        "o-1", **stage((*events, again), payment=msgspec.structs.replace(PAYMENT, payment_id="pay-2"))
    )


@pytest.mark.parametrize(
    ("after", "status"),
    [
        ((), "REQUESTED"),
        ((a_paid_order(points=50),), "USED"),
        ((PaymentDeclined(payment_id="pay-1", reason="", code="card-declined"),), "RETURNED"),
        ((PaymentDeclined(payment_id="pay-1", reason="", code="insufficient-points"),), "REJECTED"),
        ((a_paid_order(points=50), a_canceled_order(was_paid=True)), "RETURN_REQUESTED"),
        (
            (
                a_paid_order(points=50),
                a_canceled_order(was_paid=True),
                RefundCompleted(payment_id="pay-1", amount=150),
            ),
            "RETURNED",
        ),
    ],
)
def test_what_became_of_the_points_is_told(after: tuple[DomainEvent, ...], status: str) -> None:
    order = given(view, a_placed_order(), requested(amount=150, points=50), *after).documents["o-1"]

    assert order.points_status == status


def test_a_coupon_is_given_back_by_a_declined_payment_and_taken_again_by_the_next() -> None:
    placed = msgspec.structs.replace(a_placed_order(), coupon=AppliedCoupon("c-1", "SPRING"))
    declined = PaymentDeclined(payment_id="pay-1", reason="no cover")
    lives = ((placed,), (placed, REQUESTED, declined), (placed, REQUESTED, declined, requested("pay-2")))
    canceled = (placed, a_canceled_order(was_paid=False))

    found = [given(view, *events).documents["o-1"].coupon_status for events in (*lives, canceled)]

    assert found == ["USED", "RETURNED", "USED", "RETURNED"]


def test_points_lower_what_the_card_pays_and_nothing_else() -> None:
    order = given(
        view,
        a_placed_order(),
        requested(amount=150, points=50),
        a_paid_order(points=50),
    ).documents["o-1"]

    assert (order.total_amount, order.points_used, order.payment_amount) == (200, 50, 150)


def test_a_product_on_two_lines_stays_two_lines() -> None:
    lines = (a_line(quantity=1), a_line(quantity=3))

    assert given(view, a_placed_order(*lines)).documents["o-1"].lines == lines


def test_every_step_carries_its_own_time() -> None:
    later = datetime(2026, 3, 3, 23, 59, 59, 1, tzinfo=UTC)

    order = given(view, a_placed_order(), happened(REQUESTED, at=later)).documents["o-1"]

    assert order.placed_at == STAMP
    assert order.updated_at == order.timeline[-1].at == "2026-03-03T23:59:59.000001Z"


def test_orders_do_not_touch_each_other() -> None:
    after = given(
        view, happened(a_placed_order(), "o-1"), happened(a_placed_order(), "o-2"), happened(REQUESTED, "o-2")
    )

    after.then("o-1", **stage((a_placed_order(),)))
    after.then_only("o-1", "o-2")


@pytest.mark.parametrize("event", [a_paid_order(), DeliveryStarted(), RefundCompleted(payment_id="pay-1", amount=1)])
def test_a_step_that_follows_from_nothing_is_refused_and_not_guessed(event: DomainEvent) -> None:
    with pytest.raises(AssertionError):
        given(view, a_placed_order(), event)
