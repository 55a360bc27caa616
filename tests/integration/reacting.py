"""An outside that answers as a test wants, reactions that call it, and a log written event by event."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from events.catalog import StockAdjusted
from events.envelope import Envelope
from events.reaction import Background, Job, Ports, Reaction
from eventstore import PendingEvent, append
from eventstore.beginnings import Beginnings
from projector.daemon import Daemon
from projector.dead_letters import DeadLetters
from projector.reacting.engine import MakeBackground
from projector.reacting.runner import ReactionRunner
from runtime.clock import now
from runtime.mongo import Database, mongo_database
from runtime.postgres import make_engine
from runtime.settings import Settings
from tests.integration.projecting import until

Call = tuple[str, int]
"""The aggregate's id and version."""
OUTCOME_SECONDS = 60.0


class Outside:
    """Notes who called; ``behave`` decides what comes of it."""

    def __init__(self) -> None:
        self.begun: list[Call] = []
        self.done: list[Call] = []
        self.behave: Callable[[Call], Awaitable[None]] = _agrees

    async def answer(self, envelope: Envelope, _: Ports) -> None:
        """A handler."""
        call = envelope.aggregate_id, envelope.aggregate_version
        self.begun.append(call)
        await self.behave(call)
        self.done.append(call)

    def refuse(self, *calls: Call, error: Exception | None = None) -> None:
        """Fail these; without any, all."""

        async def refusing(call: Call) -> None:
            if not calls or call in calls:
                raise error or ValueError("no such address")

        self.behave = refusing

    def agree(self) -> None:
        """Fail nothing any more."""
        self.behave = _agrees

    def attempts(self, call: Call) -> int:
        """How often that was tried."""
        return Counter(self.begun)[call]

    async def did(self, *calls: Call) -> None:
        """Wait until all these have come to their end."""

        async def are_there() -> bool:
            return set(calls) <= set(self.done)

        await until(are_there, f"{calls} among {self.done}")

    async def began(self, *calls: Call, times: int = 1) -> None:
        """Wait until all these were tried so often."""

        async def are_there() -> bool:
            return all(self.attempts(call) >= times for call in calls)

        await until(are_there, f"{calls} among {self.begun}")


async def _agrees(_: Call) -> None:
    return


def a_reaction(outside: Outside, name: str = "ship", **options: Any) -> Reaction:
    """One that answers every adjustment of stock."""
    reaction = Reaction(name)
    reaction.on(StockAdjusted, **options)(outside.answer)
    return reaction


def handing(*reactions: Reaction, jobs: Iterable[Job] = (), ports: Ports | None = None) -> MakeBackground:
    """What the front door would hand to the projector."""

    @asynccontextmanager
    async def background(_: Settings) -> AsyncIterator[Background]:
        yield Background(reactions, tuple(jobs), ports or Ports({}))

    return background


