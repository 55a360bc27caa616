"""What a reaction is made of: the events that it answers, and a function that does something outside for each.

A reaction is declared, not plumbed. Reading the log, order, concurrency, attempts, backoff, dead letters, checkpoint
and metrics are the projector's business. What it promises a handler: every event of the types it subscribed to, at
least once, in the order of the log within one sequence, and at the same time as those of other sequences. So a handler
looks first whether its effect is there already, and gives the event's id to the outside as its idempotency key.

A handler that raises is called again, a few times, with a backoff; then the event is a dead letter of this reaction,
and its sequence waits behind it. `NotNow` is no such failure: it is waited for, however long that takes.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from events.envelope import DomainEvent, Envelope

T = TypeVar("T")
E = TypeVar("E", bound=DomainEvent)


class NotNow(Exception):
    """One of our own stores is away: the event is tried again until it is back, and that counts as no attempt."""


class Ports:
    """What a handler works with, by its type: the way to run a command, the mailer, a gateway."""

    def __init__(self, ports: Mapping[type[Any], Any]) -> None:
        self._ports = dict(ports)

    def of(self, kind: type[T]) -> T:
        """The one port of this type. Raises `KeyError` where the process was put together without it."""
        port: T = self._ports[kind]
        return port


Handler = Callable[[Envelope, Ports], Awaitable[None]]
Exhausted = Callable[[Envelope, Exception, Ports], Awaitable[bool]]
SequenceKey = Callable[[Any], str]


@dataclass(frozen=True, slots=True)
class Answer:
    """How a reaction answers one type of event. ``key`` names the sequence; none: the event's own aggregate."""

    handler: Handler
    key: SequenceKey | None


class Reaction:
    """A named subscription with its own checkpoint, whose effect is outside of every view."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.answers: dict[type[DomainEvent], Answer] = {}
        self.exhausted: Exhausted | None = None

    @property
    def event_types(self) -> frozenset[type[DomainEvent]]:
        """The events that it subscribes to; it takes no other."""
        return frozenset(self.answers)

    def on(self, event_type: type[E], *, key: Callable[[E], str] | None = None) -> Callable[[Handler], Handler]:
        """Decorator: answer such an event. Events of one ``key`` (default: aggregate id) are answered one by one.

        Aggregates of different types may share a sequence by sharing the key: a payment's events and its order's.
        """

        def register(handler: Handler) -> Handler:
            if event_type in self.answers:
                raise ValueError(f"{self.name} answers {event_type.__name__} twice")
            self.answers[event_type] = Answer(handler, key)
            return handler

        return register

    def when_exhausted(self, settle: Exhausted) -> Exhausted:
        """Decorator: what to do once an event's attempts are used up, and before it is a dead letter.

        True says that this settles it: no letter, and the sequence goes on. It is called again where it raises.
        """
        self.exhausted = settle
        return settle

    def sequence_of(self, envelope: Envelope) -> str:
        """The sequence that an event belongs to."""
        key = self.answers[type(envelope.event)].key
        return envelope.aggregate_id if key is None else key(envelope.event)


@dataclass(frozen=True, slots=True)
class Job:
    """Something to be done again and again, by the daemon's schedule; several daemons may do it at the same time."""

    name: str
    every_seconds: float
    run: Callable[[Ports], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Background:
    """All that the write side has for the daemon to run."""

    reactions: Iterable[Reaction]
    jobs: Iterable[Job]
    ports: Ports
