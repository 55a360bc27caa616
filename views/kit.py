"""What a view is made of: its document, which events touch which documents, and pure folds.

A view is declared, not plumbed. Discovery, loading, batching, ordering, retries, checkpoint, metrics and rebuild are
the projector's business. A fold is pure: no clock, no I/O, no logging; the same events always give the same document.
A changed shape or meaning is a new ``version``: the view is then built afresh beside the old one.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Generic, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from events.envelope import DomainEvent, Envelope
from events.values import Value


class Document(Value, frozen=True, kw_only=True):
    """A view's document. Every field but the id has a default, so that a first event is no special case."""

    id: str = msgspec.field(name="_id")


D = TypeVar("D", bound=Document)
E = TypeVar("E", bound=DomainEvent)
Keys = Callable[[Any], Iterable[str]]
Fold = Callable[[Any, Any, Envelope], Any]


class Index(Value, frozen=True):
    """An index of a view's collection: fields in order, 1 ascending or -1 descending."""

    fields: tuple[tuple[str, int], ...]
    unique: bool = False


class Calendar:
    """Business time: which hour of which day something happened in, by the shop's clock."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._of_quarter = lru_cache(maxsize=65536)(self._hour_of_quarter)

    def hour(self, moment: datetime) -> str:
        """``YYYY-MM-DDTHH:00`` in the business time zone; its first 10 characters are the day, 7 the month."""
        # No zone's offset changes within a quarter of an hour of UTC, so one conversion serves all of it.
        return self._of_quarter(int(moment.timestamp()) // 900)

    def _hour_of_quarter(self, quarter: int) -> str:
        return datetime.fromtimestamp(quarter * 900, self._zone).strftime("%Y-%m-%dT%H:00")


class View:
    """What every view has: a name, a version, indexes, and the events that it takes."""

    def __init__(self, *, name: str, version: int, indexes: tuple[Index, ...] = ()) -> None:
        self.name = name
        self.version = version
        self.indexes = indexes

    @property
    def event_types(self) -> frozenset[type[DomainEvent]]:
        """The events that this view subscribes to; it takes no other."""
        raise NotImplementedError


class Projection(View, Generic[D]):
    """A view of one document per key, each folded from the events that touch it."""

    def __init__(self, document: type[D], *, name: str, version: int, indexes: tuple[Index, ...] = ()) -> None:
        super().__init__(name=name, version=version, indexes=indexes)
        self.document = document
        self.folds: dict[type[DomainEvent], tuple[Keys | None, Fold]] = {}

    @property
    def event_types(self) -> frozenset[type[DomainEvent]]:
        return frozenset(self.folds)

    def on(
        self, *event_types: type[E], keys: Callable[[E], Iterable[str]] | None = None
    ) -> Callable[[Callable[..., D]], Callable[..., D]]:
        """Decorator: fold such an event into each document of ``keys`` (default: the one of its aggregate).

        The fold takes the document and the event, and the envelope as a third argument where it asks for one.
        """

        def register(fold: Callable[..., D]) -> Callable[..., D]:
            uniform = fold if len(inspect.signature(fold).parameters) == 3 else _without_envelope(fold)
            for event_type in event_types:
                if event_type in self.folds:
                    raise ValueError(f"{self.name} folds {event_type.__name__} twice")
                self.folds[event_type] = (keys, uniform)
            return fold

        return register


Bucket = tuple[str, ...]
"""What a counter counts for: a period, then a key. No document counts buckets of different keys."""
Increments = Mapping[str, int]
Contribution = Callable[[Any, Envelope, Calendar], Iterable[tuple[Bucket, Increments]]]


class AdditiveView(View):
    """A view of counters: every event adds to some buckets, in any order, without anything being read first.

    ``roll_up`` turns a bucket into the ids of the documents that count it.
    """

    def __init__(
        self,
        *,
        name: str,
        version: int,
        roll_up: Callable[[Bucket], Iterable[str]],
        indexes: tuple[Index, ...] = (),
    ) -> None:
        super().__init__(name=name, version=version, indexes=indexes)
        self.roll_up = roll_up
        self.contributions: dict[type[DomainEvent], Contribution] = {}

    @property
    def event_types(self) -> frozenset[type[DomainEvent]]:
        return frozenset(self.contributions)

    def on(self, event_type: type[DomainEvent]) -> Callable[[Contribution], Contribution]:
        """Decorator: what such an event adds, as ``(bucket, {field: amount})``."""

        def register(contribution: Contribution) -> Contribution:
            self.contributions[event_type] = contribution
            return contribution

        return register


def _without_envelope(fold: Callable[..., Any]) -> Fold:
    return lambda document, event, _: fold(document, event)
