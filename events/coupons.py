"""Events of the coupons context: a coupon that staff define, and the copies of it that members hold.

Amounts in minor units of ``currency``; times are UTC, and ``valid_until`` is the first moment that is too late.
"""

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from events.envelope import DomainEvent, published

Minor = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Kind = Literal["percent", "amount"]


@published("coupon")
class CouponDefined(DomainEvent, frozen=True, kw_only=True):
    """Staff defined a coupon; its id is its code. ``value``: percent, or an amount. No limit: as many as are asked.

    ``is_claimable``: members may claim one for themselves; otherwise staff issue them.
    """

    name: str
    kind: Kind
    value: Positive
    currency: str
    minimum_amount: Minor
    valid_from: datetime
    valid_until: datetime
    total_limit: Positive | None
    per_member_limit: Positive | None
    is_claimable: bool


@published("issued_coupon")
class CouponIssued(DomainEvent, frozen=True, kw_only=True):
    """A member holds one, on the terms of this moment."""

    coupon_code: str
    member_id: str
    name: str
    kind: Kind
    value: Positive
    currency: str
    minimum_amount: Minor
    valid_from: datetime
    valid_until: datetime


@published("issued_coupon")
class CouponUsed(DomainEvent, frozen=True, kw_only=True):
    """An order holds it, for so much off."""

    coupon_code: str
    member_id: str
    order_id: str
    discount_amount: Minor


@published("issued_coupon")
class CouponReturned(DomainEvent, frozen=True, kw_only=True):
    """The member may use it again, for another order too. ``cause``: ``order-canceled`` or ``payment-declined``."""

    coupon_code: str
    member_id: str
    order_id: str
    cause: str
