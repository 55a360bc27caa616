"""What the views of coupons must hold, looked up and counted from facts; shares no code with `views`."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.oracle.views import Fact

Json = dict[str, Any]
_TERMS = ("name", "kind", "value", "currency", "minimum_amount")


def member_coupons(facts: Sequence["Fact"]) -> dict[str, Json]:
    """By issued coupon; ``facts`` in the order of each aggregate's life."""
    lives: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        if fact.aggregate[0] == "issued_coupon":
            lives[fact.id].append(fact)
    return {coupon_id: _held(coupon_id, life) for coupon_id, life in lives.items()}


def coupon_catalog(facts: Sequence["Fact"]) -> dict[str, Json]:
    """By code."""
    return {fact.id: _defined(fact, facts) for fact in facts if fact.name == "CouponDefined"}


def _held(coupon_id: str, life: list["Fact"]) -> Json:
    issued, last = life[0], life[-1]
    used = last.payload if last.name == "CouponUsed" else None
    return {
        "_id": coupon_id,
        "member_id": issued.payload["member_id"],
        "coupon_code": issued.payload["coupon_code"],
        "state": "USED" if used else "ISSUED",
        "version": last.version,
        **_terms(issued),
        "order_id": used["order_id"] if used else None,
        "discount_amount": used["discount_amount"] if used else None,
        "issued_at": _stamp(issued.at),
        "updated_at": _stamp(last.at),
    }


def _defined(defined: "Fact", facts: Sequence["Fact"]) -> Json:
    of_this = [fact.name for fact in facts if fact.payload.get("coupon_code") == defined.id]
    return {
        "_id": defined.id,
        **_terms(defined),
        **{name: defined.payload[name] for name in ("total_limit", "per_member_limit", "is_claimable")},
        "issued_count": of_this.count("CouponIssued"),
        "used_count": of_this.count("CouponUsed") - of_this.count("CouponReturned"),
        "version": 1,
        "defined_at": _stamp(defined.at),
    }


def _terms(told: "Fact") -> Json:
    times = {name: _stamp(datetime.fromisoformat(told.payload[name])) for name in ("valid_from", "valid_until")}
    return {name: told.payload[name] for name in _TERMS} | times


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
