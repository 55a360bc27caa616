"""The order: what may happen to it, when, and what it says has happened.

```
PAYMENT_WAITING ──paid──▶ PREPARING ──▶ SHIPPED ──▶ DELIVERING ──▶ DELIVERY_COMPLETED
       └────────cancel────────┴──▶ CANCELED
```

Knows no I/O and no clock: every method is told the time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from command.aggregate import Aggregate
from command.errors import InvalidCommand, RuleBroken
from command.ordering.discount import shared_out
from events.ordering import (
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

LARGEST_TOTAL = 10**15
"""Minor units. Sums over a thousand such orders still fit the 64-bit integers of both databases."""


class OrderStatus(StrEnum):
    """Where an order stands."""

    PAYMENT_WAITING = "PAYMENT_WAITING"
    PREPARING = "PREPARING"
    SHIPPED = "SHIPPED"
    DELIVERING = "DELIVERING"
    DELIVERY_COMPLETED = "DELIVERY_COMPLETED"
    CANCELED = "CANCELED"


class PaymentStatus(StrEnum):
    """Where an order's payment stands."""

    REQUESTED = "REQUESTED"
    APPROVED = "APPROVED"
    DECLINED = "DECLINED"
    REFUND_REQUESTED = "REFUND_REQUESTED"
    REFUNDED = "REFUNDED"
    REFUND_FAILED = "REFUND_FAILED"


class AlreadyShipped(RuleBroken):
    """The order has been shipped."""


class AlreadyPaid(RuleBroken):
    """The order has been paid."""


class AlreadyCanceled(RuleBroken):
    """The order has been canceled."""


class NotPaid(RuleBroken):
    """The order has not been paid."""


class NotShipped(RuleBroken):
    """The order has not been shipped."""


class AlreadyInDelivery(RuleBroken):
    """The delivery of the order has started."""


class NotInDelivery(RuleBroken):
    """The delivery of the order has not started."""


class AlreadyDelivered(RuleBroken):
    """The order has been delivered."""


class PaymentInProgress(RuleBroken):
    """A payment for the order is in progress; try again when it is settled."""


class InsufficientPoints(RuleBroken):
    """There are not enough points."""


class AmountTooLarge(InvalidCommand):
    """The order's amount is larger than this shop can book."""


_PAST_SHIPPING = {OrderStatus.SHIPPED, OrderStatus.DELIVERING, OrderStatus.DELIVERY_COMPLETED}


@dataclass(kw_only=True)
class Payment:
    """The order's latest payment. ``amount`` is what the card was asked for, ``points`` the rest."""

    payment_id: str
    method: str
    amount: int
    points: int
    status: PaymentStatus


