"""Tables and statements of the points context.

The database holds the promises too, whatever the code above it does: no balance is below zero, and no payment is booked
twice in one direction.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Column, Table, Text, UniqueConstraint, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from command.aggregate import Aggregate
from command.database import Moment, metadata
from command.errors import ConcurrentUpdate
from command.points.model import PaymentSaga, PointsAccount, SagaState
from command.storage import AggregateRepository
from events.points import PointsCharged, PointsReturned, PointsUsed
from eventstore import PendingEvent

points_accounts = Table(
    "points_accounts",
    metadata,
    Column("member_id", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("balance", BigInteger, CheckConstraint("balance >= 0", name="not_negative"), nullable=False),
)

points_ledger = Table(
    "points_ledger",
    metadata,
    Column("member_id", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("points", BigInteger, nullable=False),
    Column("balance", BigInteger, nullable=False),
    Column("payment_id", Text),
    Column("order_id", Text),
    Column("reason", Text),
    Column("at", Moment, nullable=False),
    CheckConstraint("kind = 'used' AND points < 0 OR kind IN ('charged', 'returned') AND points > 0", name="signed"),
    CheckConstraint("(kind = 'charged') = (payment_id IS NULL)", name="for_a_payment"),
    UniqueConstraint("payment_id", "kind"),
)

points_sagas = Table(
    "points_sagas",
    metadata,
    Column("payment_id", Text, primary_key=True),
    Column("order_id", Text, nullable=False),
    Column("member_id", Text),
    Column("points", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
)


class PointsAccounts(AggregateRepository[PointsAccount]):
    """The members' accounts; every change of a balance is entered in the ledger."""

    table = points_accounts
    key = "member_id"

    async def locked(self, member_id: str) -> PointsAccount:
        """The member's account, and nobody else's until the transaction ends; a new one where there is none.

        Do not load it without its lock: payments of one member would then lose the race for its version, again and
        again, instead of queueing up. Of a new one there is nothing to lock: see `AggregateRepository.insert`.
        """
        if member_id in self._touched:
            return self._touched[member_id]
        statement = select(points_accounts).where(points_accounts.c.member_id == member_id).with_for_update()
        row = (await self.connection.execute(statement)).first()
        account = (
            PointsAccount(id=member_id)
            if row is None
            else PointsAccount(id=member_id, version=row.version, balance=row.balance)
        )
        self.add(account)
        return account

    async def save(self) -> None:
        """The accounts, and an entry in the ledger for each event that changed a balance."""
        await super().save()
        entries = [_entry(pending) for account in self._touched.values() for pending in account.recorded]
        booked = [entry for entry in entries if entry is not None]
        if booked:
            await self.connection.execute(insert(points_ledger), booked)

    def row(self, aggregate: PointsAccount) -> dict[str, Any]:
        """The account as a row."""
        return {"member_id": aggregate.id, "version": aggregate.version, "balance": aggregate.balance}


class PointsSagas:
    """What became of each payment that asked for points, or was called off before it could."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self._opened: list[PaymentSaga] = []
        self._changed: list[PaymentSaga] = []

    async def locked(self, payment_id: str) -> PaymentSaga | None:
        """The payment's record, which nobody else changes until the transaction ends; ``None`` where there is none."""
        statement = select(points_sagas).where(points_sagas.c.payment_id == payment_id).with_for_update()
        row = (await self.connection.execute(statement)).mappings().first()
        return None if row is None else PaymentSaga(**{**row, "state": SagaState(row["state"])})

    def open(self, saga: PaymentSaga) -> None:
        """Enter a payment of which there is no record."""
        self._opened.append(saga)

    def change(self, saga: PaymentSaga) -> None:
        """Note where a payment has come to; it is locked."""
        self._changed.append(saga)

    def touched(self) -> Sequence[Aggregate]:
        """A record is no aggregate; what it tells is told by the account's events."""
        return ()

    async def save(self) -> None:
        """Raises `ConcurrentUpdate` where another transaction entered such a payment at the same moment."""
        for saga in self._opened:
            await self._insert(saga)
        for saga in self._changed:
            where = points_sagas.c.payment_id == saga.payment_id
            await self.connection.execute(update(points_sagas).where(where).values(state=saga.state.value))

    async def _insert(self, saga: PaymentSaga) -> None:
        row = {
            "payment_id": saga.payment_id,
            "order_id": saga.order_id,
            "member_id": saga.member_id,
            "points": saga.points,
            "state": saga.state.value,
        }
        try:
            await self.connection.execute(insert(points_sagas), row)
        except IntegrityError as error:
            if "pk_points_sagas" in str(error.orig):
                # Begun again, the step finds it. Not ON CONFLICT DO NOTHING: the points would be booked all the same.
                raise ConcurrentUpdate(aggregate="PaymentSaga", id=saga.payment_id) from None
            raise


def _entry(pending: PendingEvent) -> dict[str, Any] | None:
    """What the ledger says of an event; ``None`` for one that changed no balance."""
    event = pending.event
    match event:
        case PointsCharged():
            booked: tuple[Any, ...] = "charged", event.points, None, None, event.reason
        case PointsUsed():
            booked = "used", -event.points, event.payment_id, event.order_id, None
        case PointsReturned():
            booked = "returned", event.points, event.payment_id, event.order_id, event.reason
        case _:
            return None
    kind, points, payment_id, order_id, reason = booked
    return {
        "member_id": pending.aggregate_id,
        "version": pending.aggregate_version,
        "kind": kind,
        "points": points,
        "balance": event.balance,
        "payment_id": payment_id,
        "order_id": order_id,
        "reason": reason,
        "at": pending.occurred_at,
    }
