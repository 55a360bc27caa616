"""Member coupons: what a member holds, and what it was used for."""

from datetime import UTC, datetime

from events.coupons import CouponIssued, CouponReturned, CouponUsed
from tests.unit.views.given import STAMP, given, happened
from views.member_coupons import view

ISSUED = CouponIssued(
    coupon_code="TEN",
    member_id="m-1",
    name="Ten percent off",
    kind="percent",
    value=10,
    currency="EUR",
    minimum_amount=500,
    valid_from=datetime(2026, 3, 1, tzinfo=UTC),
    valid_until=datetime(2026, 4, 1, tzinfo=UTC),
)
USED = CouponUsed(coupon_code="TEN", member_id="m-1", order_id="o-1", discount_amount=50)
RETURNED = CouponReturned(coupon_code="TEN", member_id="m-1", order_id="o-1", cause="order-canceled")
HELD = {
    "member_id": "m-1",
    "coupon_code": "TEN",
    "name": "Ten percent off",
    "kind": "percent",
    "value": 10,
    "currency": "EUR",
    "minimum_amount": 500,
    "valid_from": "2026-03-01T00:00:00.000000Z",
    "valid_until": "2026-04-01T00:00:00.000000Z",
    "issued_at": STAMP,
    "updated_at": STAMP,
}


def test_an_issued_coupon_is_there_to_be_used() -> None:
    given(view, ISSUED).then("i-1", **HELD, version=1)


def test_a_used_coupon_names_its_order_and_what_it_took_off() -> None:
    used = {"state": "USED", "order_id": "o-1", "discount_amount": 50}

    given(view, ISSUED, USED).then("i-1", **HELD, **used, version=2)


def test_a_coupon_that_was_given_back_is_as_if_it_had_never_been_used() -> None:
    given(view, ISSUED, USED, RETURNED).then("i-1", **HELD, version=3)


def test_every_coupon_is_a_document_of_its_own() -> None:
    given(view, ISSUED, happened(ISSUED, "i-2")).then_only("i-1", "i-2")
