"""Member coupons: what each member holds, and what it was used for.

Shape:   one document per issued coupon, see `MemberCoupon`; its ids sort by the time of issuing.
Units:   ``value`` in percent or minor units of ``currency``, by ``kind``; the other amounts in minor units.
Source:  the issued coupon's own events. One that was given back is ``ISSUED`` again, as if it had never been used.
"""

import msgspec

from events.coupons import CouponIssued, CouponReturned, CouponUsed
from events.envelope import Envelope
from views.kit import Document, Index, Projection
from views.times import rfc3339


class MemberCoupon(Document, frozen=True, kw_only=True):
    """A coupon as its member sees it. ``state``: ISSUED, USED."""

    member_id: str = ""
    coupon_code: str = ""
    name: str = ""
    state: str = "ISSUED"
    version: int = 0
    kind: str = ""
    value: int = 0
    currency: str = ""
    minimum_amount: int = 0
    valid_from: str = ""
    valid_until: str = ""
    order_id: str | None = None
    discount_amount: int | None = None
    issued_at: str = ""
    updated_at: str = ""


view = Projection(
    MemberCoupon,
    name="member_coupons",
    version=1,
    indexes=(
        Index((("member_id", 1), ("_id", -1))),
        Index((("member_id", 1), ("state", 1), ("_id", -1))),
    ),
)


@view.on(CouponIssued)
def issue(coupon: MemberCoupon, event: CouponIssued, envelope: Envelope) -> MemberCoupon:
    """A member holds it."""
    return _after(
        coupon,
        envelope,
        member_id=event.member_id,
        coupon_code=event.coupon_code,
        name=event.name,
        kind=event.kind,
        value=event.value,
        currency=event.currency,
        minimum_amount=event.minimum_amount,
        valid_from=rfc3339(event.valid_from),
        valid_until=rfc3339(event.valid_until),
        issued_at=rfc3339(envelope.occurred_at),
    )


@view.on(CouponUsed)
def use(coupon: MemberCoupon, event: CouponUsed, envelope: Envelope) -> MemberCoupon:
    """An order uses it."""
    return _after(coupon, envelope, state="USED", order_id=event.order_id, discount_amount=event.discount_amount)


@view.on(CouponReturned)
def give_back(coupon: MemberCoupon, event: CouponReturned, envelope: Envelope) -> MemberCoupon:
    """No order uses it any more."""
    return _after(coupon, envelope, state="ISSUED", order_id=None, discount_amount=None)


def _after(coupon: MemberCoupon, envelope: Envelope, **changes: object) -> MemberCoupon:
    at = rfc3339(envelope.occurred_at)
    return msgspec.structs.replace(coupon, version=envelope.aggregate_version, updated_at=at, **changes)
