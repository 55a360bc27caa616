"""A coupon and those of it that members hold, by the events that they record and what they refuse."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from command.coupons.model import (
    Coupon,
    CouponExpired,
    CouponNotApplicable,
    CouponNotAvailable,
    EndsBeforeItBegins,
    IssuedCoupon,
    Terms,
)
from events.coupons import CouponIssued, CouponReturned, CouponUsed
from events.envelope import DomainEvent

BEGIN, END = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
DURING = datetime(2026, 3, 2, tzinfo=UTC)
A_MOMENT = timedelta(microseconds=1)
TERMS = Terms(
    name="Ten percent off",
    kind="percent",
    value=10,
    currency="EUR",
    minimum_amount=500,
    valid_from=BEGIN,
    valid_until=END,
)
USED = CouponUsed(coupon_code="TEN", member_id="m-1", order_id="o-1", discount_amount=50)
CANCELED = CouponReturned(coupon_code="TEN", member_id="m-1", order_id="o-1", cause="order-canceled")


def a_coupon(**terms: Any) -> Coupon:
    """Ten percent off in March, on orders of 500 and more, unless told otherwise."""
    return Coupon.define(
        "TEN",
        terms=replace(TERMS, **terms),
        total_limit=None,
        per_member_limit=None,
        is_claimable=True,
        at=DURING,
    )


def an_issued_coupon(**terms: Any) -> IssuedCoupon:
    """One of it, in a member's hands."""
    return IssuedCoupon.issue("i-1", a_coupon(**terms), "m-1", at=DURING)


def told(coupon: IssuedCoupon) -> list[DomainEvent]:
    """What happened after it was issued."""
    return [pending.event for pending in coupon.recorded[1:]]


@pytest.mark.parametrize(
    ("kind", "value", "total", "discount"),
    [
        ("percent", 10, 500, 50),
        ("percent", 10, 509, 50),
        ("percent", 99, 501, 495),
        ("percent", 100, 501, 501),
        ("amount", 100, 500, 100),
        ("amount", 501, 500, 500),
        ("percent", 33, 10**15, 33 * 10**13),
    ],
)
def test_percents_are_rounded_down_and_nothing_takes_off_more_than_all(
    kind: Any, value: int, total: int, discount: int
) -> None:
    assert an_issued_coupon(kind=kind, value=value).discount_on(total, "EUR", at=DURING) == discount


@pytest.mark.parametrize(
    ("terms", "total", "currency", "at"),
    [
        ({}, 499, "EUR", DURING),
        ({}, 500, "USD", DURING),
        ({}, 500, "EUR", BEGIN - A_MOMENT),
        ({"minimum_amount": 0}, 9, "EUR", DURING),
        ({"minimum_amount": 0}, 0, "EUR", DURING),
    ],
)
def test_it_is_not_for_every_order(terms: dict[str, Any], total: int, currency: str, at: datetime) -> None:
    with pytest.raises(CouponNotApplicable):
        an_issued_coupon(**terms).discount_on(total, currency, at=at)


def test_it_is_valid_from_its_first_moment_until_before_its_last() -> None:
    coupon = an_issued_coupon()

    assert coupon.discount_on(500, "EUR", at=BEGIN) == coupon.discount_on(500, "EUR", at=END - A_MOMENT) == 50
    with pytest.raises(CouponExpired):
        coupon.discount_on(500, "EUR", at=END)


def test_it_can_be_issued_before_it_is_valid_and_not_after() -> None:
    issued = IssuedCoupon.issue("i-1", a_coupon(), "m-1", at=BEGIN - A_MOMENT)

    assert isinstance(issued.recorded[0].event, CouponIssued)
    with pytest.raises(CouponExpired):
        IssuedCoupon.issue("i-2", a_coupon(), "m-1", at=END)


@pytest.mark.parametrize("ends", [BEGIN, BEGIN - A_MOMENT])
def test_it_begins_before_it_ends(ends: datetime) -> None:
    with pytest.raises(EndsBeforeItBegins):
        a_coupon(valid_until=ends)


def test_it_is_used_once_by_one_order() -> None:
    coupon = an_issued_coupon()

    coupon.use("o-1", 50, at=DURING)
    coupon.use("o-1", 50, at=DURING)

    assert told(coupon) == [USED]
    with pytest.raises(CouponNotAvailable):
        coupon.use("o-2", 50, at=DURING)


def test_it_is_given_back_once_by_the_order_that_uses_it() -> None:
    coupon = an_issued_coupon()
    coupon.use("o-1", 50, at=DURING)

    coupon.give_back("o-2", "order-canceled", at=DURING)
    coupon.give_back("o-1", "order-canceled", at=DURING)
    coupon.give_back("o-1", "payment-declined", at=DURING)

    assert told(coupon) == [USED, CANCELED]


def test_an_order_that_was_granted_it_uses_it_again_though_it_has_expired() -> None:
    coupon = an_issued_coupon()
    coupon.use("o-1", 50, at=DURING)
    coupon.give_back("o-1", "order-canceled", at=DURING)

    coupon.use("o-1", 50, at=END)

    assert told(coupon) == [USED, CANCELED, USED]
