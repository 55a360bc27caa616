"""A shop whose reactions are run by hand, in any order that a test likes, and a gateway that it pays at."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
import msgspec
from sqlalchemy import text

from command.bootstrap import before_commit_handlers
from command.ordering import reactions as ordering_reactions
from command.ordering import service as ordering
from command.ordering.model import Order, PaymentStatus
from command.ordering.storage import Orders
from command.payments.gateway import Gateway
from command.payments.ports import ports as payment_ports
from command.payments.reactions import reactions as payment_reactions
from command.payments.simulator import create_app
from command.steps import Steps
from command.unit_of_work import Transactions, UnitOfWork
from events.envelope import DomainEvent, Envelope, aggregate_type_of, decode
from events.points import PointsUsed
from events.reaction import Ports, Reaction
from eventstore import Doorbell, EventLog, Sequencer
from runtime.clock import now
from runtime.settings import Settings
from tests.integration.projecting import STAFF, Shop, a_shop
from tests.integration.serving import served

ATTEMPTS = 3
REACTIONS = {one.name: one for one in (*ordering_reactions.reactions, *payment_reactions)}
AMOUNT = 200
"""What an order of `World.order` costs."""


@dataclass
class Reacting:
    """Runs reactions as the daemon promises to: in log order within a sequence, at least once, a few attempts each."""

    log: EventLog
    sequencer: Sequencer
    ports: Ports
    letters: dict[str, list[Envelope]] = field(default_factory=lambda: defaultdict(list))
    _positions: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self, *names: str) -> None:
        """Until these reactions (all, where none is named) have nothing left to do."""
        chosen = [REACTIONS[name] for name in names or REACTIONS]
        while [one for one in chosen if await self._advance(one)]:
            pass

    async def events(self, after: int = 0) -> Sequence[Envelope]:
        """The log."""
        async with self._lock:
            while (await self.sequencer.sequence()).moved:
                pass
            stored = await self.log.get(after, 10_000)
        return [one.envelope(decode(one.event_type, one.schema_version, one.payload)) for one in stored]

    async def told(self, aggregate_id: str) -> list[str]:
        """The names of one aggregate's events."""
        return [one.event_type for one in await self.events() if one.aggregate_id == aggregate_id]

    async def retry(self, name: str) -> None:
        """Its dead letters once more; those that fail again stay."""
        for envelope in self.letters.pop(name, []):
            await self._answer(REACTIONS[name], envelope)

    async def again(self, name: str, event_type: type[DomainEvent]) -> None:
        """Every event of a type once more, as after a crash before the checkpoint."""
        for envelope in await self.events():
            if isinstance(envelope.event, event_type):
                await REACTIONS[name].answers[event_type].handler(envelope, self.ports)

    async def _advance(self, reaction: Reaction) -> bool:
        fresh = await self.events(self._positions[reaction.name])
        for envelope in fresh:
            if type(envelope.event) in reaction.event_types:
                await self._answer(reaction, envelope)
            self._positions[reaction.name] = envelope.position
        return bool(fresh)

    async def _answer(self, reaction: Reaction, envelope: Envelope) -> None:
        blocked = {reaction.sequence_of(letter) for letter in self.letters[reaction.name]}
        if reaction.sequence_of(envelope) in blocked:
            self.letters[reaction.name].append(envelope)
        elif (error := await self._attempted(reaction, envelope)) is not None:
            settled = reaction.exhausted is not None and await reaction.exhausted(envelope, error, self.ports)
            if not settled:
                self.letters[reaction.name].append(envelope)

    async def _attempted(self, reaction: Reaction, envelope: Envelope) -> Exception | None:
        error: Exception | None = None
        for _ in range(ATTEMPTS):
            try:
                await reaction.answers[type(envelope.event)].handler(envelope, self.ports)
            except Exception as failure:  # what the daemon does with whatever a handler raises
                error = failure
            else:
                return None
        return error


