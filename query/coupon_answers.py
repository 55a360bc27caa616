"""What answers about coupons look like, for OpenAPI."""

from typing import Literal

from query.answers import Answer, ListItem
from runtime.openapi import example

_AT, _UNTIL = "2026-11-21T09:07:03.332313Z", "2027-06-01T00:00:00.000000Z"
_TERMS = {
    "coupon_code": "SPRING10",
    "name": "Ten percent off in spring",
    "kind": "percent",
    "value": 10,
    "currency": "USD",
    "minimum_amount": 1000,
    "valid_from": _AT,
    "valid_until": _UNTIL,
}
_HELD = {
    "coupon_id": "01a1fd92-dea5-72b4-9ebd-f38eef0652b2",
    **_TERMS,
    "state": "ISSUED",
    "version": 1,
    "order_id": None,
    "discount_amount": None,
    "issued_at": _AT,
    "updated_at": _AT,
}
_DEFINED = {
    **_TERMS,
    "total_limit": 500,
    "per_member_limit": 1,
    "is_claimable": True,
    "issued_count": 120,
    "used_count": 48,
    "version": 1,
    "defined_at": _AT,
}


class CouponTerms(ListItem):
    """`value`: percent, or an amount, by `kind`; `valid_until` is the first moment that is too late."""

    coupon_code: str
    name: str
    kind: Literal["percent", "amount"]
    value: int
    currency: str
    minimum_amount: int
    valid_from: str
    valid_until: str


class MemberCouponAnswer(CouponTerms):
    """A coupon that the member holds; `order_id` and `discount_amount` of the order that uses it, if one does."""

    model_config = example(**_HELD)

    coupon_id: str
    state: Literal["ISSUED", "USED"]
    version: int
    order_id: str | None
    discount_amount: int | None
    issued_at: str
    updated_at: str


class MemberCouponPage(Answer):
    """Issued last first; `next_cursor` is null at the end."""

    model_config = example(items=[_HELD], next_cursor=None)

    items: list[MemberCouponAnswer]
    next_cursor: str | None


class CouponAnswer(CouponTerms):
    """A coupon as it was defined; how many members got one, and how many orders use one."""

    model_config = example(**_DEFINED)

    total_limit: int | None
    per_member_limit: int | None
    is_claimable: bool
    issued_count: int
    used_count: int
    version: int
    defined_at: str


class CouponPage(Answer):
    """By code; `next_cursor` is null at the end."""

    model_config = example(items=[_DEFINED], next_cursor=None)

    items: list[CouponAnswer]
    next_cursor: str | None
