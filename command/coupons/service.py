"""Use cases of the coupons context."""

from command.coupons.model import (
    Coupon,
    CouponAlreadyDefined,
    CouponAlreadyUsed,
    CouponSoldOut,
    IssuedCoupon,
    Terms,
    UnknownCoupon,
)
from command.coupons.storage import Allotments, Coupons, IssuedCoupons
from command.errors import NotFound
from command.unit_of_work import UnitOfWork
from events.ordering import AppliedCoupon
from runtime.clock import now
from runtime.ids import new_id


async def define_coupon(
    uow: UnitOfWork,
    coupon_code: str,
    *,
    terms: Terms,
    total_limit: int | None = None,
    per_member_limit: int | None = None,
    is_claimable: bool = False,
) -> Coupon:
    """Enter a coupon. Raises `CouponAlreadyDefined`, `EndsBeforeItBegins`."""
    coupons = uow.repository(Coupons)
    if await coupons.exists(coupon_code):
        raise CouponAlreadyDefined
    coupon = Coupon.define(
        coupon_code,
        terms=terms,
        total_limit=total_limit,
        per_member_limit=per_member_limit,
        is_claimable=is_claimable,
        at=now(),
    )
    coupons.add(coupon)
    uow.repository(Allotments).open(coupon)
    return coupon


async def issue_coupon(uow: UnitOfWork, coupon_code: str, *, member_id: str) -> IssuedCoupon:
    """Give a member one. Raises `NotFound`, `CouponExpired`, `CouponSoldOut`; at commit `CouponLimitReached` too."""
    coupon, remaining = await uow.repository(Coupons).with_remaining(coupon_code)
    return _issue(uow, coupon, remaining, member_id)


async def claim_coupon(uow: UnitOfWork, coupon_code: str, *, member_id: str) -> IssuedCoupon:
    """A member takes one. Raises as `issue_coupon`; what is not claimable cannot be told from what does not exist."""
    coupon, remaining = await uow.repository(Coupons).with_remaining(coupon_code)
    if not coupon.is_claimable:
        raise NotFound(what="coupon")
    return _issue(uow, coupon, remaining, member_id)


async def quote(
    uow: UnitOfWork, coupon_code: str, *, member_id: str, total_amount: int, currency: str
) -> tuple[AppliedCoupon, int]:
    """The answer to ordering: which of the member's coupons an order of this total would use, and what it takes off.

    It is locked by the answer, so that nothing else can use it until the order is placed. Raises `UnknownCoupon`, where
    the member holds none, `CouponAlreadyUsed`, `CouponExpired`, `CouponNotApplicable`.
    """
    issued = uow.repository(IssuedCoupons)
    # All of one code are on the same terms: which one is used makes no difference.
    coupon = await issued.free_of(member_id, coupon_code)
    if coupon is None:
        has_any = await issued.has_any(member_id, coupon_code)
        raise (CouponAlreadyUsed if has_any else UnknownCoupon)(coupon_code=coupon_code)
    return AppliedCoupon(coupon.id, coupon_code), coupon.discount_on(total_amount, currency, at=now())


def _issue(uow: UnitOfWork, coupon: Coupon, remaining: int | None, member_id: str) -> IssuedCoupon:
    # A look is enough to send most of a crowd away, without a lock; whether there is one left the database says.
    if remaining == 0:
        raise CouponSoldOut(coupon_code=coupon.id)
    issued = IssuedCoupon.issue(new_id(), coupon, member_id, at=now())
    uow.repository(Allotments).take(coupon, member_id)
    uow.repository(IssuedCoupons).add(issued)
    return issued
