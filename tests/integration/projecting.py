"""A shop to write to and views to read, for tests that run the projector between them."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from command.aggregate import Aggregate
from command.bootstrap import before_commit_handlers, neighbours
from command.catalog import service as catalog
from command.errors import ConcurrentUpdate
from command.members import service as members
from command.ordering import service as ordering
from command.ordering.model import Order
from command.ordering.service import Neighbours
from command.unit_of_work import Transactions, UnitOfWork
from events.envelope import aggregate_type_of
from eventstore import Doorbell
from projector.daemon import Daemon
from runtime.mongo import Database, mongo_database
from runtime.postgres import make_engine
from runtime.settings import Settings
from runtime.tokens import Caller
from tests.builders import SHIPPING_INFO
from tests.oracle.views import MEASURES, Fact, Json, Views, expected_views
from tests.settling import settle
from views import all_views

PATIENCE_SECONDS = 60.0
PRODUCTS = [f"p-{number}" for number in range(6)]
STAFF = Caller("staff", frozenset({"staff"}))


class Shop:
    """Gives commands to the domain, and keeps what was acknowledged: the facts that no view may miss."""

    def __init__(self, url: str, engine: AsyncEngine, doorbell: Doorbell) -> None:
        self.url = url
        self.engine = engine
        self.acknowledged: list[Fact] = []
        self._transactions = Transactions(engine, before_commit_handlers(), doorbell)
        self._neighbours = neighbours()[Neighbours]

    async def command(self, work: Callable[[UnitOfWork], Awaitable[Aggregate]]) -> Aggregate:
        """One command in one transaction; once it has committed, its events are facts."""
        async with self._transactions.begin() as uow:
            aggregate = await work(uow)
            await uow.commit()
        self.note(aggregate)
        return aggregate

    def note(self, aggregate: Aggregate) -> None:
        """These events have been committed."""
        self.acknowledged += [
            Fact(
                (aggregate_type_of(pending.event), pending.aggregate_id),
                pending.aggregate_version,
                type(pending.event).__name__,
                pending.occurred_at,
                json.loads(msgspec.json.encode(pending.event)),
            )
            for pending in aggregate.recorded
        ]

    async def open(self) -> None:
        """Two members and a few products."""
        for number in range(2):
            await self.command(
                lambda uow, n=number: members.register_member(  # type: ignore[misc]
                    uow, email=f"m-{n}@example.org", name=f"Member {n}", password_hash="none"
                )
            )
        for number, product_id in enumerate(PRODUCTS):
            await self.command(
                lambda uow, n=number, key=product_id: catalog.register_product(  # type: ignore[misc]
                    uow,
                    key,
                    name=f"Product {n}",
                    category=f"category {n % 2}",
                    unit_price=100 + 7 * n,
                    currency="EUR",
                    stock=10**9,
                )
            )

    async def place(self, *lines: tuple[str, int], member_id: str = "m-1") -> str:
        """An order; returns its id."""
        order = await self.command(
            lambda uow: ordering.place_order(
                uow,
                self._neighbours,
                caller=Caller(member_id, frozenset({"customer"})),
                currency="EUR",
                lines=lines or (("p-0", 2),),
                shipping_info=SHIPPING_INFO,
            )
        )
        return order.id

    async def pay(self, order_id: str, *, card_token: str | None = None) -> None:
        """Pay an order by card, and have the answer at once: the daemon of these tests has no reactions."""

        async def work(uow: UnitOfWork) -> Order:
            await ordering.pay_order(uow, order_id, caller=STAFF, method="card", card_token=card_token, points=0)
            return await settle(uow, order_id, declined=card_token is not None)

        await self.command(work)

    async def redirect(self, order_id: str) -> None:
        """Send an order elsewhere."""
        info = msgspec.structs.replace(SHIPPING_INFO, message="leave it with the neighbours")
        await self.command(lambda uow: ordering.change_shipping_info(uow, order_id, caller=STAFF, shipping_info=info))

    async def call_off(self, order_id: str) -> None:
        """Cancel an order; what was paid is sent back by whoever reacts."""
        await self.command(lambda uow: ordering.cancel_order(uow, order_id, caller=STAFF, reason="changed my mind"))

    async def cancel(self, order_id: str) -> None:
        """Cancel an order, and have what was paid sent back at once."""

        async def work(uow: UnitOfWork) -> Order:
            order = await ordering.cancel_order(uow, order_id, caller=STAFF, reason="changed my mind")
            was_paid = order.payment is not None and order.awaits_refund_of(order.payment.payment_id)
            return await settle(uow, order_id) if was_paid else order

        await self.command(work)

    async def deliver(self, order_id: str) -> None:
        """Ship an order, and bring it."""
        await self.command(lambda uow: ordering.ship_order(uow, order_id, carrier="Snail", tracking_number="S-1"))
        await self.command(lambda uow: ordering.start_delivery(uow, order_id))
        await self.command(lambda uow: ordering.complete_delivery(uow, order_id))

    async def some_order(self, chance: random.Random) -> None:
        """An order's whole life, as chance will have it."""
        lines = [(chance.choice(PRODUCTS), chance.randint(1, 5)) for _ in range(chance.randint(1, 4))]
        order_id = await self.place(*lines, member_id=f"buyer-{chance.randrange(5)}")
        if chance.random() < 0.2:
            await self.redirect(order_id)
        if chance.random() < 0.2:
            await self.pay(order_id, card_token="tok_declined")
        if chance.random() < 0.8:
            await self.pay(order_id)
            if chance.random() < 0.4:
                await self.deliver(order_id)
                return
        if chance.random() < 0.5:
            await self.cancel(order_id)

    async def adjust_stock(self, product_id: str, delta: int) -> None:
        """Book pieces in or out; a concurrent change of the same product may win, and this one then did not happen."""
        try:
            await self.command(lambda uow: catalog.adjust_stock(uow, product_id, delta=delta, reason="count"))
        except ConcurrentUpdate:
            return

    async def raw_event(self, order_id: str, version: int, event_type: str, payload: str) -> None:
        """An event as a newer, or a broken, writer would leave it."""
        async with self.engine.begin() as connection:
            await connection.execute(
                text(
                    "INSERT INTO outbox (event_id, event_type, schema_version, aggregate_type, aggregate_id,"
                    " aggregate_version, occurred_at, payload)"
                    " VALUES (gen_random_uuid(), :event_type, 1, 'order', :order_id, :version, now(), :payload)"
                ),
                {"event_type": event_type, "order_id": order_id, "version": version, "payload": payload},
            )


