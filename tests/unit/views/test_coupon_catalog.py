"""Coupon catalog: what staff defined, and how it is taken up."""

from datetime import UTC, datetime

from events.coupons import CouponDefined
from tests.unit.views.given import STAMP, given, happened
from tests.unit.views.test_member_coupons import ISSUED, RETURNED, USED
from views.coupon_catalog import view

DEFINED = happened(
    CouponDefined(
        name="Ten percent off",
        kind="percent",
        value=10,
        currency="EUR",
        minimum_amount=500,
        valid_from=datetime(2026, 3, 1, tzinfo=UTC),
        valid_until=datetime(2026, 4, 1, tzinfo=UTC),
        total_limit=100,
        per_member_limit=None,
        is_claimable=True,
    ),
    "TEN",
)
TERMS = {
    "name": "Ten percent off",
    "kind": "percent",
    "value": 10,
    "currency": "EUR",
    "minimum_amount": 500,
    "valid_from": "2026-03-01T00:00:00.000000Z",
    "valid_until": "2026-04-01T00:00:00.000000Z",
    "total_limit": 100,
    "is_claimable": True,
    "version": 1,
    "defined_at": STAMP,
}


def test_a_defined_coupon_has_been_given_to_nobody() -> None:
    given(view, DEFINED).then("TEN", **TERMS)


def test_it_counts_what_was_issued_and_what_is_used() -> None:
    given(view, DEFINED, ISSUED, happened(ISSUED, "i-2"), USED).then("TEN", **TERMS, issued_count=2, used_count=1)


def test_what_was_given_back_is_not_used() -> None:
    given(view, DEFINED, ISSUED, USED, RETURNED).then("TEN", **TERMS, issued_count=1)


def test_coupons_of_another_code_do_not_count() -> None:
    another = happened(DEFINED.event, "SPRING")

    given(view, DEFINED, another, ISSUED).then("SPRING", **TERMS)
