"""One command, one transaction: aggregates, what other contexts add before commit, events, all or nothing.

`UnitOfWork.commit` does, in this order: runs the before-commit handlers of every recorded event (an event that a
handler causes is handled too, to a bounded depth); writes the aggregates, guarded by their version; appends the
events to the outbox; commits. Writing the aggregates first is what gives the events of one aggregate rising outbox
ids across transactions, see `eventstore`. Do not move the append.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from command.aggregate import Aggregate
from command.errors import StaleVersion
from command.preconditions import Expected
from events.envelope import DomainEvent
from eventstore import Doorbell, PendingEvent, append
from runtime import tracing

DEEPEST_CAUSATION = 8


class Repository(Protocol):
    """Loads and saves one kind of aggregate, or accumulates one kind of change, within one transaction."""

    def __init__(self, connection: AsyncConnection) -> None: ...

    def touched(self) -> Sequence[Aggregate]:
        """Aggregates that were loaded or added, in that order."""

    async def save(self) -> None:
        """Write what changed. Raises `ConcurrentUpdate` where the stored version is not the expected one."""


R = TypeVar("R", bound=Repository)
A = TypeVar("A", bound=Aggregate)
Handler = Callable[[Any, "UnitOfWork"], Awaitable[None]]


class Handlers:
    """Before-commit handlers by event type; they run in the order of their registration."""

    def __init__(self) -> None:
        self._by_type: dict[type[DomainEvent], list[Handler]] = defaultdict(list)

    def before_commit(self, event_type: type[DomainEvent], handler: Handler) -> None:
        """Run ``handler`` in the transaction that records such an event; its failure undoes everything."""
        self._by_type[event_type].append(handler)

    def of(self, event: DomainEvent) -> Sequence[Handler]:
        """Who wants to know; for most events nobody."""
        return self.of_type(type(event))

    def of_type(self, event_type: type[DomainEvent]) -> Sequence[Handler]:
        """Who wants to know of such events, in the order in which they run."""
        return self._by_type.get(event_type, ())


class NothingRecordedError(RuntimeError):
    """A command recorded no event: what it finds done already, it has to refuse."""


class CausationTooDeepError(RuntimeError):
    """Handlers kept causing events: somewhere two of them answer each other."""


@dataclass(frozen=True, slots=True)
class Committed:
    """A transaction that recorded events is in the database; ``transaction_id`` makes a consistency token."""

    transaction_id: int


class UnitOfWork:
    """The repositories of one transaction. Made by `unit_of_work`; never shared between requests."""

    def __init__(self, connection: AsyncConnection, handlers: Handlers) -> None:
        self.connection = connection
        self.expected: Expected | None = None
        self._expectation_met = False
        self._handlers = handlers
        self._repositories: dict[type[Any], Repository] = {}

    def repository(self, kind: type[R]) -> R:
        """This transaction's repository of that kind."""
        found = self._repositories.get(kind)
        if found is None:
            found = self._repositories[kind] = kind(self.connection)
        return found  # type: ignore[return-value]  # keyed by its own class

    def as_expected(self, aggregate: A) -> A:
        """The aggregate that the command is about, loaded and the caller's to see. Raises `StaleVersion`.

        Between loading it and asking anything of it: an order that has moved on would refuse by a rule first, and one
        that is not the caller's must not tell its version.
        """
        if self.expected is not None and not self.expected.includes(aggregate.version):
            raise StaleVersion(actual_version=aggregate.version)
        self._expectation_met = True
        return aggregate

    async def commit(self, **origin: str | None) -> Committed:
        """Make it all durable. Every command records at least one event; one that records none is a bug.

        ``origin``: what `write` takes.
        """
        written = await self.write(**origin)
        await self.connection.commit()
        return written

    async def write(
        self, *, correlation_id: str | None = None, causation_id: str | None = None, traceparent: str | None = None
    ) -> Committed:
        """All of `commit` but its last step, for who has something to add to the transaction; true once it commits."""
        if self.expected is not None and not self._expectation_met:
            # What the command makes did not exist: no condition on it holds, and none is passed over in silence.
            raise StaleVersion(actual_version=0)
        events = await self._handled_events()
        if not events:
            raise NothingRecordedError
        for repository in list(self._repositories.values()):
            await repository.save()
        transaction_id = await append(
            self.connection,
            events,
            correlation_id=correlation_id,
            causation_id=causation_id,
            traceparent=traceparent,
        )
        return Committed(transaction_id)

    async def commit_what_there_is(self, **origin: str | None) -> None:
        """`commit` for a step that may have found nothing to tell: then only what its repositories hold is saved."""
        if any(aggregate.recorded for one in self._repositories.values() for aggregate in one.touched()):
            await self.write(**origin)
        else:
            for repository in list(self._repositories.values()):
                await repository.save()
        await self.connection.commit()

    async def _handled_events(self) -> list[PendingEvent]:
        handled: list[PendingEvent] = []
        taken: dict[int, int] = defaultdict(int)
        for _ in range(DEEPEST_CAUSATION):
            fresh = self._fresh(taken)
            if not fresh:
                return handled
            handled += fresh
            for pending in fresh:
                for handler in self._handlers.of(pending.event):
                    await handler(pending, self)
        if self._fresh(taken):
            raise CausationTooDeepError(f"more than {DEEPEST_CAUSATION} rounds of before-commit handlers")
        return handled

    def _fresh(self, taken: dict[int, int]) -> list[PendingEvent]:
        fresh: list[PendingEvent] = []
        for repository in list(self._repositories.values()):
            for aggregate in repository.touched():
                fresh += aggregate.recorded[taken[id(aggregate)] :]
                taken[id(aggregate)] = len(aggregate.recorded)
        return fresh


@dataclass(frozen=True, slots=True)
class Transactions:
    """Opens units of work on one database, with one set of handlers and one doorbell."""

    engine: AsyncEngine
    handlers: Handlers
    doorbell: Doorbell

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[UnitOfWork]:
        """A unit of work; what was not committed at the end of the block is rolled back."""
        with tracing.inner_span("transaction", "client", db__system__name="postgresql"):
            async with self.engine.connect() as connection:
                yield UnitOfWork(connection, self.handlers)
            # Also after a rollback: a ring too many wakes the projector for nothing, one too few costs a second.
            self.doorbell.ring()