@dataclass(kw_only=True, eq=False)
class Order(Aggregate):
    """One order. Amounts in minor units of ``currency``; lines are as they were when it was placed."""

    orderer: Orderer
    currency: str
    lines: tuple[Line, ...]
    total_amount: int
    discount_amount: int
    shipping_info: ShippingInfo
    status: OrderStatus
    placed_at: datetime
    payment: Payment | None = None
    carrier: str | None = None
    tracking_number: str | None = None
    cancel_reason: str | None = None

    @property
    def amount_due(self) -> int:
        """What has to be paid for the order."""
        return self.total_amount - self.discount_amount

    @classmethod
    def place(
        cls,
        order_id: str,
        *,
        orderer: Orderer,
        currency: str,
        lines: Sequence[Line],
        shipping_info: ShippingInfo,
        discount_amount: int = 0,
        at: datetime,
    ) -> "Order":
        """Place an order of at least one line. Raises `AmountTooLarge`."""
        total = sum(line.amount for line in lines)
        if total > LARGEST_TOTAL:
            raise AmountTooLarge
        order = cls(
            id=order_id,
            orderer=orderer,
            currency=currency,
            lines=shared_out(discount_amount, lines),
            total_amount=total,
            discount_amount=discount_amount,
            shipping_info=shipping_info,
            status=OrderStatus.PAYMENT_WAITING,
            placed_at=at,
        )
        order.record(
            OrderPlaced(
                orderer=orderer,
                currency=currency,
                lines=order.lines,
                total_amount=total,
                discount_amount=discount_amount,
                shipping_info=shipping_info,
            ),
            at,
        )
        return order

    def request_payment(self, payment_id: str, *, method: str, points: int = 0, at: datetime) -> None:
        """Ask for the money; until the answer comes the order takes no other change."""
        self._refuse_while_paying()
        if self.status is OrderStatus.CANCELED:
            raise AlreadyCanceled
        if self.status is not OrderStatus.PAYMENT_WAITING:
            raise AlreadyPaid
        self.payment = Payment(
            payment_id=payment_id,
            method=method,
            amount=self.amount_due - points,
            points=points,
            status=PaymentStatus.REQUESTED,
        )
        self.record(
            PaymentRequested(payment_id=payment_id, method=method, amount=self.payment.amount, points=points), at
        )

    def approve_payment(self, *, at: datetime) -> None:
        """The money is there: the sale is made."""
        payment = self._payment_in(PaymentStatus.REQUESTED)
        payment.status = PaymentStatus.APPROVED
        self.status = OrderStatus.PREPARING
        self.record(
            OrderPaid(
                payment_id=payment.payment_id,
                member_id=self.orderer.member_id,
                amount=payment.amount,
                points=payment.points,
                lines=self.lines,
            ),
            at,
        )

    def decline_payment(self, reason: str, *, at: datetime) -> None:
        """The money did not come; the order can be paid again."""
        payment = self._payment_in(PaymentStatus.REQUESTED)
        payment.status = PaymentStatus.DECLINED
        self.record(PaymentDeclined(payment_id=payment.payment_id, reason=reason), at)

    def change_shipping_info(self, shipping_info: ShippingInfo, *, at: datetime) -> None:
        """Send the parcel elsewhere, as long as it has not left."""
        self._refuse_while_paying()
        self._refuse_after_shipping()
        if self.status is OrderStatus.CANCELED:
            raise AlreadyCanceled
        self.shipping_info = shipping_info
        self.record(ShippingInfoChanged(shipping_info=shipping_info), at)

    def ship(self, *, carrier: str, tracking_number: str, at: datetime) -> None:
        """Hand a paid order to the carrier."""
        self._refuse_while_paying()
        self._refuse_after_shipping()
        if self.status is OrderStatus.CANCELED:
            raise AlreadyCanceled
        if self.status is OrderStatus.PAYMENT_WAITING:
            raise NotPaid
        self.carrier, self.tracking_number = carrier, tracking_number
        self.status = OrderStatus.SHIPPED
        self.record(ShippingStarted(carrier=carrier, tracking_number=tracking_number), at)

    def start_delivery(self, *, at: datetime) -> None:
        """The parcel is out for delivery."""
        self._refuse_before_shipping()
        if self.status is not OrderStatus.SHIPPED:
            raise AlreadyInDelivery
        self.status = OrderStatus.DELIVERING
        self.record(DeliveryStarted(), at)

    def complete_delivery(self, *, at: datetime) -> None:
        """The parcel arrived."""
        self._refuse_before_shipping()
        if self.status is not OrderStatus.DELIVERING:
            raise NotInDelivery
        self.status = OrderStatus.DELIVERY_COMPLETED
        self.record(DeliveryCompleted(), at)

    def cancel(self, reason: str, *, canceled_by: str, at: datetime) -> None:
        """Call the order off, as long as it has not left; what was paid is to be refunded."""
        self._refuse_while_paying()
        self._refuse_after_shipping()
        if self.status is OrderStatus.CANCELED:
            raise AlreadyCanceled
        was_paid = self.status is OrderStatus.PREPARING
        if was_paid:
            assert self.payment is not None
            self.payment.status = PaymentStatus.REFUND_REQUESTED
        self.status = OrderStatus.CANCELED
        self.cancel_reason = reason
        self.record(
            OrderCanceled(
                reason=reason,
                canceled_by=canceled_by,
                member_id=self.orderer.member_id,
                was_paid=was_paid,
                refund_amount=self.amount_due if was_paid else 0,
                lines=self.lines,
            ),
            at,
        )

    def complete_refund(self, *, at: datetime) -> None:
        """The money went back."""
        payment = self._payment_in(PaymentStatus.REFUND_REQUESTED, PaymentStatus.REFUND_FAILED)
        payment.status = PaymentStatus.REFUNDED
        self.record(RefundCompleted(payment_id=payment.payment_id, amount=payment.amount), at)

    def fail_refund(self, reason: str, *, at: datetime) -> None:
        """The money could not be sent back."""
        payment = self._payment_in(PaymentStatus.REFUND_REQUESTED)
        payment.status = PaymentStatus.REFUND_FAILED
        self.record(RefundFailed(payment_id=payment.payment_id, amount=payment.amount, reason=reason), at)

    def _payment_in(self, *expected: PaymentStatus) -> Payment:
        if self.payment is None or self.payment.status not in expected:
            raise InvalidPaymentStep(status=self.payment.status if self.payment else None)
        return self.payment

    def _refuse_while_paying(self) -> None:
        if self.payment is not None and self.payment.status is PaymentStatus.REQUESTED:
            raise PaymentInProgress

    def _refuse_after_shipping(self) -> None:
        if self.status in _PAST_SHIPPING:
            raise AlreadyShipped

    def _refuse_before_shipping(self) -> None:
        if self.status is OrderStatus.CANCELED:
            raise AlreadyCanceled
        if self.status is OrderStatus.DELIVERY_COMPLETED:
            raise AlreadyDelivered
        if self.status not in _PAST_SHIPPING:
            raise NotShipped


class InvalidPaymentStep(RuleBroken):
    """The payment is {status}; this step does not follow from it."""