@dataclass
class World:
    """Everything together."""

    shop: Shop
    reacting: Reacting
    ports: Ports
    client: httpx.AsyncClient

    async def order(self) -> str:
        """A placed order."""
        return await self.shop.place()

    async def pay(self, order_id: str, card_token: str | None = None, *, points: int = 0) -> str:
        """Ask for a payment; its id."""
        order = await self.shop.command(
            lambda uow: ordering.pay_order(
                uow, order_id, caller=STAFF, method="card", card_token=card_token, points=points
            )
        )
        assert isinstance(order, Order)
        assert order.payment is not None
        return order.payment.payment_id

    async def expire(self, order_id: str) -> None:
        """The clock has run out."""

        async def step(uow: UnitOfWork) -> None:
            (await uow.repository(Orders).get(order_id)).expire(at=now())

        await self.ports.of(Steps).take(None, step)

    async def payment_status(self, order_id: str) -> PaymentStatus | None:
        """As the order sees it."""

        async def look(uow: UnitOfWork) -> PaymentStatus | None:
            payment = (await uow.repository(Orders).get(order_id)).payment
            return payment.status if payment else None

        return await self.ports.of(Steps).take(None, look)

    async def points_used(self, order_id: str, payment_id: str, points: int) -> None:
        """What the points context says of its own step."""
        await self._say(PointsUsed(order_id=order_id, payment_id=payment_id, points=points, balance=0))

    async def charges(self, payment_id: str | None = None) -> list[dict[str, Any]]:
        """The simulator's ledger."""
        query = {"limit": "1000"} | ({"payment_id": payment_id} if payment_id else {})
        answer = await self.client.get("/charges", params=query)
        items: list[dict[str, Any]] = answer.raise_for_status().json()["items"]
        return items

    async def charged(self, payment_id: str) -> list[str]:
        """The state of every charge of a payment."""
        return [charge["status"] for charge in await self.charges(payment_id)]

    async def saga(self, payment_id: str) -> dict[str, Any]:
        """The row."""
        async with self.shop.engine.connect() as connection:
            found = await connection.execute(
                text("SELECT * FROM payment_sagas WHERE payment_id = :id"), {"id": payment_id}
            )
            return dict(found.mappings().one())

    async def somebody_waits_for_a_lock(self) -> bool:
        """Of all who work on this database."""
        async with self.shop.engine.connect() as connection:
            waiting = await connection.scalar(
                text(
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
                )
            )
            return bool(waiting)

    async def _say(self, event: DomainEvent) -> None:
        async with self.shop.engine.begin() as connection:
            await connection.execute(
                text(
                    "INSERT INTO outbox (event_id, event_type, schema_version, aggregate_type, aggregate_id,"
                    " aggregate_version, occurred_at, payload) VALUES (gen_random_uuid(), :event_type, 1,"
                    " :aggregate_type, :aggregate_id, 1, now(), :payload)"
                ),
                {
                    "event_type": type(event).__name__,
                    "aggregate_type": aggregate_type_of(event),
                    "aggregate_id": str(uuid4()),
                    "payload": msgspec.json.encode(event).decode(),
                },
            )


@asynccontextmanager
async def a_world(settings: Settings, **replaced: Any) -> AsyncIterator[World]:
    """A shop, its reactions, and the simulator on a free port; ``replaced`` are settings."""
    assert settings.postgres_url is not None
    url = settings.postgres_url
    async with served(create_app(settings)) as simulator:
        told = settings.model_copy(update={"payment_gateway_url": simulator.url} | replaced)
        async with (
            a_shop(url) as shop,
            Doorbell(url) as doorbell,
            EventLog(url, "test", archive_dir=settings.archives) as log,
            _sequencer(url) as sequencer,
            payment_ports(told) as made,
            httpx.AsyncClient(base_url=simulator.url, trust_env=False) as client,
        ):
            steps = Steps(Transactions(shop.engine, before_commit_handlers(), doorbell))
            ports = Ports({Steps: steps, **made})
            yield World(shop, Reacting(log, sequencer, ports), ports, client)


@asynccontextmanager
async def _sequencer(url: str) -> AsyncIterator[Sequencer]:
    sequencer = Sequencer(url)
    try:
        yield sequencer
    finally:
        await sequencer.close()


def with_gateway(world: World, gateway: Gateway) -> None:
    """The reactions ask another gateway from here on."""
    world.reacting.ports = Ports({Steps: world.ports.of(Steps), Gateway: gateway})
