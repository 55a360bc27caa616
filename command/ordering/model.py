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
    RECORDED,
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


class PointsExceedAmount(InvalidCommand):
    """{points} points are more than the {amount} that the order costs."""


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
    coupon: AppliedCoupon | None = None
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
        coupon: AppliedCoupon | None = None,
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
            coupon=coupon,
        )
        order.record(
            OrderPlaced(
                orderer=orderer,
                currency=currency,
                lines=order.lines,
                total_amount=total,
                discount_amount=discount_amount,
                shipping_info=shipping_info,
                coupon=coupon,
            ),
            at,
        )
        return order

    def request_payment(
        self, payment_id: str, *, method: str, points: int = 0, card_token: str | None = None, at: datetime
    ) -> None:
        """Ask for the money; until the answer comes the order takes no other change. Raises `PointsExceedAmount`."""
        self._refuse_while_paying()
        if self.status is OrderStatus.CANCELED:
            raise AlreadyCanceled
        if self.status is not OrderStatus.PAYMENT_WAITING:
            raise AlreadyPaid
        if points > self.amount_due:
            raise PointsExceedAmount(points=points, amount=self.amount_due)
        self.payment = Payment(
            payment_id=payment_id,
            method=method,
            amount=self.amount_due - points,
            points=points,
            status=PaymentStatus.REQUESTED,
        )
        self.record(
            PaymentRequested(
                payment_id=payment_id,
                member_id=self.orderer.member_id,
                method=method,
                amount=self.payment.amount,
                currency=self.currency,
                points=points,
                card_token=card_token,
                coupon=self.coupon,
            ),
            at,
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

    def decline_payment(self, reason: str, *, code: str = "card-declined", at: datetime) -> None:
        """The money did not come; the order can be paid again."""
        payment = self._payment_in(PaymentStatus.REQUESTED)
        payment.status = PaymentStatus.DECLINED
        declined = PaymentDeclined(payment_id=payment.payment_id, reason=reason, code=code, coupon=self.coupon)
        self.record(declined, at)

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
        was_paid, refunded = self.status is OrderStatus.PREPARING, None
        if was_paid:
            assert self.payment is not None
            self.payment.status = PaymentStatus.REFUND_REQUESTED
            refunded = None if self.payment.method == RECORDED else self.payment.payment_id
        self.status = OrderStatus.CANCELED
        self.cancel_reason = reason
        self.record(
            OrderCanceled(
                payment_id=refunded,
                reason=reason,
                canceled_by=canceled_by,
                member_id=self.orderer.member_id,
                was_paid=was_paid,
                refund_amount=self.amount_due if was_paid else 0,
                lines=self.lines,
                coupon=self.coupon,
            ),
            at,
        )
        if was_paid and refunded is None:
            # What was settled elsewhere is refunded elsewhere: nobody here will answer for it.
            self.complete_refund(at=at)

    def expire(self, *, at: datetime) -> None:
        """Call off an order that nobody paid for in time, also one whose payment is in progress: that is declined, and
        what it may still take is given back by whoever took it."""
        if self.is_paying:
            self.decline_payment("The order was not paid in time.", code="expired", at=at)
        self.cancel("not paid in time", canceled_by="readside", at=at)

    def awaits(self, payment_id: str) -> bool:
        """Whether this payment's answer is what the order waits for: a late one of another changes nothing."""
        return self.payment is not None and self.payment.payment_id == payment_id and self.is_paying

    def awaits_refund_of(self, payment_id: str) -> bool:
        """Whether the order was canceled and this payment has still to go back."""
        return (
            self.payment is not None
            and self.payment.payment_id == payment_id
            and self.payment.status in (PaymentStatus.REFUND_REQUESTED, PaymentStatus.REFUND_FAILED)
        )

    @property
    def is_paying(self) -> bool:
        """Whether a payment is under way: the semantic lock that every other change respects."""
        return self.payment is not None and self.payment.status is PaymentStatus.REQUESTED

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
        if self.is_paying:
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
