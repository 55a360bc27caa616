"""Order detail: everything to know about one order, in one document; order lists read it too.

Shape:   one document per order, see `OrderDetail`; times are RFC 3339 strings of fixed width, so that they sort.
Units:   money in minor units of ``currency``; ``payment_amount`` is what is left after discount and points.
Source:  every event of the order; ``version`` is the version of the last. What other contexts did for it (stock,
         coupon, points) is told by the order's own events too, which follow from theirs: so a document is one
         aggregate's, which needs no look before its first event.
"""

from typing import TypeVar

import msgspec

from events.envelope import Envelope
from events.ordering import (
    AppliedCoupon,
    DeliveryCompleted,
    DeliveryStarted,
    Line,
    OrderCanceled,
    Orderer,
    OrderPaid,
    OrderPlaced,
    PaymentDeclined,
    PaymentRequested,
    RefundCompleted,
    RefundFailed,
    ShippingInfo,
    ShippingInfoChanged,
    ShippingStarted,
)
from events.values import Value
from views.kit import Document, Index, Projection
from views.times import rfc3339

S = TypeVar("S", bound=Value)


class Payment(Value, frozen=True, kw_only=True):
    """The latest payment."""

    payment_id: str
    method: str
    status: str
    amount: int
    points: int
    requested_at: str
    approved_at: str | None = None
    declined_at: str | None = None
    decline_code: str | None = None
    decline_reason: str | None = None


class Shipment(Value, frozen=True, kw_only=True):
    """Where the parcel is."""

    carrier: str
    tracking_number: str
    shipped_at: str
    delivery_started_at: str | None = None
    delivered_at: str | None = None


class Cancellation(Value, frozen=True, kw_only=True):
    """Why and when the order was called off."""

    reason: str
    canceled_by: str
    canceled_at: str


class Refund(Value, frozen=True, kw_only=True):
    """What goes back of what was paid."""

    status: str
    amount: int
    requested_at: str
    settled_at: str | None = None
    failure: str | None = None


class Step(Value, frozen=True):
    """One entry of the timeline."""

    event: str
    at: str


class OrderDetail(Document, frozen=True, kw_only=True):
    """The order as its buyer and its seller see it.

    ``stock_status``: RESERVED, SOLD once it is paid, RELEASED. ``coupon_status``: USED, RETURNED. ``points_status``:
    REQUESTED, USED, REJECTED, RETURN_REQUESTED, RETURNED. None where there is no coupon, or where no points are asked.
    """

    status: str = "PAYMENT_WAITING"
    version: int = 0
    currency: str = ""
    orderer: Orderer = Orderer("", "")
    lines: tuple[Line, ...] = ()
    total_amount: int = 0
    discount_amount: int = 0
    points_used: int = 0
    payment_amount: int = 0
    coupon: AppliedCoupon | None = None
    stock_status: str = "RESERVED"
    coupon_status: str | None = None
    points_status: str | None = None
    payment: Payment | None = None
    shipment: Shipment | None = None
    cancellation: Cancellation | None = None
    refund: Refund | None = None
    shipping_info: ShippingInfo | None = None
    timeline: tuple[Step, ...] = ()
    placed_at: str = ""
    updated_at: str = ""


_newest_first = (("placed_at", -1), ("_id", -1))

view = Projection(
    OrderDetail,
    name="order_detail",
    version=2,
    indexes=(
        Index(_newest_first),
        Index((("status", 1), *_newest_first)),
        Index((("orderer.member_id", 1), *_newest_first)),
        Index((("orderer.member_id", 1), ("status", 1), *_newest_first)),
    ),
)


@view.on(OrderPlaced)
def place(order: OrderDetail, event: OrderPlaced, envelope: Envelope) -> OrderDetail:
    """The order as it was placed; its lines stay as they are."""
    return _after(
        order,
        envelope,
        currency=event.currency,
        orderer=event.orderer,
        lines=event.lines,
        total_amount=event.total_amount,
        discount_amount=event.discount_amount,
        payment_amount=event.total_amount - event.discount_amount,
        shipping_info=event.shipping_info,
        coupon=event.coupon,
        coupon_status="USED" if event.coupon else None,
        placed_at=rfc3339(envelope.occurred_at),
    )


@view.on(PaymentRequested)
def request_payment(order: OrderDetail, event: PaymentRequested, envelope: Envelope) -> OrderDetail:
    """A payment is in progress."""
    payment = Payment(
        payment_id=event.payment_id,
        method=event.method,
        status="REQUESTED",
        amount=event.amount,
        points=event.points,
        requested_at=rfc3339(envelope.occurred_at),
    )
    return _after(
        order,
        envelope,
        payment=payment,
        points_used=event.points,
        payment_amount=event.amount,
        points_status="REQUESTED" if event.points else None,
        # A declined payment had given it back; whoever pays again takes it again.
        coupon_status="USED" if order.coupon else None,
    )


