"""Tables and statements of the ordering context."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, Index, Integer, Table, Text, select, text

from command.database import Moment, metadata
from command.errors import NotFound
from command.ordering.model import Order, OrderStatus, Payment, PaymentStatus
from command.storage import AggregateRepository
from events.ordering import Address, AppliedCoupon, Line, Orderer, Receiver, ShippingInfo

orders = Table(
    "orders",
    metadata,
    Column("order_id", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("member_id", Text, nullable=False),
    Column("orderer_name", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("total_amount", BigInteger, nullable=False),
    Column("discount_amount", BigInteger, nullable=False),
    Column("receiver_name", Text, nullable=False),
    Column("receiver_phone", Text, nullable=False),
    Column("zip_code", Text, nullable=False),
    Column("address1", Text, nullable=False),
    Column("address2", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("payment_id", Text),
    Column("payment_method", Text),
    Column("payment_amount", BigInteger),
    Column("payment_points", BigInteger),
    Column("payment_status", Text),
    Column("carrier", Text),
    Column("tracking_number", Text),
    Column("cancel_reason", Text),
    Column("placed_at", Moment, nullable=False),
    Column("coupon_id", Text),
    Column("coupon_code", Text),
    Index("ix_orders_member_id_placed_at", "member_id", "placed_at"),
    Index("ix_orders_unpaid", "placed_at", postgresql_where=text("status = 'PAYMENT_WAITING'")),
)

order_lines = Table(
    "order_lines",
    metadata,
    Column("order_id", Text, primary_key=True),
    Column("line_number", Integer, primary_key=True),
    Column("product_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("category", Text, nullable=False),
    Column("unit_price", BigInteger, nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("discount", BigInteger, nullable=False),
)

# One round trip and one plan however many lines: row by row, the lines of an import cost as much as all else together.
_LINE_ARRAYS = {column.name: f"{column.type}[]" for column in order_lines.columns}


def _insert_lines(first: int) -> str:
    arrays = ", ".join(f"${number}::{of}" for number, of in enumerate(_LINE_ARRAYS.values(), first))
    return f"INSERT INTO order_lines ({', '.join(_LINE_ARRAYS)}) SELECT * FROM unnest({arrays})"  # noqa: S608


_ORDER_COLUMNS = tuple(column.name for column in orders.columns)
# Most commands place one order: one round trip for it and its lines. The outbox row stays a statement of its own, after
# them, see `command.unit_of_work`: parts of one statement have no order.
_INSERT_ONE = (
    f"WITH placed AS (INSERT INTO orders ({', '.join(_ORDER_COLUMNS)})"  # noqa: S608  (names of columns)
    f" VALUES ({', '.join(f'${number}' for number in range(1, len(_ORDER_COLUMNS) + 1))}))"
    f" {_insert_lines(len(_ORDER_COLUMNS) + 1)}"
)
_INSERT_LINES = _insert_lines(1)


class Orders(AggregateRepository[Order]):
    """The orders of the shop."""

    table = orders
    key = "order_id"

    async def get(self, order_id: str) -> Order:
        """Raises `NotFound`."""
        row = (await self.connection.execute(select(orders).where(orders.c.order_id == order_id))).mappings().first()
        if row is None:
            raise NotFound(what="order")
        lines = await self.connection.execute(
            select(order_lines).where(order_lines.c.order_id == order_id).order_by(order_lines.c.line_number)
        )
        return self.loaded(_order(row, lines.mappings()))

    async def unpaid(self, placed_before: datetime, limit: int) -> list[str]:
        """The ids of the oldest orders that were placed before then and wait for their payment, also one under way."""
        found = await self.connection.scalars(
            select(orders.c.order_id)
            .where(orders.c.status == OrderStatus.PAYMENT_WAITING.value, orders.c.placed_at < placed_before)
            .order_by(orders.c.placed_at)
            .limit(limit)
        )
        return list(found)

    async def existing(self, order_ids: Sequence[str]) -> dict[str, OrderStatus]:
        """Those of these ids that are orders, with their status."""
        rows = await self.connection.execute(
            select(orders.c.order_id, orders.c.status).where(orders.c.order_id.in_(order_ids))
        )
        return {row.order_id: OrderStatus(row.status) for row in rows}

    async def write_new(self, aggregates: Sequence[Order]) -> None:
        """Orders and their lines: one statement for a single order, two for however many."""
        lines = _line_columns(aggregates)
        if len(aggregates) == 1:
            row = self.row(aggregates[0])
            await self.connection.exec_driver_sql(_INSERT_ONE, (*(row[name] for name in _ORDER_COLUMNS), *lines))
        else:
            await super().write_new(aggregates)
            await self.connection.exec_driver_sql(_INSERT_LINES, lines)

    def row(self, aggregate: Order) -> dict[str, Any]:
        """The order as a row; its lines never change and are written once."""
        shipping, payment, coupon = aggregate.shipping_info, aggregate.payment, aggregate.coupon
        return {
            "order_id": aggregate.id,
            "version": aggregate.version,
            "status": aggregate.status.value,
            "member_id": aggregate.orderer.member_id,
            "orderer_name": aggregate.orderer.name,
            "currency": aggregate.currency,
            "total_amount": aggregate.total_amount,
            "discount_amount": aggregate.discount_amount,
            "receiver_name": shipping.receiver.name,
            "receiver_phone": shipping.receiver.phone,
            "zip_code": shipping.address.zip_code,
            "address1": shipping.address.address1,
            "address2": shipping.address.address2,
            "message": shipping.message,
            "payment_id": payment.payment_id if payment else None,
            "payment_method": payment.method if payment else None,
            "payment_amount": payment.amount if payment else None,
            "payment_points": payment.points if payment else None,
            "payment_status": payment.status.value if payment else None,
            "carrier": aggregate.carrier,
            "tracking_number": aggregate.tracking_number,
            "cancel_reason": aggregate.cancel_reason,
            "placed_at": aggregate.placed_at,
            "coupon_id": coupon.coupon_id if coupon else None,
            "coupon_code": coupon.coupon_code if coupon else None,
        }


def _line_columns(placed: Sequence[Order]) -> tuple[list[Any], ...]:
    # In the order of the table's columns.
    lines = [line for order in placed for line in order.lines]
    return (
        [order.id for order in placed for _ in order.lines],
        [number for order in placed for number in range(1, len(order.lines) + 1)],
        [line.product_id for line in lines],
        [line.name for line in lines],
        [line.category for line in lines],
        [line.unit_price for line in lines],
        [line.quantity for line in lines],
        [line.amount for line in lines],
        [line.discount for line in lines],
    )


def _order(row: Any, lines: Any) -> Order:
    return Order(
        id=row["order_id"],
        version=row["version"],
        status=OrderStatus(row["status"]),
        orderer=Orderer(row["member_id"], row["orderer_name"]),
        currency=row["currency"],
        total_amount=row["total_amount"],
        discount_amount=row["discount_amount"],
        shipping_info=ShippingInfo(
            Receiver(row["receiver_name"], row["receiver_phone"]),
            Address(row["zip_code"], row["address1"], row["address2"]),
            row["message"],
        ),
        coupon=AppliedCoupon(row["coupon_id"], row["coupon_code"]) if row["coupon_id"] is not None else None,
        payment=_payment(row),
        carrier=row["carrier"],
        tracking_number=row["tracking_number"],
        cancel_reason=row["cancel_reason"],
        placed_at=row["placed_at"],
        lines=tuple(
            Line(
                line["product_id"],
                line["name"],
                line["category"],
                line["unit_price"],
                line["quantity"],
                line["amount"],
                line["discount"],
            )
            for line in lines
        ),
    )


def _payment(row: Any) -> Payment | None:
    if row["payment_id"] is None:
        return None
    return Payment(
        payment_id=row["payment_id"],
        method=row["payment_method"],
        amount=row["payment_amount"],
        points=row["payment_points"],
        status=PaymentStatus(row["payment_status"]),
    )
