"""What the views must hold, counted from facts with plain dictionaries; shares no code with `views`.

Nothing is folded here: every document is looked up and summed from all that happened, so that an effect which is
missing, doubled or out of order cannot be repeated by the oracle.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from tests.oracle import coupons

Json = dict[str, Any]
Views = dict[str, dict[str, Json]]
MEASURES = (
    "placed_orders",
    "placed_amount",
    "paid_orders",
    "gross_sales",
    "units",
    "canceled_orders",
    "canceled_amount",
)


class Fact:
    """One event of one aggregate, as whoever caused it, or the log, knows it."""

    def __init__(self, aggregate: tuple[str, str], version: int, name: str, at: datetime, payload: Json) -> None:
        self.aggregate, self.version, self.name, self.at, self.payload = aggregate, version, name, at, payload

    @property
    def id(self) -> str:
        """Whose event it is."""
        return self.aggregate[1]

    def told(self) -> tuple[object, ...]:
        """Everything, to be compared."""
        return self.aggregate, self.version, self.name, self.at, self.payload


def expected_views(facts: Iterable[Fact], *, zone: str = "UTC") -> Views:
    """Every document of every view, by view and id."""
    facts = sorted(facts, key=lambda fact: (fact.aggregate, fact.version))
    lives: dict[tuple[str, str], list[Fact]] = defaultdict(list)
    for fact in facts:
        lives[fact.aggregate].append(fact)
    return {
        "order_detail": {key: _order(key, life) for (kind, key), life in lives.items() if kind == "order"},
        "product_catalog": _products(facts),
        "member_profile": _members(facts),
        "points_account": _points(facts),
        "member_coupons": coupons.member_coupons(facts),
        "coupon_catalog": coupons.coupon_catalog(facts),
        "sales_statistics": _sales(facts, ZoneInfo(zone)),
    }


def differences(found: Mapping[str, Mapping[str, Json]], expected: Views, *, most: int = 5) -> list[str]:
    """What is wrong, a line each, up to a few lines; empty when every document of every view is as expected."""
    wrong: list[str] = []
    for view in sorted(expected.keys() | found.keys()):
        held, wanted = found.get(view, {}), expected.get(view, {})
        wrong += (
            f"{view} {key}: found {held.get(key)}, expected {wanted.get(key)}"
            for key in sorted(held.keys() | wanted.keys())
            if held.get(key) != wanted.get(key)
        )
    return wrong[:most]


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _order(order_id: str, life: list[Fact]) -> Json:
    last = {fact.name: fact for fact in life}
    placed, payment = life[0], _payment(life, last)
    points = payment["points"] if payment and payment["status"] != "DECLINED" else 0
    shipping = last.get("ShippingInfoChanged", placed)
    return {
        "_id": order_id,
        "status": _status(last),
        "version": life[-1].version,
        "currency": placed.payload["currency"],
        "orderer": placed.payload["orderer"],
        "lines": placed.payload["lines"],
        "total_amount": placed.payload["total_amount"],
        "discount_amount": placed.payload["discount_amount"],
        "points_used": points,
        "payment_amount": placed.payload["total_amount"] - placed.payload["discount_amount"] - points,
        "coupon": placed.payload["coupon"],
        **_taken(life, last, placed),
        "payment": payment,
        "shipment": _shipment(last),
        "cancellation": _cancellation(last),
        "refund": _refund(last),
        "shipping_info": shipping.payload["shipping_info"],
        "timeline": [{"event": fact.name, "at": _stamp(fact.at)} for fact in life],
        "placed_at": _stamp(placed.at),
        "updated_at": _stamp(life[-1].at),
    }


def _taken(life: list[Fact], last: dict[str, Fact], placed: Fact) -> Json:
    request, decided = last.get("PaymentRequested"), _decided(life)
    points = bool(request and request.payload["points"])
    declined = decided is not None and decided.name == "PaymentDeclined"
    points_status = "USED" if decided else "REQUESTED"
    if decided is not None and declined:
        points_status = "REJECTED" if decided.payload["code"] == "insufficient-points" else "RETURNED"
    if decided is not None and decided.name == "OrderPaid" and "OrderCanceled" in last:
        points_status = "RETURNED" if "RefundCompleted" in last else "RETURN_REQUESTED"
    coupon_status = "RETURNED" if declined or "OrderCanceled" in last else "USED"
    stock_status = "RELEASED" if "OrderCanceled" in last else "SOLD" if "OrderPaid" in last else "RESERVED"
    return {
        "stock_status": stock_status,
        "coupon_status": coupon_status if placed.payload["coupon"] else None,
        "points_status": points_status if points else None,
    }


def _decided(life: list[Fact]) -> Fact | None:
    about = [fact for fact in life if fact.name in ("PaymentRequested", "OrderPaid", "PaymentDeclined")]
    return about[-1] if about and about[-1].name != "PaymentRequested" else None


def _status(last: dict[str, Fact]) -> str:
    for name, status in (
        ("OrderCanceled", "CANCELED"),
        ("DeliveryCompleted", "DELIVERY_COMPLETED"),
        ("DeliveryStarted", "DELIVERING"),
        ("ShippingStarted", "SHIPPED"),
        ("OrderPaid", "PREPARING"),
    ):
        if name in last:
            return status
    return "PAYMENT_WAITING"


def _payment(life: list[Fact], last: dict[str, Fact]) -> Json | None:
    request = last.get("PaymentRequested")
    if request is None:
        return None
    payment_id = request.payload["payment_id"]
    about = {fact.name: fact for fact in life if fact.payload.get("payment_id") == payment_id}
    declined, approved = about.get("PaymentDeclined"), about.get("OrderPaid")
    status = "DECLINED" if declined else "APPROVED" if approved else "REQUESTED"
    refund = _refund(last)
    return {
        "payment_id": payment_id,
        "method": request.payload["method"],
        "status": refund["status"] if refund else status,
        "amount": request.payload["amount"],
        "points": request.payload["points"],
        "requested_at": _stamp(request.at),
        "approved_at": _stamp(approved.at) if approved else None,
        "declined_at": _stamp(declined.at) if declined else None,
        "decline_code": declined.payload["code"] if declined else None,
        "decline_reason": declined.payload["reason"] if declined else None,
    }


def _shipment(last: dict[str, Fact]) -> Json | None:
    shipped = last.get("ShippingStarted")
    if shipped is None:
        return None
    started, completed = last.get("DeliveryStarted"), last.get("DeliveryCompleted")
    return {
        "carrier": shipped.payload["carrier"],
        "tracking_number": shipped.payload["tracking_number"],
        "shipped_at": _stamp(shipped.at),
        "delivery_started_at": _stamp(started.at) if started else None,
        "delivered_at": _stamp(completed.at) if completed else None,
    }


def _cancellation(last: dict[str, Fact]) -> Json | None:
    canceled = last.get("OrderCanceled")
    if canceled is None:
        return None
    return {
        "reason": canceled.payload["reason"],
        "canceled_by": canceled.payload["canceled_by"],
        "canceled_at": _stamp(canceled.at),
    }


def _refund(last: dict[str, Fact]) -> Json | None:
    canceled = last.get("OrderCanceled")
    if canceled is None or not canceled.payload["was_paid"]:
        return None
    completed, failed = last.get("RefundCompleted"), last.get("RefundFailed")
    settled = completed or failed
    return {
        "status": "REFUNDED" if completed else "REFUND_FAILED" if failed else "REFUND_REQUESTED",
        "amount": canceled.payload["refund_amount"],
        "requested_at": _stamp(canceled.at),
        "settled_at": _stamp(settled.at) if settled else None,
        "failure": failed.payload["reason"] if failed else None,
    }


def _products(facts: list[Fact]) -> dict[str, Json]:
    stock: dict[str, int] = defaultdict(int)
    for fact in facts:
        if fact.name == "ProductRegistered":
            stock[fact.id] += fact.payload["stock"]
        elif fact.name == "StockAdjusted":
            stock[fact.id] += fact.payload["delta"]
        elif fact.name in ("OrderPlaced", "OrderCanceled"):
            for line in fact.payload["lines"]:
                stock[line["product_id"]] += line["quantity"] * (-1 if fact.name == "OrderPlaced" else 1)
    return {key: _product(key, pieces, [fact for fact in facts if fact.id == key]) for key, pieces in stock.items()}


def _product(product_id: str, pieces: int, life: list[Fact]) -> Json:
    details = [fact for fact in life if fact.name in ("ProductRegistered", "ProductDetailsChanged")]
    named = details[-1].payload if details else {"name": "", "category": "", "unit_price": 0}
    registered = [fact for fact in life if fact.name == "ProductRegistered"]
    return {
        "_id": product_id,
        "name": named["name"],
        "category": named["category"],
        "unit_price": named["unit_price"],
        "currency": registered[0].payload["currency"] if registered else "",
        "stock": pieces,
        "version": life[-1].version if life else 0,
        "registered_at": _stamp(registered[0].at) if registered else "",
        "updated_at": _stamp(life[-1].at) if life else "",
    }


def _members(facts: list[Fact]) -> dict[str, Json]:
    placed: dict[str, list[Fact]] = defaultdict(list)
    life: dict[str, list[Fact]] = defaultdict(list)
    value: dict[str, int] = defaultdict(int)
    for fact in facts:
        if fact.name == "OrderPlaced":
            placed[fact.payload["orderer"]["member_id"]].append(fact)
        elif fact.name == "OrderPaid":
            value[fact.payload["member_id"]] += _sale(fact)
        elif fact.name == "OrderCanceled" and fact.payload["was_paid"]:
            value[fact.payload["member_id"]] -= _sale(fact)
        elif fact.aggregate[0] == "member":
            life[fact.id].append(fact)
    return {key: _member(key, life[key], placed[key], value[key]) for key in placed.keys() | life.keys()}


def _member(member_id: str, life: list[Fact], placed: list[Fact], value: int) -> Json:
    registered = next((fact for fact in life if fact.name == "MemberRegistered"), None)
    latest = max(placed, key=lambda fact: (fact.at, fact.id), default=None)
    renamed = next((fact for fact in reversed(life) if fact.name == "MemberRenamed"), registered)
    named = renamed.payload if renamed else placed[0].payload["orderer"]
    return {
        "_id": member_id,
        "email": registered.payload["email"] if registered else None,
        "email_verified": any(fact.name == "MemberEmailVerified" for fact in life),
        "name": named["name"],
        "version": life[-1].version if life else 0,
        "registered_at": _stamp(registered.at) if registered else None,
        "order_count": len(placed),
        "lifetime_value": value,
        "currency": latest.payload["currency"] if latest else None,
        "last_order": {
            "order_id": latest.id,
            "placed_at": _stamp(latest.at),
            "total_amount": latest.payload["total_amount"],
        }
        if latest
        else None,
    }


def _points(facts: list[Fact]) -> dict[str, Json]:
    lives: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        if fact.aggregate[0] == "points_account":
            lives[fact.id].append(fact)
    return {key: _points_account(key, life) for key, life in lives.items()}


def _points_account(member_id: str, life: list[Fact]) -> Json:
    # Not from the balances that the events tell: those might be what is wrong.
    entries, balance = [], 0
    sums = {"charged": 0, "used": 0, "returned": 0}
    for fact in life:
        kind = fact.name.removeprefix("Points").lower()
        if kind in sums:
            sums[kind] += fact.payload["points"]
            signed = fact.payload["points"] * (-1 if kind == "used" else 1)
            balance += signed
            about = {name: fact.payload.get(name) for name in ("order_id", "payment_id", "reason")}
            entries.append({"kind": kind, "points": signed, "balance": balance, **about, "at": _stamp(fact.at)})
    return {
        "_id": member_id,
        "balance": balance,
        "version": life[-1].version,
        **sums,
        "entries": entries[:-101:-1],
        "updated_at": _stamp(life[-1].at),
    }


def _sale(fact: Fact) -> int:
    return sum(line["amount"] - line["discount"] for line in fact.payload["lines"])


def _sales(facts: list[Fact], zone: ZoneInfo) -> dict[str, Json]:
    counters: dict[str, Json] = {}
    for fact in facts:
        names: tuple[str, str, str | None]
        if fact.name == "OrderPlaced":
            names = ("placed_orders", "placed_amount", None)
        elif fact.name == "OrderPaid":
            names = ("paid_orders", "gross_sales", "units")
        elif fact.name == "OrderCanceled" and fact.payload["was_paid"]:
            names = ("canceled_orders", "canceled_amount", None)
        else:
            continue
        lines, local = fact.payload["lines"], fact.at.astimezone(zone)
        periods = {"hour": f"{local:%Y-%m-%dT%H}:00", "day": f"{local:%Y-%m-%d}", "month": f"{local:%Y-%m}"}
        groups = [("none", "", lines)]
        groups += [("product", key, _of(lines, "product_id", key)) for key in {line["product_id"] for line in lines}]
        groups += [("category", key, _of(lines, "category", key)) for key in {line["category"] for line in lines}]
        for granularity, period in periods.items():
            for group, key, held in groups:
                document = f"{granularity}|{group}|{period}|{key}"
                counter = counters.setdefault(document, {"_id": document} | dict.fromkeys(MEASURES, 0))
                counter[names[0]] += 1
                counter[names[1]] += sum(line["amount"] - line["discount"] for line in held)
                if names[2]:
                    counter[names[2]] += sum(line["quantity"] for line in held)
    return counters


def _of(lines: list[Json], field: str, value: str) -> list[Json]:
    return [line for line in lines if line[field] == value]