@view.on(OrderPaid)
def pay(order: OrderDetail, event: OrderPaid, envelope: Envelope) -> OrderDetail:
    """The payment was approved."""
    at = rfc3339(envelope.occurred_at)
    return _after(
        order,
        envelope,
        status="PREPARING",
        payment=_with(order.payment, status="APPROVED", approved_at=at),
        stock_status="SOLD",
        points_status="USED" if event.points else None,
    )


@view.on(PaymentDeclined)
def decline(order: OrderDetail, event: PaymentDeclined, envelope: Envelope) -> OrderDetail:
    """The payment was refused, and its points are free again."""
    at = rfc3339(envelope.occurred_at)
    payment = _with(
        order.payment, status="DECLINED", declined_at=at, decline_code=event.code, decline_reason=event.reason
    )
    points_status = "REJECTED" if event.code == "insufficient-points" else "RETURNED"
    return _after(
        order,
        envelope,
        payment=payment,
        points_used=0,
        payment_amount=order.total_amount - order.discount_amount,
        points_status=points_status if payment.points else None,
        coupon_status="RETURNED" if order.coupon else None,
    )


@view.on(ShippingInfoChanged)
def redirect(order: OrderDetail, event: ShippingInfoChanged, envelope: Envelope) -> OrderDetail:
    """The parcel goes elsewhere."""
    return _after(order, envelope, shipping_info=event.shipping_info)


@view.on(ShippingStarted)
def ship(order: OrderDetail, event: ShippingStarted, envelope: Envelope) -> OrderDetail:
    """The parcel left."""
    shipment = Shipment(
        carrier=event.carrier,
        tracking_number=event.tracking_number,
        shipped_at=rfc3339(envelope.occurred_at),
    )
    return _after(order, envelope, status="SHIPPED", shipment=shipment)


@view.on(DeliveryStarted)
def start_delivery(order: OrderDetail, event: DeliveryStarted, envelope: Envelope) -> OrderDetail:
    """The parcel is out for delivery."""
    at = rfc3339(envelope.occurred_at)
    return _after(order, envelope, status="DELIVERING", shipment=_with(order.shipment, delivery_started_at=at))


@view.on(DeliveryCompleted)
def complete_delivery(order: OrderDetail, event: DeliveryCompleted, envelope: Envelope) -> OrderDetail:
    """The parcel arrived."""
    at = rfc3339(envelope.occurred_at)
    shipment = _with(order.shipment, delivered_at=at)
    return _after(order, envelope, status="DELIVERY_COMPLETED", shipment=shipment)


@view.on(OrderCanceled)
def cancel(order: OrderDetail, event: OrderCanceled, envelope: Envelope) -> OrderDetail:
    """The order was called off; what was paid is to go back."""
    at = rfc3339(envelope.occurred_at)
    canceled = msgspec.structs.replace(
        order,
        status="CANCELED",
        cancellation=Cancellation(reason=event.reason, canceled_by=event.canceled_by, canceled_at=at),
        stock_status="RELEASED",
        coupon_status="RETURNED" if order.coupon else None,
    )
    if not event.was_paid:
        return _after(canceled, envelope)
    return _after(
        canceled,
        envelope,
        points_status="RETURN_REQUESTED" if order.points_status else None,
        payment=_with(order.payment, status="REFUND_REQUESTED"),
        refund=Refund(status="REFUND_REQUESTED", amount=event.refund_amount, requested_at=at),
    )


@view.on(RefundCompleted)
def complete_refund(order: OrderDetail, event: RefundCompleted, envelope: Envelope) -> OrderDetail:
    """The money went back."""
    returned = msgspec.structs.replace(order, points_status="RETURNED" if order.points_status else None)
    return _refunded(returned, envelope, status="REFUNDED")


@view.on(RefundFailed)
def fail_refund(order: OrderDetail, event: RefundFailed, envelope: Envelope) -> OrderDetail:
    """The money could not be sent back."""
    return _refunded(order, envelope, status="REFUND_FAILED", failure=event.reason)


def _refunded(order: OrderDetail, envelope: Envelope, status: str, failure: str | None = None) -> OrderDetail:
    at = rfc3339(envelope.occurred_at)
    return _after(
        order,
        envelope,
        payment=_with(order.payment, status=status),
        refund=_with(order.refund, status=status, settled_at=at, failure=failure),
    )


def _after(order: OrderDetail, envelope: Envelope, **changes: object) -> OrderDetail:
    at = rfc3339(envelope.occurred_at)
    return msgspec.structs.replace(
        order,
        version=envelope.aggregate_version,
        timeline=(*order.timeline, Step(envelope.event_type, at)),
        updated_at=at,
        **changes,
    )


def _with(value: S | None, **changes: object) -> S:
    # A step that follows from nothing is a log that cannot be: let it fail, and be seen.
    assert value is not None
    return msgspec.structs.replace(value, **changes)
