"""A log written event by event, views with a fold that fails, and the same log folded by a sound projector beside it.

What the views must hold in the end is what a projector that never met the poison makes of the same log.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from command.ordering.model import Order
from events.catalog import ProductRegistered
from events.envelope import DomainEvent, Envelope
from events.members import MemberRegistered
from eventstore import PendingEvent, append
from projector.daemon import Daemon
from projector.dead_letters import DeadLetters
from runtime.clock import now
from runtime.mongo import mongo_database
from runtime.postgres import make_engine
from runtime.settings import Settings
from tests.builders import a_line, an_order
from tests.instances import instance
from views import all_views, member_profile, order_detail, product_catalog, sales_statistics

PATIENCE_SECONDS = 60.0
VIEWS = {one.view.name: one.view.folds for one in (order_detail, member_profile, product_catalog)} | {
    sales_statistics.view.name: sales_statistics.view.contributions
}
"""The views of what the log here holds, by name; there are others, which stay empty."""


class Log:
    """What has happened, and orders to whom more can happen."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self.count = 0
        self._orders: dict[str, Order] = {}
        self._written: dict[str, int] = {}

    async def open(self) -> None:
        """A member and two products."""
        registered = {"name": "Pen", "category": "things", "unit_price": 100, "currency": "EUR", "stock": 1000}
        await self._append(
            PendingEvent("m-1", 1, now(), MemberRegistered(email="ann@example.org", name="Ann")),
            *(PendingEvent(f"p-{n}", 1, now(), ProductRegistered(**registered)) for n in (1, 2)),  # type: ignore[arg-type]
        )

    async def place(self, *products: str) -> str:
        """An order of two pieces of each; returns its id."""
        order = an_order(str(uuid4()), *(a_line(product) for product in products or ("p-1",)))
        self._orders[order.id] = order
        await self._flush(order)
        return order.id

    async def pay(self, order_id: str) -> None:
        """Two events: the payment is asked for, and approved."""
        order, payment_id = self._orders[order_id], str(uuid4())
        order.request_payment(payment_id, method="card", at=now())
        order.approve_payment(at=now())
        await self._flush(order)

    async def cancel(self, order_id: str) -> None:
        """One event."""
        order = self._orders[order_id]
        order.cancel(reason="changed my mind", canceled_by="m-1", at=now())
        await self._flush(order)

    async def _flush(self, order: Order) -> None:
        written = self._written.get(order.id, 0)
        await self._append(*order.recorded[written:])
        self._written[order.id] = len(order.recorded)

    async def _append(self, *events: PendingEvent) -> None:
        async with self.engine.begin() as connection:
            await append(connection, events)
        self.count += len(events)


class Views:
    """The views of one database."""

    def __init__(self, settings: Settings) -> None:
        self.database = mongo_database(settings, "test")
        self.letters = DeadLetters(self.database)

    async def reached(self, position: int) -> None:
        """Wait until every view has come to this position."""

        async def is_reached() -> bool:
            found = await self.database["checkpoints"].find().to_list(None)
            return len(found) == len(all_views()) and all(one["position"] >= position for one in found)

        await until(is_reached, f"position {position}")

    async def documents(self) -> dict[str, dict[str, Any]]:
        """Every document of every view."""
        return {view: {one["_id"]: one async for one in self.database[instance(view)].find()} for view in VIEWS}

    async def states(self, view: str) -> list[tuple[str, str]]:
        """Event type and state of a view's letters, in the order of the log."""
        found = self.database["dead_letters"].find({"projection": view}).sort("position", 1)
        return [(one["event_type"], one["state"]) async for one in found]

    async def ids(self, view: str) -> list[str]:
        """The ids of a view's letters, in the order of the log."""
        found = self.database["dead_letters"].find({"projection": view}).sort("position", 1)
        return [one["_id"] async for one in found]

    async def parked(self, view: str) -> int:
        """How many aggregates the view's checkpoint says are parked."""
        found = await self.database["checkpoints"].find_one({"view": view})
        assert found is not None
        parked: int = found["parked_sequences"]
        return parked


@asynccontextmanager
async def projecting(settings: Settings) -> AsyncIterator[Daemon]:
    """A projector in this process."""
    daemon = Daemon(settings)
    async with daemon.running():
        yield daemon


async def soundly_projected(settings: Settings, log: Log) -> dict[str, dict[str, Any]]:
    """The documents that a projector makes of the log into a database of its own; nothing may be poisoned now."""
    beside = settings.model_copy(update={"mongo_database": f"{settings.mongo_database}_sound"})
    views = Views(beside)
    try:
        async with projecting(beside):
            await views.reached(log.count)
        return await views.documents()
    finally:
        await views.database.client.drop_database(beside.mongo_database)
        views.database.client.close()


def poison(monkeypatch: pytest.MonkeyPatch, view: str, event: type[DomainEvent], *aggregate_ids: str) -> None:
    """Let a view's fold of such events of these aggregates fail."""

    def fails(_: Any) -> Any:
        raise ValueError("no such step")

    distort(monkeypatch, view, event, fails, *aggregate_ids)


def distort(
    monkeypatch: pytest.MonkeyPatch,
    view: str,
    event: type[DomainEvent],
    distorted: Callable[[Any], Any],
    *aggregate_ids: str,
) -> None:
    """Let a view's fold of such events of these aggregates come to something else."""
    folds: dict[type[DomainEvent], Any] = VIEWS[view]
    sound = folds[event]
    fold = sound[1] if isinstance(sound, tuple) else sound

    def fold_or_distort(*arguments: Any) -> Any:
        envelope = next(one for one in arguments if isinstance(one, Envelope))
        folded = fold(*arguments)
        return distorted(folded) if envelope.aggregate_id in aggregate_ids else folded

    monkeypatch.setitem(folds, event, (sound[0], fold_or_distort) if isinstance(sound, tuple) else fold_or_distort)


async def until(reached: Callable[[], Awaitable[bool]], what: str) -> None:
    """Look every 10 ms. Fails the test when it takes too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not await reached():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(0.01)


@pytest.fixture
async def log(settings: Settings) -> AsyncIterator[Log]:
    """A log with a member and two products."""
    engine = make_engine(settings.postgres_url or "", "test log", pool_size=2)
    log = Log(engine)
    await log.open()
    yield log
    await engine.dispose()


@pytest.fixture
async def views(settings: Settings) -> AsyncIterator[Views]:
    """The views of this test."""
    views = Views(settings)
    yield views
    views.database.client.close()
