"""Events of the ordering context: one order from placing to delivery, its payment, its cancellation.

Money is in minor units of ``currency``. An event carries what its readers need, so that no view ever has to look up
the order: `OrderPaid` and `OrderCanceled` repeat the lines.
"""

from typing import Annotated

import msgspec

from events.envelope import DomainEvent, published
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


@published("order")
class OrderPlaced(DomainEvent, frozen=True, kw_only=True):
    """An order was placed, at the prices of this moment; its stock is reserved."""

    orderer: Orderer
    currency: str
    lines: tuple[Line, ...]
    total_amount: Minor
    discount_amount: Minor
    shipping_info: ShippingInfo


@published("order")
class PaymentRequested(DomainEvent, frozen=True, kw_only=True):
    """A payment was asked for; until it is settled the order takes no other change."""

    payment_id: str
    method: str
    amount: Minor
    points: Minor = 0


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
    """The payment was refused; the order can be paid again."""

    payment_id: str
    reason: str


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
    """The order was called off; its stock is free again. ``refund_amount`` is what had been paid, else 0."""

    reason: str
    canceled_by: str
    member_id: str
    was_paid: bool
    refund_amount: Minor
    lines: tuple[Line, ...]


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
