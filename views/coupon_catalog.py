"""Coupon catalog: what staff defined, and how it is taken up.

Shape:   one document per coupon code, see `CatalogCoupon`.
Units:   ``value`` in percent or minor units of ``currency``, by ``kind``; ``issued_count`` and ``used_count`` in
         coupons, the latter less those that were given back.
Source:  the coupon's own event, and those of every issued coupon of its code.
"""

import msgspec

from events.coupons import CouponDefined, CouponIssued, CouponReturned, CouponUsed
from events.envelope import Envelope
from views.kit import Document, Projection
from views.times import rfc3339


class CatalogCoupon(Document, frozen=True, kw_only=True):
    """A coupon as staff see it."""

    name: str = ""
    kind: str = ""
    value: int = 0
    currency: str = ""
    minimum_amount: int = 0
    valid_from: str = ""
    valid_until: str = ""
    total_limit: int | None = None
    per_member_limit: int | None = None
    is_claimable: bool = False
    issued_count: int = 0
    used_count: int = 0
    version: int = 0
    defined_at: str = ""


view = Projection(CatalogCoupon, name="coupon_catalog", version=1)


@view.on(CouponDefined)
def define(coupon: CatalogCoupon, event: CouponDefined, envelope: Envelope) -> CatalogCoupon:
    """A coupon is there to be issued."""
    return msgspec.structs.replace(
        coupon,
        name=event.name,
        kind=event.kind,
        value=event.value,
        currency=event.currency,
        minimum_amount=event.minimum_amount,
        valid_from=rfc3339(event.valid_from),
        valid_until=rfc3339(event.valid_until),
        total_limit=event.total_limit,
        per_member_limit=event.per_member_limit,
        is_claimable=event.is_claimable,
        version=envelope.aggregate_version,
        defined_at=rfc3339(envelope.occurred_at),
    )


@view.on(CouponIssued, keys=lambda event: (event.coupon_code,))
def issue(coupon: CatalogCoupon, event: CouponIssued) -> CatalogCoupon:
    """One more member holds one."""
    return msgspec.structs.replace(coupon, issued_count=coupon.issued_count + 1)


@view.on(CouponUsed, keys=lambda event: (event.coupon_code,))
def use(coupon: CatalogCoupon, event: CouponUsed) -> CatalogCoupon:
    """One more order uses one."""
    return msgspec.structs.replace(coupon, used_count=coupon.used_count + 1)


@view.on(CouponReturned, keys=lambda event: (event.coupon_code,))
def give_back(coupon: CatalogCoupon, event: CouponReturned) -> CatalogCoupon:
    """One order less does."""
    return msgspec.structs.replace(coupon, used_count=coupon.used_count - 1)
