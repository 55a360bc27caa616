"""The payment: what the card gateway made of it, and whether that was undone.

```
OPEN ──▶ CAPTURED ──▶ REFUNDED
 │           └──▶ REFUND_FAILED ──▶ REFUNDED
 └────▶ FAILED (uncertain until it is voided)
```

Beside it stands the saga's record, `Saga`: what was asked for, and whether it was rolled back meanwhile. Every step
looks there first. Knows no I/O and no clock.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from command.aggregate import Aggregate
from events.payments import PaymentCaptured, PaymentFailed, PaymentRefunded, PaymentRefundFailed, PaymentVoided


class PaymentStatus(StrEnum):
    """Where a payment stands."""

    OPEN = "OPEN"
    CAPTURED = "CAPTURED"
    FAILED = "FAILED"
    REFUNDED = "REFUNDED"
    REFUND_FAILED = "REFUND_FAILED"


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What an order asked for. ``amount`` of the card, in minor units; ``points`` had to be taken before."""

    payment_id: str
    order_id: str
    member_id: str
    amount: int
    currency: str
    points: int
    card_token: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Saga:
    """The record of one payment's saga.

    ``asked``: none where the payment was rolled back before this context had even heard of it. ``unanswered`` counts
    the questions to the gateway of which nobody knows what became: more than none, and it may have charged.
    """

    asked: Asked | None
    unanswered: int
    is_rolled_back: bool


@dataclass(kw_only=True, eq=False)
class Payment(Aggregate):
    """One payment. An open one has recorded nothing yet: it is in no table but the saga's."""

    order_id: str
    member_id: str
    amount: int
    currency: str
    points: int
    status: PaymentStatus = PaymentStatus.OPEN
    charge_id: str | None = None
    is_uncertain: bool = False

    @classmethod
    def open(cls, asked: Asked) -> "Payment":
        """A payment that nothing has happened to."""
        return cls(
            id=asked.payment_id,
            order_id=asked.order_id,
            member_id=asked.member_id,
            amount=asked.amount,
            currency=asked.currency,
            points=asked.points,
        )

    @property
    def is_open(self) -> bool:
        """Whether its answer has still to come."""
        return self.status is PaymentStatus.OPEN

    @property
    def is_refundable(self) -> bool:
        """Whether there is money that could go back."""
        return self.status in (PaymentStatus.CAPTURED, PaymentStatus.REFUND_FAILED)

    @property
    def may_be_charged(self) -> bool:
        """Whether it failed while the gateway may have charged all the same, and nobody has voided that yet."""
        return self.status is PaymentStatus.FAILED and self.is_uncertain

    def capture(self, charge_id: str | None, *, at: datetime) -> None:
        """The gateway has the money; no ``charge_id`` where none was needed. A late or second answer changes nothing.

        Nor after a failure: then the order was told so, and what was charged in spite of it is voided.
        """
        if not self.is_open:
            return
        self.status, self.charge_id = PaymentStatus.CAPTURED, charge_id
        self.record(
            PaymentCaptured(
                order_id=self.order_id,
                member_id=self.member_id,
                amount=self.amount,
                currency=self.currency,
                points=self.points,
                charge_id=charge_id,
            ),
            at,
        )

    def fail(self, code: str, reason: str, *, is_uncertain: bool = False, at: datetime) -> None:
        """There will be no money; ``is_uncertain`` where the gateway may have charged all the same."""
        if not self.is_open:
            return
        self.status, self.is_uncertain = PaymentStatus.FAILED, is_uncertain
        self.record(
            PaymentFailed(
                order_id=self.order_id,
                member_id=self.member_id,
                amount=self.amount,
                currency=self.currency,
                points=self.points,
                code=code,
                reason=reason,
                is_uncertain=is_uncertain,
            ),
            at,
        )

    def void(self, *, at: datetime) -> None:
        """Whatever the gateway had made of it is undone."""
        if not self.may_be_charged:
            return
        self.is_uncertain = False
        self.record(PaymentVoided(order_id=self.order_id, amount=self.amount, currency=self.currency), at)

    def refund(self, *, at: datetime) -> None:
        """The money went back, at once or after all."""
        if not self.is_refundable:
            return
        self.status = PaymentStatus.REFUNDED
        self.record(
            PaymentRefunded(
                order_id=self.order_id,
                member_id=self.member_id,
                amount=self.amount,
                currency=self.currency,
                points=self.points,
            ),
            at,
        )

    def fail_refund(self, reason: str, *, at: datetime) -> None:
        """The money could not be sent back; said once, however often it is tried again."""
        if self.status is not PaymentStatus.CAPTURED:
            return
        self.status = PaymentStatus.REFUND_FAILED
        self.record(
            PaymentRefundFailed(
                order_id=self.order_id,
                member_id=self.member_id,
                amount=self.amount,
                currency=self.currency,
                points=self.points,
                reason=reason,
            ),
            at,
        )
