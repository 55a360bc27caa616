"""Events of the ordering context: one order from placing to delivery, its payment, its cancellation.

Money is in minor units of ``currency``. An event carries what its readers need, so that no view ever has to look up
the order: `OrderPaid` and `OrderCanceled` repeat the lines.
"""

from typing import Annotated, Any, ClassVar

import msgspec

from events.envelope import DomainEvent, published, upcaster
from events.values import Value

PositiveInt = Annotated[int, msgspec.Meta(ge=1)]
Minor = Annotated[int, msgspec.Meta(ge=0)]


class Orderer(Value, frozen=True):
    """Who ordered, named as at that moment."""

    member_id: str
    name: str


class Line(Value, frozen=True):
    """One line of an order. ``amount`` is ``unit_price * quantity``; ``discount`` its share of the order's."""

    product_id: str
    name: str
    category: str
    unit_price: Minor
    quantity: PositiveInt
    amount: Minor
    discount: Minor = 0


class Receiver(Value, frozen=True):
    """Who takes the parcel."""

    name: str
    phone: str


class Address(Value, frozen=True):
    """Where the parcel goes."""

    zip_code: str
    address1: str
    address2: str


class ShippingInfo(Value, frozen=True):
    """Where, to whom, and a word to the carrier."""

    receiver: Receiver
    address: Address
    message: str = ""


RECORDED = "recorded"
"""The ``method`` of a payment that was settled outside of this shop and is only noted here: an import's, a demo's. Its
`OrderPaid` follows at once, and no context asks anybody for its money."""


class AppliedCoupon(Value, frozen=True):
    """The coupon that an order's discount comes from: the member's own, and the code that it was issued under."""

    coupon_id: str
    coupon_code: str


@published("order")
class OrderPlaced(DomainEvent, frozen=True, kw_only=True):
    """An order was placed, at the prices of this moment; its stock is reserved, and its coupon, if any, is used."""

    schema_version: ClassVar[int] = 2

    orderer: Orderer
    currency: str
    lines: tuple[Line, ...]
    total_amount: Minor
    discount_amount: Minor
    shipping_info: ShippingInfo
    coupon: AppliedCoupon | None = None


@published("order")
class PaymentRequested(DomainEvent, frozen=True, kw_only=True):
    """A payment was asked for; until it is settled the order takes no other change.

    ``amount`` is asked of the card, ``points`` of the member's account. ``card_token`` is the gateway's name for the
    card: worth nothing without the shop's own credentials. ``method``: ``card``, ``points`` or `RECORDED`.
    ``coupon`` is the order's; where a declined payment had given it back, it is used again.
    """

    schema_version: ClassVar[int] = 2

    payment_id: str
    member_id: str
    method: str
    amount: Minor
    currency: str
    points: Minor = 0
    card_token: str | None = None
    coupon: AppliedCoupon | None = None


@published("order")
class OrderPaid(DomainEvent, frozen=True, kw_only=True):
    """The payment was approved: this is the sale."""

    payment_id: str
    member_id: str
    amount: Minor
    points: Minor
    lines: tuple[Line, ...]


@published("order")
class PaymentDeclined(DomainEvent, frozen=True, kw_only=True):
    """The payment was refused, and whatever it had taken is given back; the order can be paid again.

    ``code`` is for programs (``card-declined``, ``insufficient-points``, ``gateway-unavailable``, ``expired``, …),
    ``reason`` for people. ``coupon`` is the order's, if it has one.
    """

    schema_version: ClassVar[int] = 2

    payment_id: str
    reason: str
    code: str = "card-declined"
    coupon: AppliedCoupon | None = None


@published("order")
class ShippingInfoChanged(DomainEvent, frozen=True, kw_only=True):
    """The parcel goes elsewhere."""

    shipping_info: ShippingInfo


@published("order")
class ShippingStarted(DomainEvent, frozen=True, kw_only=True):
    """The parcel was handed to the carrier."""

    carrier: str
    tracking_number: str


@published("order")
class DeliveryStarted(DomainEvent, frozen=True, kw_only=True):
    """The parcel is out for delivery."""


@published("order")
class DeliveryCompleted(DomainEvent, frozen=True, kw_only=True):
    """The parcel arrived."""


@published("order")
class OrderCanceled(DomainEvent, frozen=True, kw_only=True):
    """The order was called off; its stock is free again. ``refund_amount`` is what had been paid, else 0.

    ``payment_id`` is that of the payment to be refunded by this shop; none where there is none, or where the payment
    was settled elsewhere. ``coupon`` is the order's, if it has one.
    """

    schema_version: ClassVar[int] = 2

    payment_id: str | None = None
    reason: str
    canceled_by: str
    member_id: str
    was_paid: bool
    refund_amount: Minor
    lines: tuple[Line, ...]
    coupon: AppliedCoupon | None = None


@published("order")
class RefundCompleted(DomainEvent, frozen=True, kw_only=True):
    """The money of a canceled order went back."""

    payment_id: str
    amount: Minor


@published("order")
class RefundFailed(DomainEvent, frozen=True, kw_only=True):
    """The money of a canceled order could not be sent back; somebody has to look."""

    payment_id: str
    amount: Minor
    reason: str


class OrderPlacedV1(Value, frozen=True, kw_only=True):
    """Before there were coupons."""

    orderer: Orderer
    currency: str
    lines: tuple[Line, ...]
    total_amount: Minor
    discount_amount: Minor
    shipping_info: ShippingInfo


class PaymentRequestedV1(Value, frozen=True, kw_only=True):
    """Before payments were a context of their own: all of these were settled in the transaction that asked."""

    payment_id: str
    method: str
    amount: Minor
    points: Minor = 0


class PaymentDeclinedV1(Value, frozen=True, kw_only=True):
    """Before there was more than one way to be refused."""

    payment_id: str
    reason: str


class OrderCanceledV1(Value, frozen=True, kw_only=True):
    """Before refunds were asked for: all of these were refunded in the transaction that canceled."""

    reason: str
    canceled_by: str
    member_id: str
    was_paid: bool
    refund_amount: Minor
    lines: tuple[Line, ...]


@upcaster("OrderPlaced", 1, shape=OrderPlacedV1)
def _without_coupon(fields: dict[str, Any]) -> dict[str, Any]:
    return fields | {"coupon": None}


@upcaster("PaymentRequested", 1, shape=PaymentRequestedV1)
def _settled_at_once(fields: dict[str, Any]) -> dict[str, Any]:
    return fields | {"member_id": "", "currency": "", "card_token": None, "coupon": None}


@upcaster("PaymentDeclined", 1, shape=PaymentDeclinedV1)
def _declined_by_the_card(fields: dict[str, Any]) -> dict[str, Any]:
    return fields | {"code": "card-declined", "coupon": None}


@upcaster("OrderCanceled", 1, shape=OrderCanceledV1)
def _nothing_to_refund(fields: dict[str, Any]) -> dict[str, Any]:
    return fields | {"payment_id": None, "coupon": None}