@asynccontextmanager
async def a_shop(url: str) -> AsyncIterator[Shop]:
    """An opened shop on a migrated database."""
    engine = make_engine(url, "test shop", pool_size=10)
    try:
        async with Doorbell(url) as doorbell:
            shop = Shop(url, engine, doorbell)
            await shop.open()
            yield shop
    finally:
        await engine.dispose()


@asynccontextmanager
async def projecting(settings: Settings) -> AsyncIterator[Daemon]:
    """A projector in this process."""
    daemon = Daemon(settings)
    async with daemon.running():
        yield daemon


class ReadSide:
    """The views as MongoDB holds them."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def checkpoints(self) -> dict[str, Json]:
        """By instance."""
        return {one["_id"]: one async for one in self.database["checkpoints"].find()}

    async def reached(self, position: int, *, instances: int | None = None) -> None:
        """Wait until every instance has come to this position."""
        expected = len(all_views()) if instances is None else instances

        async def is_reached() -> bool:
            positions = [one["position"] for one in (await self.checkpoints()).values()]
            return len(positions) >= expected and min(positions) >= position

        try:
            await until(is_reached, f"every view at {position}")
        except AssertionError as error:
            log = await self.database["registry"].find_one({"_id": "$log"})
            leases = [one async for one in self.database["leases"].find()]
            raise AssertionError(f"{error}: {await self.checkpoints()}, {log}, {leases}") from None

    async def documents(self, instance: str) -> dict[str, Json]:
        """All documents of an instance, by id."""
        return {one["_id"]: one async for one in self.database[instance].find()}

    async def active(self) -> dict[str, str]:
        """Which instance of each view is served."""
        registry = self.database["registry"].find({"_id": {"$ne": "$log"}})
        return {one["_id"]: one["active"] async for one in registry}

    async def views(self) -> Views:
        """Every document of every served view that the oracle judges; counters that were never touched are 0."""
        judged = expected_views([])
        served = await self.active()
        found = {view: await self.documents(instance) for view, instance in served.items() if view in judged}
        for key, counters in found.get("sales_statistics", {}).items():
            found["sales_statistics"][key] = {"_id": key} | dict.fromkeys(MEASURES, 0) | counters
        return found

    async def dead_letters(self) -> list[Json]:
        """In the order of their positions."""
        return [one async for one in self.database["dead_letters"].find().sort("position")]


@asynccontextmanager
async def a_read_side(settings: Settings) -> AsyncIterator[ReadSide]:
    """The database of the views, through a client of the test's own."""
    database = mongo_database(settings, "test")
    try:
        yield ReadSide(database)
    finally:
        database.client.close()


async def until(reached: Callable[[], Awaitable[bool]], what: str) -> None:
    """Look every 10 ms. Fails the test when it takes too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not await reached():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(0.01)


async def logged_facts(url: str) -> list[Fact]:
    """What the log holds, in its order; fails the test where a position is missing or an aggregate is out of order."""
    connection: Any = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT * FROM event_log ORDER BY position")
        assert await connection.fetchval("SELECT count(*) FROM outbox") == 0
    finally:
        await connection.close()
    assert [row["position"] for row in rows] == list(range(1, len(rows) + 1))
    versions: dict[tuple[str, str], int] = {}
    facts = []
    for row in rows:
        aggregate = (row["aggregate_type"], row["aggregate_id"])
        assert row["aggregate_version"] == versions.get(aggregate, 0) + 1, f"{aggregate} at {row['position']}"
        versions[aggregate] = row["aggregate_version"]
        payload = json.loads(row["payload"])
        facts.append(Fact(aggregate, row["aggregate_version"], row["event_type"], row["occurred_at"], payload))
    return facts


def same_facts(left: list[Fact], right: list[Fact]) -> bool:
    """Whether these are the same facts, in whatever order of aggregates."""

    def ordered(facts: list[Fact]) -> list[tuple[object, ...]]:
        return [fact.told() for fact in sorted(facts, key=lambda fact: (fact.aggregate, fact.version))]

    return ordered(left) == ordered(right)
