"""The coupon that staff define, and those of it that members hold.

```
issued ──use──▶ used
   └───give back──┘
```

How many were issued is part of neither: everybody wants the same last hundred, and a version on their number would make
all of them conflict. It is a number that the database guards, see `command.coupons.storage`.
"""

from dataclasses import dataclass
from datetime import datetime

from command.aggregate import Aggregate
from command.errors import InvalidCommand, RuleBroken
from events.coupons import CouponDefined, CouponIssued, CouponReturned, CouponUsed, Kind


class CouponAlreadyDefined(RuleBroken):
    """A coupon with this code exists."""


class EndsBeforeItBegins(InvalidCommand):
    """The coupon would be valid until {valid_until}, but only from {valid_from} on."""


class CouponSoldOut(RuleBroken):
    """Every coupon {coupon_code} has been issued."""


class CouponLimitReached(RuleBroken):
    """The member has had as many coupons {coupon_code} as one member gets."""


class CouponExpired(RuleBroken):
    """Coupon {coupon_code} was valid until {valid_until}."""


class CouponNotApplicable(RuleBroken):
    """Coupon {coupon_code} cannot be used for this order: {reason}."""


class CouponAlreadyUsed(RuleBroken):
    """Coupon {coupon_code} has been used."""


class CouponNotAvailable(RuleBroken):
    """The order was placed with coupon {coupon_code}, which another order uses by now."""


class UnknownCoupon(InvalidCommand):
    """No such coupon: {coupon_code}."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a coupon is worth, to whom it stays worth it, and for how long; amounts in minor units of ``currency``.

    ``value``: percent, or an amount. ``valid_until`` is the first moment that is too late.
    """

    name: str
    kind: Kind
    value: int
    currency: str
    minimum_amount: int
    valid_from: datetime
    valid_until: datetime

    def discount_on(self, total_amount: int) -> int:
        """What it takes off; never more than all, and percents rounded down."""
        if self.kind == "percent":
            return total_amount * self.value // 100
        return min(self.value, total_amount)

    def obstacle(self, total_amount: int, currency: str, at: datetime) -> str | None:
        """Why it cannot be used for such an order now, apart from being too late."""
        if at < self.valid_from:
            return f"it is valid from {self.valid_from.isoformat()} on"
        if currency != self.currency:
            return f"it is worth something in {self.currency} only"
        if total_amount < self.minimum_amount:
            return f"the order has to come to {self.minimum_amount}, and comes to {total_amount}"
        if self.discount_on(total_amount) == 0:
            return "it would take nothing off"
        return None


@dataclass(kw_only=True, eq=False)
class Coupon(Aggregate):
    """What staff defined; its id is its code. It never changes: what members hold is what they were promised."""

    terms: Terms
    total_limit: int | None
    per_member_limit: int | None
    is_claimable: bool

    @classmethod
    def define(
        cls,
        coupon_code: str,
        *,
        terms: Terms,
        total_limit: int | None,
        per_member_limit: int | None,
        is_claimable: bool,
        at: datetime,
    ) -> "Coupon":
        """Enter a coupon. Raises `EndsBeforeItBegins`."""
        if terms.valid_until <= terms.valid_from:
            raise EndsBeforeItBegins(valid_from=terms.valid_from.isoformat(), valid_until=terms.valid_until.isoformat())
        coupon = cls(
            id=coupon_code,
            terms=terms,
            total_limit=total_limit,
            per_member_limit=per_member_limit,
            is_claimable=is_claimable,
        )
        coupon.record(
            CouponDefined(
                name=terms.name,
                kind=terms.kind,
                value=terms.value,
                currency=terms.currency,
                minimum_amount=terms.minimum_amount,
                valid_from=terms.valid_from,
                valid_until=terms.valid_until,
                total_limit=total_limit,
                per_member_limit=per_member_limit,
                is_claimable=is_claimable,
            ),
            at,
        )
        return coupon


@dataclass(kw_only=True, eq=False)
class IssuedCoupon(Aggregate):
    """One coupon in a member's hands. ``order_id``: which order uses it, if one does."""

    coupon_code: str
    member_id: str
    terms: Terms
    order_id: str | None = None

    @classmethod
    def issue(cls, coupon_id: str, coupon: Coupon, member_id: str, *, at: datetime) -> "IssuedCoupon":
        """Give a member one, also before it is valid. Raises `CouponExpired`. Whether there are any left is decided
        where they are counted."""
        terms = coupon.terms
        issued = cls(id=coupon_id, coupon_code=coupon.id, member_id=member_id, terms=terms)
        issued.refuse_when_expired(at)
        issued.record(
            CouponIssued(
                coupon_code=coupon.id,
                member_id=member_id,
                name=terms.name,
                kind=terms.kind,
                value=terms.value,
                currency=terms.currency,
                minimum_amount=terms.minimum_amount,
                valid_from=terms.valid_from,
                valid_until=terms.valid_until,
            ),
            at,
        )
        return issued

    def discount_on(self, total_amount: int, currency: str, *, at: datetime) -> int:
        """What it takes off such an order. Raises `CouponExpired`, `CouponNotApplicable`."""
        self.refuse_when_expired(at)
        obstacle = self.terms.obstacle(total_amount, currency, at)
        if obstacle is not None:
            raise CouponNotApplicable(coupon_code=self.coupon_code, reason=obstacle)
        return self.terms.discount_on(total_amount)

    def use(self, order_id: str, discount_amount: int, *, at: datetime) -> None:
        """Use it for an order, whatever its terms: they were looked at when the discount was granted.

        Raises `CouponNotAvailable` where another order uses it.
        """
        if self.order_id == order_id:
            return
        if self.order_id is not None:
            raise CouponNotAvailable(coupon_code=self.coupon_code)
        self.order_id = order_id
        self.record(
            CouponUsed(
                coupon_code=self.coupon_code,
                member_id=self.member_id,
                order_id=order_id,
                discount_amount=discount_amount,
            ),
            at,
        )

    def give_back(self, order_id: str, cause: str, *, at: datetime) -> None:
        """This order uses it no more; nothing happens where it did not, or not any more."""
        if self.order_id != order_id:
            return
        self.order_id = None
        self.record(
            CouponReturned(coupon_code=self.coupon_code, member_id=self.member_id, order_id=order_id, cause=cause),
            at,
        )

    def refuse_when_expired(self, at: datetime) -> None:
        """Raises `CouponExpired`."""
        if at >= self.terms.valid_until:
            raise CouponExpired(coupon_code=self.coupon_code, valid_until=self.terms.valid_until.isoformat())