class Stock:
    """A log of adjustments; each product is an aggregate."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._versions: Counter[str] = Counter()

    async def adjust(self, *products: str) -> list[Call]:
        """One event of each, in one transaction, in this order."""
        events = []
        for product in products:
            self._versions[product] += 1
            events.append(PendingEvent(product, self._versions[product], now(), StockAdjusted(delta=1, reason="count")))
        async with self._engine.begin() as connection:
            await append(connection, events)
        return [(event.aggregate_id, event.aggregate_version) for event in events]

    async def raw(self, product: str, event_type: str, payload: str) -> Call:
        """An event as a broken writer would leave it."""
        self._versions[product] += 1
        async with self._engine.begin() as connection:
            await connection.exec_driver_sql(
                "INSERT INTO outbox (event_id, event_type, schema_version, aggregate_type, aggregate_id,"
                " aggregate_version, occurred_at, payload)"
                " VALUES (gen_random_uuid(), $1, 1, 'product', $2, $3, now(), $4)",
                (event_type, product, self._versions[product], payload),
            )
        return product, self._versions[product]


@asynccontextmanager
async def a_stock(url: str, *reactions: str) -> AsyncIterator[Stock]:
    """An empty log; these reactions are known from its beginning on."""
    for name in reactions:
        assert await Beginnings(url).of(name) == 0
    engine = make_engine(url, "test stock", pool_size=2)
    try:
        yield Stock(engine)
    finally:
        await engine.dispose()


class Kept:
    """What reactions keep in MongoDB."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.dead = DeadLetters(database)

    async def checkpoint(self, reaction: str = "ship") -> dict[str, Any]:
        """As it is stored; empty where there is none."""
        return await self.database["reactions"].find_one({"_id": reaction}) or {}

    async def reached(self, position: int, reaction: str = "ship") -> None:
        """Wait until everything up to there is durably done."""

        async def is_reached() -> bool:
            found: int = (await self.checkpoint(reaction)).get("position", -1)
            return found >= position

        await until(is_reached, f"{reaction} at {position}")

    async def letters(self, reaction: str = "ship") -> list[dict[str, Any]]:
        """In the order of the log."""
        return [one async for one in self.database["dead_letters"].find({"projection": reaction}).sort("position", 1)]

    async def states(self, reaction: str = "ship") -> list[tuple[str, int, str]]:
        """Aggregate, position and state of each letter."""
        return [(one["aggregate_id"], one["position"], one["state"]) for one in await self.letters(reaction)]

    async def come_to(self, *states: tuple[str, int, str], reaction: str = "ship") -> None:
        """Wait until the letters stand like this."""

        async def do_they() -> bool:
            return await self.states(reaction) == list(states)

        try:
            await until(do_they, f"letters {states}")
        except AssertionError as error:
            raise AssertionError(f"{error}: {await self.states(reaction)}") from None

    async def retried(self, *letters: str) -> list[dict[str, Any]]:
        """Ask for these (none: all) to be retried; how each has ended."""
        asked = await self.dead.ask_retry(letters or None, "ann")
        return [await self.dead.outcome(one, request, OUTCOME_SECONDS) for one, request in asked.items()]

    async def discarded(self, letter: str) -> dict[str, Any]:
        """Discard it; what has become of it."""
        asked = await self.dead.ask_discard(letter, "ann", "sent twice")
        return await self.dead.outcome(letter, asked[letter], OUTCOME_SECONDS)


@asynccontextmanager
async def kept(settings: Settings) -> AsyncIterator[Kept]:
    """Through a client of the test's own."""
    database = mongo_database(settings, "test")
    try:
        yield Kept(database)
    finally:
        database.client.close()


@asynccontextmanager
async def reacting(settings: Settings, *reactions: Reaction, **more: Any) -> AsyncIterator[Daemon]:
    """A projector in this process, with these reactions."""
    daemon = Daemon(settings, background=handing(*reactions, **more))
    async with daemon.running():
        yield daemon


def runner_of(daemon: Daemon, reaction: str = "ship") -> ReactionRunner:
    """The one of this reaction."""
    return next(runner for runner in daemon.reacting.runners if runner.name == reaction)


async def is_state(daemon: Daemon, state: str, reactions: Sequence[str] = ("ship",)) -> None:
    """Wait until all these have this state."""

    async def are() -> bool:
        known = {runner.name: runner.state for runner in daemon.reacting.runners}
        return all(known.get(one) == state for one in reactions)

    await until(are, f"{reactions} {state}")


def quick(settings: Settings, **changes: Any) -> Settings:
    """The same, with attempts that follow fast on each other."""
    return settings.model_copy(update={"reaction_backoff_seconds": 0.02, "audit_seconds": 0, **changes})


class Gate:
    """Holds up whoever comes to it."""

    def __init__(self) -> None:
        self._open = asyncio.Event()

    def open(self) -> None:
        """Let everybody go on."""
        self._open.set()

    async def passed(self, _: object = None) -> None:
        """Go on once it is open."""
        await self._open.wait()


@pytest.fixture
async def mongo(settings: Settings) -> AsyncIterator[Kept]:
    """What reactions keep there."""
    async with kept(settings) as mongo:
        yield mongo


@pytest.fixture
def outside() -> Outside:
    """It agrees to everything."""
    return Outside()
