"""Points on a real database: deliveries to their reaction as the daemon makes them, and what the ledger holds."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import text

from command.points import service
from command.points.reactions import points as reaction
from command.steps import Steps
from command.unit_of_work import Handlers, Transactions, UnitOfWork
from events.envelope import Envelope
from events.ordering import PaymentDeclined, PaymentRequested
from events.payments import PaymentFailed, PaymentRefunded
from events.reaction import Ports
from eventstore import Doorbell
from runtime.postgres import make_engine
from tests.unit.views.given import an_envelope

_BALANCES = "SELECT member_id, balance FROM points_accounts"
_LEDGER = "SELECT member_id, version, kind, points, balance, payment_id, order_id, reason FROM points_ledger"
_TOLD = """
    SELECT aggregate_id AS member_id, aggregate_version AS version, event_type, payload
      FROM outbox WHERE aggregate_type = 'points_account'
"""


class Daemon:
    """One that hands events to the points' reaction; several may do so at the same time."""

    def __init__(self, url: str) -> None:
        self.engine = make_engine(url, "test reactions", pool_size=8)
        self.transactions = Transactions(self.engine, Handlers(), Doorbell(url))
        self.steps = Steps(self.transactions)
        self._ports = Ports({Steps: self.steps})

    async def deliver(self, envelope: Envelope) -> None:
        """Have the event answered."""
        await reaction.answers[type(envelope.event)].handler(envelope, self._ports)

    async def charge(self, member_id: str, points: int) -> None:
        """Top up, as staff would."""

        async def charged(uow: UnitOfWork) -> None:
            await service.charge_points(uow, member_id, points=points, reason="test")

        await self.steps.take(None, charged)

    async def rows(self, statement: str, **values: object) -> list[dict[str, Any]]:
        """Straight from the database."""
        async with self.engine.connect() as connection:
            return [dict(row) for row in (await connection.execute(text(statement), values)).mappings()]

    async def balances(self) -> dict[str, int]:
        """By member."""
        return {row["member_id"]: row["balance"] for row in await self.rows(_BALANCES)}

    async def ledger(self) -> list[dict[str, Any]]:
        """Every entry, by member and version."""
        return await self.rows(f"{_LEDGER} ORDER BY member_id, version")

    async def events(self, payment_id: str = "pay-1") -> list[str]:
        """What was told of a payment, in order."""
        return [row["event_type"] for row in await self.told("id") if row["payload"].get("payment_id") == payment_id]

    async def told(self, order: str = "aggregate_id, aggregate_version") -> list[dict[str, Any]]:
        """Every event of the accounts."""
        rows = await self.rows(f"{_TOLD} ORDER BY {order}")
        return [{**row, "payload": json.loads(row["payload"])} for row in rows]

    async def saga(self, payment_id: str = "pay-1") -> str | None:
        """What became of a payment."""
        found = await self.rows("SELECT state FROM points_sagas WHERE payment_id = :id", id=payment_id)
        return found[0]["state"] if found else None

    async def faults(self, called_off: Sequence[str] = ()) -> list[str]:
        """What no order of deliveries may lead to; ``called_off``: payments that failed, or were declined or refunded.

        From the tables and the events alone, with plain additions.
        """
        ledger, faults = await self.ledger(), []
        for member_id, balance in (await self.balances()).items():
            running = 0
            for entry in (one for one in ledger if one["member_id"] == member_id):
                running += entry["points"]
                if entry["balance"] != running or running < 0:
                    faults.append(f"{member_id}'s ledger says {entry['balance']} at {entry['version']}: {running}")
            if balance != running:
                faults.append(f"{member_id} has {balance}, and by the ledger {running}")
        for payment_id in {entry["payment_id"] for entry in ledger} - {None}:
            booked = Counter(one["kind"] for one in ledger if one["payment_id"] == payment_id)
            if booked["used"] != 1 or booked["returned"] > 1:
                faults.append(f"{payment_id} is booked {dict(booked)}")
            if payment_id in called_off and booked["used"] != booked["returned"]:
                faults.append(f"{payment_id} was called off, and holds points")
        return faults + await self._untold(ledger)

    async def _untold(self, ledger: Sequence[dict[str, Any]]) -> list[str]:
        named = {"PointsCharged": "charged", "PointsUsed": "used", "PointsReturned": "returned"}
        told = [
            (row["member_id"], row["version"], named[row["event_type"]], row["payload"]["balance"])
            for row in await self.told()
            if row["event_type"] in named
        ]
        held = [(one["member_id"], one["version"], one["kind"], one["balance"]) for one in ledger]
        return [] if told == held else [f"events tell {told}, the ledger {held}"]


@asynccontextmanager
async def a_daemon(url: str) -> AsyncIterator[Daemon]:
    """One, on a migrated database."""
    daemon = Daemon(url)
    try:
        yield daemon
    finally:
        await daemon.engine.dispose()


def requested(
    points: int = 60,
    *,
    payment_id: str = "pay-1",
    order_id: str = "o-1",
    member_id: str = "ann",
    method: str = "points",
) -> Envelope:
    """A payment of Ann's asks for points."""
    event = PaymentRequested(
        payment_id=payment_id, member_id=member_id, method=method, amount=100, currency="EUR", points=points
    )
    return an_envelope(event, "order", order_id)


def failed(points: int = 60, *, payment_id: str = "pay-1", order_id: str = "o-1", member_id: str = "ann") -> Envelope:
    """The card did not pay the rest."""
    about = _about(points, order_id, member_id)
    return an_envelope(PaymentFailed(**about, code="card-declined", reason="No money."), "payment", payment_id)


def refunded(points: int = 60, *, payment_id: str = "pay-1", order_id: str = "o-1", member_id: str = "ann") -> Envelope:
    """The card got the rest back."""
    return an_envelope(PaymentRefunded(**_about(points, order_id, member_id)), "payment", payment_id)


def declined(*, payment_id: str = "pay-1", order_id: str = "o-1") -> Envelope:
    """The order waits for the payment no more."""
    reason = "The order was not paid in time."
    return an_envelope(PaymentDeclined(payment_id=payment_id, reason=reason, code="expired"), "order", order_id)


def _about(points: int, order_id: str, member_id: str) -> dict[str, Any]:
    return {"order_id": order_id, "member_id": member_id, "amount": 100, "currency": "EUR", "points": points}
