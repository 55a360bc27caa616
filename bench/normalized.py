"""The orders in normalized tables, for those who would do without a read side.

They are filled from the documents, so that whoever answers from them can answer the same. What helps is there: an index
for each of the questions, and an order's ``units`` beside its amounts, which spares the statistics a join.
"""

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any, ClassVar

import asyncpg
from pymongo import MongoClient
from sqlalchemy import BigInteger, DateTime, ForeignKey, Index, MetaData, Text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

SCHEMA = "normalized"
_AT_ONCE = 5_000


class Base(DeclarativeBase):
    """Of all tables."""

    metadata = MetaData(schema=SCHEMA)
    type_annotation_map: ClassVar[dict[Any, Any]] = {str: Text, int: BigInteger, datetime: DateTime(timezone=True)}


class Line(Base):
    """One product of an order."""

    __tablename__ = "order_lines"

    order_id: Mapped[str] = mapped_column(ForeignKey("orders.order_id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    product_id: Mapped[str]
    name: Mapped[str]
    category: Mapped[str]
    unit_price: Mapped[int]
    quantity: Mapped[int]
    amount: Mapped[int]
    discount: Mapped[int]


class Step(Base):
    """One entry of an order's timeline."""

    __tablename__ = "order_steps"

    order_id: Mapped[str] = mapped_column(ForeignKey("orders.order_id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    event: Mapped[str]
    at: Mapped[datetime]


class Payment(Base):
    """An order's latest payment, and what went back of it."""

    __tablename__ = "payments"

    order_id: Mapped[str] = mapped_column(ForeignKey("orders.order_id"), primary_key=True)
    payment_id: Mapped[str]
    method: Mapped[str]
    status: Mapped[str]
    amount: Mapped[int]
    points: Mapped[int]
    requested_at: Mapped[datetime]
    approved_at: Mapped[datetime | None]
    refund_status: Mapped[str | None]
    refund_amount: Mapped[int | None]
    refund_requested_at: Mapped[datetime | None]
    refund_settled_at: Mapped[datetime | None]


class Order(Base):
    """An order, with what there is once of it."""

    __tablename__ = "orders"

    order_id: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[str]
    version: Mapped[int]
    currency: Mapped[str]
    member_id: Mapped[str]
    orderer_name: Mapped[str]
    total_amount: Mapped[int]
    discount_amount: Mapped[int]
    points_used: Mapped[int]
    payment_amount: Mapped[int]
    units: Mapped[int]
    stock_status: Mapped[str]
    receiver_name: Mapped[str]
    receiver_phone: Mapped[str]
    zip_code: Mapped[str]
    address1: Mapped[str]
    address2: Mapped[str]
    message: Mapped[str]
    cancel_reason: Mapped[str | None]
    canceled_by: Mapped[str | None]
    placed_at: Mapped[datetime]
    paid_at: Mapped[datetime | None]
    canceled_at: Mapped[datetime | None]
    updated_at: Mapped[datetime]

    lines: Mapped[list[Line]] = relationship(order_by=Line.number)
    steps: Mapped[list[Step]] = relationship(order_by=Step.number)
    payment: Mapped[Payment | None] = relationship()

    __table_args__ = (
        Index("newest_first", "placed_at", "order_id"),
        Index("paid", "paid_at"),
        Index("canceled", "canceled_at"),
    )


async def fill(url: str, mongo_url: str, database: str, collection: str) -> None:
    """Make the tables and put the documents' contents into them."""
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
    connection = await asyncpg.connect(url)
    await connection.execute(f"CREATE SCHEMA {SCHEMA}")
    async with engine.begin() as making:
        await making.run_sync(Base.metadata.create_all)
    await engine.dispose()
    with MongoClient[dict[str, Any]](mongo_url) as client:
        documents = iter(client[database][collection].find())
        while batch := list(islice(documents, _AT_ONCE)):
            for table, rows in _tables(batch):
                await connection.copy_records_to_table(
                    table.__tablename__,
                    schema_name=SCHEMA,
                    columns=list(rows[0]),
                    records=[tuple(row.values()) for row in rows],
                )
    await connection.execute("VACUUM ANALYZE")
    await connection.close()


def _tables(batch: list[dict[str, Any]]) -> Iterator[tuple[type[Base], list[dict[str, Any]]]]:
    yield Order, [_order(one) for one in batch]
    for table, field in ((Line, "lines"), (Step, "timeline")):
        yield (
            table,
            [
                {"order_id": one["_id"], "number": number, **_timed(entry)}
                for one in batch
                for number, entry in enumerate(one[field], 1)
            ],
        )
    paid = [_payment(one) for one in batch if one["payment"]]
    if paid:
        yield Payment, paid


def _order(one: dict[str, Any]) -> dict[str, Any]:
    same = ("status", "version", "currency", "total_amount", "discount_amount", "points_used", "payment_amount")
    shipping, canceled, payment = one["shipping_info"], one["cancellation"] or {}, one["payment"] or {}
    return {
        "order_id": one["_id"],
        **{name: one[name] for name in same},
        "stock_status": one["stock_status"],
        "member_id": one["orderer"]["member_id"],
        "orderer_name": one["orderer"]["name"],
        "units": sum(line["quantity"] for line in one["lines"]),
        "receiver_name": shipping["receiver"]["name"],
        "receiver_phone": shipping["receiver"]["phone"],
        **shipping["address"],
        "message": shipping["message"],
        "cancel_reason": canceled.get("reason"),
        "canceled_by": canceled.get("canceled_by"),
        **_timed(
            {
                "placed_at": one["placed_at"],
                "paid_at": payment.get("approved_at"),
                "canceled_at": canceled.get("canceled_at"),
                "updated_at": one["updated_at"],
            }
        ),
    }


def _payment(one: dict[str, Any]) -> dict[str, Any]:
    same = ("payment_id", "method", "status", "amount", "points", "requested_at", "approved_at")
    refund = one["refund"] or {}
    refunded = {f"refund_{name}": refund.get(name) for name in ("status", "amount", "requested_at", "settled_at")}
    return _timed({"order_id": one["_id"], **{name: one["payment"][name] for name in same}, **refunded})


def _timed(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: datetime.fromisoformat(value) if value is not None and (name == "at" or name.endswith("_at")) else value
        for name, value in row.items()
    }
