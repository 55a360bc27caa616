"""What every event is wrapped in, and the registry from its name and version to its class.

An event class is written once and never edited after it was published: a changed shape gets a new ``version``, and
an `upcaster` lifts the stored payloads of the old one. Views only ever see the newest; the event feed tells an event in
the version that it was written in. So the shape of every version that was ever published stays known, see `shapes`.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar, TypeVar

import msgspec

from events.values import Value

E = TypeVar("E", bound="DomainEvent")


class DomainEvent(Value, frozen=True, kw_only=True):
    """Something that happened to one aggregate. Subclasses are named in the past tense."""

    schema_version: ClassVar[int] = 1


class UnknownEvent(DomainEvent, frozen=True):
    """Stands for an event that this code does not know (a newer writer's): kept in the log, folded by nobody."""


class Envelope(Value, frozen=True):
    """An event and its place in the log.

    ``position`` is its place in the whole log, from 1, without gaps; ``aggregate_version`` its place in the life of
    its aggregate, from 1, consecutive. ``snapshot`` (a Postgres ``pg_snapshot``) stands only on the last event of a
    run up to which the log is complete, see `eventstore`.
    """

    position: int
    event_id: str
    event_type: str
    schema_version: int
    aggregate_type: str
    aggregate_id: str
    aggregate_version: int
    occurred_at: datetime
    recorded_at: datetime
    correlation_id: str | None
    causation_id: str | None
    traceparent: str | None
    snapshot: str | None
    event: DomainEvent


_types: dict[str, type[DomainEvent]] = {}
_aggregate_types: dict[str, str] = {}
_decoders: dict[tuple[str, int], Callable[[str | bytes], DomainEvent]] = {}
_shapes: dict[tuple[str, int], type[Value]] = {}
_upcasters: dict[tuple[str, int], Callable[[dict[str, Any]], dict[str, Any]]] = {}


def published(aggregate_type: str) -> Callable[[type[E]], type[E]]:
    """Class decorator: enters an event of this kind of aggregate into the registry under its class name."""

    def register(cls: type[E]) -> type[E]:
        name = cls.__name__
        if name in _types:
            raise ValueError(f"two events are named {name}")
        _types[name] = cls
        _aggregate_types[name] = aggregate_type
        _decoders[name, cls.schema_version] = msgspec.json.Decoder(cls).decode
        _shapes[name, cls.schema_version] = cls
        return cls

    return register


def upcaster(
    event_type: str, from_version: int, *, shape: type[Value]
) -> Callable[[Callable[[dict[str, Any]], dict[str, Any]]], None]:
    """Decorator: a pure function from the payload of ``from_version`` to that of the next version.

    ``shape`` is the event's class as it was in ``from_version``, kept under another name: what was published once
    stays documented.
    """

    def register(lift: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        _upcasters[event_type, from_version] = lift
        _shapes[event_type, from_version] = shape

    return register


def shapes() -> dict[tuple[str, int], type[Value]]:
    """The shape of the payload of every event and version that was ever published."""
    return dict(sorted(_shapes.items()))


def event_types() -> dict[str, type[DomainEvent]]:
    """Every published event by name."""
    return dict(_types)


def aggregate_type_of(event: DomainEvent) -> str:
    """The kind of aggregate that an event belongs to."""
    return aggregate_type_named(type(event).__name__)


def aggregate_type_named(event_type: str) -> str:
    """The kind of aggregate that events of this name belong to."""
    return _aggregate_types[event_type]


def aggregate_types() -> set[str]:
    """Every kind of aggregate that publishes events."""
    return set(_aggregate_types.values())


def decode(event_type: str, schema_version: int, payload: str | bytes) -> DomainEvent:
    """The event of a stored payload, upcast to the newest version; `UnknownEvent` for a type nobody declares.

    Raises `msgspec.DecodeError` or `msgspec.ValidationError` for a payload that is not of its type.
    """
    decoder = _decoders.get((event_type, schema_version))
    if decoder is not None:
        return decoder(payload)
    if event_type not in _types:
        return UnknownEvent()
    return _decode_old(event_type, schema_version, payload)


def _decode_old(event_type: str, schema_version: int, payload: str | bytes) -> DomainEvent:
    newest = _types[event_type]
    fields = msgspec.json.decode(payload, type=dict[str, Any])
    for version in range(schema_version, newest.schema_version):
        lift = _upcasters.get((event_type, version))
        if lift is None:
            raise msgspec.ValidationError(f"{event_type} version {version} has no upcaster")
        fields = lift(fields)
    if schema_version > newest.schema_version:
        raise msgspec.ValidationError(f"{event_type} version {schema_version} is newer than this code")
    return msgspec.convert(fields, newest)
