"""Tables and statements of the payments context.

Steps of one payment meet on its saga's row: whoever takes a step locks it first, and reads the payment afterwards, by a
statement of its own. Do not join the two: one that had to wait for the lock shows the payment as it was before.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Table, Text, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from command.aggregate import Aggregate
from command.database import Moment, metadata
from command.payments.model import Asked, Payment, PaymentStatus, Saga
from command.storage import AggregateRepository

payment_sagas = Table(
    "payment_sagas",
    metadata,
    Column("payment_id", Text, primary_key=True),
    Column("order_id", Text, nullable=False),
    Column("member_id", Text),
    Column("amount", BigInteger),
    Column("currency", Text),
    Column("points", BigInteger),
    Column("card_token", Text),
    Column("unanswered", BigInteger, nullable=False, server_default="0"),
    Column("rolled_back_at", Moment),
    CheckConstraint("num_nulls(member_id, amount, currency, points) IN (0, 4)", name="asked_whole"),
    CheckConstraint("amount IS NOT NULL OR rolled_back_at IS NOT NULL", name="known"),
    CheckConstraint("unanswered >= 0", name="unanswered"),
)

payments = Table(
    "payments",
    metadata,
    Column("payment_id", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("order_id", Text, nullable=False),
    Column("member_id", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("points", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("charge_id", Text),
    Column("is_uncertain", Boolean, nullable=False),
)


class Sagas:
    """The records of the sagas. Written at once: they are no aggregates, and hold no events."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection

    def touched(self) -> Sequence[Aggregate]:
        """None: see the class."""
        return ()

    async def save(self) -> None:
        """Nothing is left to be written."""

    async def note(self, asked: Asked) -> None:
        """A payment was asked for; noted once, and not at all where it was rolled back already."""
        await self.connection.execute(
            insert(payment_sagas)
            .values(
                payment_id=asked.payment_id,
                order_id=asked.order_id,
                member_id=asked.member_id,
                amount=asked.amount,
                currency=asked.currency,
                points=asked.points,
                card_token=asked.card_token,
            )
            .on_conflict_do_nothing()
        )

    async def roll_back(self, payment_id: str, order_id: str, *, at: datetime) -> None:
        """No step forward may be taken any more, not even one that is still to be asked for."""
        await self.connection.execute(
            insert(payment_sagas)
            .values(payment_id=payment_id, order_id=order_id, rolled_back_at=at)
            .on_conflict_do_update(
                index_elements=["payment_id"],
                set_={"rolled_back_at": at, "card_token": None},
                where=payment_sagas.c.rolled_back_at.is_(None),
            )
        )

    async def locked(self, payment_id: str) -> Saga | None:
        """The record, and no other step until this transaction ends."""
        found = await self.connection.execute(
            select(payment_sagas).where(payment_sagas.c.payment_id == payment_id).with_for_update()
        )
        row = found.mappings().first()
        return None if row is None else _saga(row)

    async def count_unanswered(self, payment_id: str, delta: int) -> None:
        """One more question to the gateway is under way (1), or one of them never got there (-1)."""
        await self._set(payment_id, unanswered=payment_sagas.c.unanswered + delta)

    async def forget_card(self, payment_id: str) -> None:
        """The card will not be asked again."""
        await self._set(payment_id, card_token=None)

    async def _set(self, payment_id: str, **values: Any) -> None:
        await self.connection.execute(
            update(payment_sagas).where(payment_sagas.c.payment_id == payment_id).values(**values)
        )


class Payments(AggregateRepository[Payment]):
    """The payments that something has happened to; an open one is made of what its saga was asked for."""

    table = payments
    key = "payment_id"

    async def of(self, asked: Asked) -> Payment:
        """The payment as it is now."""
        found = await self.connection.execute(select(payments).where(payments.c.payment_id == asked.payment_id))
        row = found.mappings().first()
        payment = Payment.open(asked) if row is None else _payment(row)
        self.add(payment)
        return payment

    def row(self, aggregate: Payment) -> dict[str, Any]:
        """The payment as a row."""
        return {
            "payment_id": aggregate.id,
            "version": aggregate.version,
            "order_id": aggregate.order_id,
            "member_id": aggregate.member_id,
            "amount": aggregate.amount,
            "currency": aggregate.currency,
            "points": aggregate.points,
            "status": aggregate.status.value,
            "charge_id": aggregate.charge_id,
            "is_uncertain": aggregate.is_uncertain,
        }


def _saga(row: Any) -> Saga:
    asked = None
    if row["amount"] is not None:
        asked = Asked(
            payment_id=row["payment_id"],
            order_id=row["order_id"],
            member_id=row["member_id"],
            amount=row["amount"],
            currency=row["currency"],
            points=row["points"],
            card_token=row["card_token"],
        )
    return Saga(asked=asked, unanswered=row["unanswered"], is_rolled_back=row["rolled_back_at"] is not None)


def _payment(row: Any) -> Payment:
    return Payment(
        id=row["payment_id"],
        version=row["version"],
        order_id=row["order_id"],
        member_id=row["member_id"],
        amount=row["amount"],
        currency=row["currency"],
        points=row["points"],
        status=PaymentStatus(row["status"]),
        charge_id=row["charge_id"],
        is_uncertain=row["is_uncertain"],
    )
