"""What answers look like, for OpenAPI. Documents leave as they are stored; a test holds them to these models."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from query.edge import Status
from runtime.openapi import example

_AT = "2026-11-21T09:07:03.332313Z"
_ORDER_ID, _MEMBER_ID = "01a1fd92-dea5-72b4-9ebd-f38eef0652b2", "01a1fd92-dea4-71e9-8101-fab87600b3ad"
_SUMMARY = {
    "order_id": _ORDER_ID,
    "status": "PAYMENT_WAITING",
    "version": 1,
    "currency": "USD",
    "orderer": {"member_id": _MEMBER_ID, "name": "Ben"},
    "total_amount": 1980,
    "discount_amount": 0,
    "points_used": 0,
    "payment_amount": 1980,
    "line_count": 1,
    "units": 2,
    "placed_at": _AT,
    "updated_at": _AT,
}
_ORDER = {name: value for name, value in _SUMMARY.items() if name not in ("line_count", "units")} | {
    "lines": [
        {
            "product_id": "mug-blue",
            "name": "Mug, blue",
            "category": "kitchen",
            "unit_price": 990,
            "quantity": 2,
            "amount": 1980,
            "discount": 0,
        }
    ],
    "coupon": None,
    "stock_status": "RESERVED",
    "coupon_status": None,
    "points_status": None,
    "payment": None,
    "shipment": None,
    "cancellation": None,
    "refund": None,
    "shipping_info": {
        "receiver": {"name": "Ben", "phone": "555-0100"},
        "address": {"zip_code": "12345", "address1": "1 Example Street", "address2": ""},
        "message": "ring twice",
    },
    "timeline": [{"event": "OrderPlaced", "at": _AT}],
}
_PRODUCT = {
    "product_id": "mug-blue",
    "name": "Mug, blue",
    "category": "kitchen",
    "unit_price": 990,
    "currency": "USD",
    "stock": 118,
    "version": 1,
    "registered_at": _AT,
    "updated_at": _AT,
}
_SALES = {
    "placed_orders": 1,
    "placed_amount": 1980,
    "paid_orders": 1,
    "gross_sales": 1980,
    "units": 2,
    "canceled_orders": 0,
    "canceled_amount": 0,
    "net_sales": 1980,
}


class Answer(BaseModel):
    """Money is in minor units of `currency`, times are RFC 3339 in UTC."""

    model_config = ConfigDict(extra="forbid")


class OrdererAnswer(Answer):
    """Who ordered, named as at that moment."""

    member_id: str
    name: str


class LineAnswer(Answer):
    """`amount` is `unit_price * quantity`; `discount` its share of the order's."""

    product_id: str
    name: str
    category: str
    unit_price: int
    quantity: int
    amount: int
    discount: int


class AppliedCouponAnswer(Answer):
    """Which of the member's coupons the discount comes from."""

    coupon_id: str
    coupon_code: str


class PaymentAnswer(Answer):
    """The latest payment."""

    payment_id: str
    method: str
    status: Literal["REQUESTED", "APPROVED", "DECLINED", "REFUND_REQUESTED", "REFUNDED", "REFUND_FAILED"]
    amount: int
    points: int
    requested_at: str
    approved_at: str | None
    declined_at: str | None
    decline_code: str | None
    decline_reason: str | None


class ShipmentAnswer(Answer):
    """Where the parcel is."""

    carrier: str
    tracking_number: str
    shipped_at: str
    delivery_started_at: str | None
    delivered_at: str | None


class CancellationAnswer(Answer):
    """Why and when the order was called off."""

    reason: str
    canceled_by: str
    canceled_at: str


class RefundAnswer(Answer):
    """What goes back of what was paid."""

    status: Literal["REFUND_REQUESTED", "REFUNDED", "REFUND_FAILED"]
    amount: int
    requested_at: str
    settled_at: str | None
    failure: str | None


class ReceiverAnswer(Answer):
    """Who takes the parcel."""

    name: str
    phone: str


class AddressAnswer(Answer):
    """Where the parcel goes."""

    zip_code: str
    address1: str
    address2: str


class ShippingInfoAnswer(Answer):
    """Where, to whom, and a word to the carrier."""

    receiver: ReceiverAnswer
    address: AddressAnswer
    message: str


class StepAnswer(Answer):
    """One event of the order's life."""

    event: str
    at: str


class OrderDetailAnswer(Answer):
    """One order, all of it; `payment_amount` is what is left to pay by card after discount and points."""

    model_config = example(**_ORDER)

    order_id: str
    status: Status
    version: int
    currency: str
    orderer: OrdererAnswer
    lines: list[LineAnswer]
    total_amount: int
    discount_amount: int
    points_used: int
    payment_amount: int
    coupon: AppliedCouponAnswer | None
    stock_status: Literal["RESERVED", "SOLD", "RELEASED"]
    coupon_status: Literal["USED", "RETURNED"] | None
    points_status: Literal["REQUESTED", "USED", "REJECTED", "RETURN_REQUESTED", "RETURNED"] | None
    payment: PaymentAnswer | None
    shipment: ShipmentAnswer | None
    cancellation: CancellationAnswer | None
    refund: RefundAnswer | None
    shipping_info: ShippingInfoAnswer | None
    timeline: list[StepAnswer]
    placed_at: str
    updated_at: str


