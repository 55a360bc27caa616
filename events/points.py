"""Events of the points context: what comes to and goes from a member's account. A point is worth one minor unit."""

from typing import Annotated

import msgspec

from events.envelope import DomainEvent, published

Points = Annotated[int, msgspec.Meta(ge=1)]
Balance = Annotated[int, msgspec.Meta(ge=0)]


@published("points_account")
class PointsCharged(DomainEvent, frozen=True, kw_only=True):
    """The account was topped up."""

    points: Points
    reason: str
    balance: Balance


@published("points_account")
class PointsUsed(DomainEvent, frozen=True, kw_only=True):
    """A payment took points; ``balance`` is what is left."""

    order_id: str
    payment_id: str
    points: Points
    balance: Balance


@published("points_account")
class PointsRejected(DomainEvent, frozen=True, kw_only=True):
    """A payment asked for more points than there are; none were taken."""

    order_id: str
    payment_id: str
    points: Points
    balance: Balance


@published("points_account")
class PointsReturned(DomainEvent, frozen=True, kw_only=True):
    """What a payment had taken came back: it was refunded, or failed for ``failure_code`` and ``reason``."""

    order_id: str
    payment_id: str
    points: Points
    balance: Balance
    failure_code: str | None = None
    reason: str | None = None
