"""Events of the payments context: one payment from the card's answer to its refund.

Each repeats what the other contexts need to take their step: whose order it is, and how many points it had used.
Amounts in minor units of ``currency``; ``points`` in points, one of which is worth one minor unit.
"""

from typing import Annotated

import msgspec

from events.envelope import DomainEvent, published

Minor = Annotated[int, msgspec.Meta(ge=0)]


@published("payment")
class PaymentCaptured(DomainEvent, frozen=True, kw_only=True):
    """The gateway has the money, or none was needed beside the points. ``charge_id`` is the gateway's name for it."""

    order_id: str
    member_id: str
    amount: Minor
    currency: str
    points: Minor
    charge_id: str | None


@published("payment")
class PaymentFailed(DomainEvent, frozen=True, kw_only=True):
    """The gateway refused, or could not be asked. ``is_uncertain``: it may have charged all the same, and must void."""

    order_id: str
    member_id: str
    amount: Minor
    currency: str
    points: Minor
    code: str
    reason: str
    is_uncertain: bool = False


@published("payment")
class PaymentVoided(DomainEvent, frozen=True, kw_only=True):
    """Whatever the gateway made of a payment whose answer never came is undone."""

    order_id: str
    amount: Minor
    currency: str


@published("payment")
class PaymentRefunded(DomainEvent, frozen=True, kw_only=True):
    """The gateway sent the money back."""

    order_id: str
    member_id: str
    amount: Minor
    currency: str
    points: Minor


@published("payment")
class PaymentRefundFailed(DomainEvent, frozen=True, kw_only=True):
    """The gateway could not send the money back in as many attempts as it gets; somebody has to look."""

    order_id: str
    member_id: str
    amount: Minor
    currency: str
    points: Minor
    reason: str