class ListItem(Answer):
    """`read_model_state` stands only where later changes wait behind a dead letter."""

    read_model_state: Literal["parked"] | None = None


class OrderSummary(ListItem):
    """One order of a list; `units` in pieces."""

    order_id: str
    status: Status
    version: int
    currency: str
    orderer: OrdererAnswer
    total_amount: int
    discount_amount: int
    points_used: int
    payment_amount: int
    line_count: int
    units: int
    placed_at: str
    updated_at: str


class OrderPage(Answer):
    """Newest first; `next_cursor` is null at the end."""

    model_config = example(items=[_SUMMARY], next_cursor=None)

    items: list[OrderSummary]
    next_cursor: str | None


class ProductAnswer(ListItem):
    """A product; `stock` is what open orders have left."""

    model_config = example(**_PRODUCT)

    product_id: str
    name: str
    category: str
    unit_price: int
    currency: str
    stock: int
    version: int
    registered_at: str
    updated_at: str


class ProductPage(Answer):
    """By product id; `next_cursor` is null at the end."""

    model_config = example(items=[_PRODUCT], next_cursor=None)

    items: list[ProductAnswer]
    next_cursor: str | None


class LastOrderAnswer(Answer):
    """The order placed last."""

    order_id: str
    placed_at: str
    total_amount: int


class MemberAnswer(Answer):
    """`lifetime_value`: what was paid for, less what was canceled; e-mail and date are null for a guest."""

    model_config = example(
        member_id=_MEMBER_ID,
        name="Ben",
        email="ben@example.com",
        email_verified=True,
        version=2,
        registered_at=_AT,
        order_count=1,
        lifetime_value=1980,
        currency="USD",
        last_order={"order_id": _ORDER_ID, "placed_at": _AT, "total_amount": 1980},
    )

    member_id: str
    name: str
    email: str | None
    email_verified: bool
    version: int
    registered_at: str | None
    order_count: int
    lifetime_value: int
    currency: str
    last_order: LastOrderAnswer | None


class SalesTotals(Answer):
    """Booked at the time of placing, paying and canceling; `net_sales` is `gross_sales - canceled_amount`."""

    placed_orders: int
    placed_amount: int
    paid_orders: int
    gross_sales: int
    units: int
    canceled_orders: int
    canceled_amount: int
    net_sales: int


class SalesRow(SalesTotals):
    """One period and key: `key` is null, the product id or the category."""

    period: str
    key: str | None


class SalesAnswer(Answer):
    """Rows by period, then key; `totals` count each order once; `as_of`: all events recorded until then are in."""

    model_config = example(
        granularity="day",
        time_zone="UTC",
        currency="USD",
        rows=[{"period": "2026-11-21", "key": None, **_SALES}],
        totals=_SALES,
        as_of=_AT,
    )

    granularity: Literal["hour", "day", "week", "month"]
    time_zone: str
    currency: str
    rows: list[SalesRow]
    totals: SalesTotals
    as_of: str | None


class BestSeller(Answer):
    """A product's sales in the range; `name` is null where the catalog does not know it."""

    product_id: str
    name: str | None
    paid_orders: int
    units: int
    gross_sales: int
    canceled_amount: int
    net_sales: int


class BestSellers(Answer):
    """The best first."""

    model_config = example(
        items=[
            {
                "product_id": "mug-blue",
                "name": "Mug, blue",
                "paid_orders": 1,
                "units": 2,
                "gross_sales": 1980,
                "canceled_amount": 0,
                "net_sales": 1980,
            }
        ],
        currency="USD",
        time_zone="UTC",
        as_of=_AT,
    )

    items: list[BestSeller]
    currency: str
    time_zone: str
    as_of: str | None


class ProjectionAnswer(Answer):
    """How far one instance of a view has come; `lag_seconds` grows too when no projector is heard of.

    `state` is its role: `active` (served), `building`, or `previous`. `health` is `idle`, `behind`, `building`,
    `stuck` (the log grows and the view does not follow) or `stopped` (no projector works).
    """

    name: str
    version: int
    state: str
    health: str
    position: int
    head: int
    lag_events: int
    lag_seconds: float
    parked_sequences: int


class ProjectionList(Answer):
    """By name and version."""

    model_config = example(
        items=[
            {
                "name": "order_detail",
                "version": 1,
                "state": "active",
                "health": "idle",
                "position": 4711,
                "head": 4711,
                "lag_events": 0,
                "lag_seconds": 0.0,
                "parked_sequences": 0,
            }
        ]
    )

    items: list[ProjectionAnswer]
