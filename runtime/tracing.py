"""Traces, off until an endpoint is set; and while off, nothing that makes spans is imported, and no span thought of.

One trace goes from a request through its transaction, the outbox, the log, each projection's write and each reaction to
what these cause: an event carries the ``traceparent`` of the transaction that recorded it. Whether a trace is kept is
decided once, where it begins, and its ``traceparent`` says so: of an event that is in none, nothing is recorded.

No personal data, no token and no value of a statement is put into a span: ids, positions, names of routes and events.
Spans leave in a thread of their own over a bounded queue; where the collector is away they are dropped and counted.
"""

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from prometheus_client import Counter

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from runtime.settings import Settings

EXPORTED = Counter("readside_spans_exported_total", "Spans, by what became of them", ["outcome"])

Attribute = str | int | bool


class Event(Protocol):
    """What a span says of an event of the log."""

    @property
    def position(self) -> int: ...
    @property
    def event_type(self) -> str: ...
    @property
    def aggregate_type(self) -> str: ...
    @property
    def aggregate_id(self) -> str: ...
    @property
    def occurred_at(self) -> datetime: ...
    @property
    def recorded_at(self) -> datetime: ...
    @property
    def traceparent(self) -> str | None: ...


_EXPORT_SECONDS = 5.0
_END_SECONDS = 5.0
_NOTHING: AbstractContextManager[None] = nullcontext()
_SAMPLED = 1

_provider: Any = None
_tracer: Any = None


def is_on() -> bool:
    """Whether anybody wants spans."""
    return _tracer is not None


def configure_traces(settings: "Settings", process: str) -> None:
    """Send spans to the collector of the settings, if there is one."""
    if settings.otlp_endpoint is None:
        return
    from runtime.exporting import provider_of

    use(provider_of(settings, process, EXPORTED, _EXPORT_SECONDS))


def use(provider: "TracerProvider | None") -> None:
    """Make spans with this provider; ``None`` for none."""
    global _provider, _tracer
    _provider = provider
    _tracer = None if provider is None else provider.get_tracer("readside")


def stop() -> None:
    """Let go what has been recorded; takes some seconds at most, and no longer."""
    if _provider is not None:
        # Its own way to end waits for a collector that is away for as long as half a minute.
        ending = threading.Thread(target=_provider.shutdown, name="last spans", daemon=True)
        ending.start()
        ending.join(_END_SECONDS)


def span(name: str, kind: str = "internal", *, under: str | None = None, **attributes: Attribute) -> Any:
    """A context manager: the current span while it is entered.

    ``under`` is the ``traceparent`` that it belongs to, instead of the span that is current. Names of attributes are
    written with ``__`` for the dot.
    """
    return _NOTHING if _tracer is None else _entered(name, kind, _context(under), attributes)


def inner_span(name: str, kind: str = "internal", **attributes: Attribute) -> Any:
    """`span` below the current one; nothing where there is none: a job of our own begins no trace."""
    return _NOTHING if _tracer is None or traceparent() is None else _entered(name, kind, None, attributes)


def span_of_event(name: str, event: Event, kind: str = "consumer", **attributes: Attribute) -> Any:
    """`span` in the trace of an event. Where that is not kept nothing is recorded, nor begun by what it causes."""
    if _tracer is None or event.traceparent is None:
        return _NOTHING
    return span(name, kind, under=event.traceparent, **_of_event(event), **attributes)


@contextmanager
def _entered(name: str, kind: str, context: Any, attributes: dict[str, Attribute]) -> Iterator[None]:
    # Not the message of what is raised, which is the default: it may hold what somebody typed, or a statement's values.
    with _tracer.start_as_current_span(
        name,
        context=context,
        kind=_kind(kind),
        attributes=_dotted(attributes),
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield
        except Exception as error:
            current.set_attribute("error.type", type(error).__name__)
            raise


def traceparent(or_else: str | None = None) -> str | None:
    """That of the current span, for whoever is told of it; ``or_else`` where there is none."""
    if _tracer is None:
        return or_else
    from opentelemetry.trace import get_current_span

    context = get_current_span().get_span_context()
    if not context.is_valid:
        return or_else
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def describe(name: str | None = None, **attributes: Attribute) -> None:
    """Say more of the current span."""
    if _tracer is None:
        return
    from opentelemetry.trace import get_current_span

    current = get_current_span()
    if name is not None:
        current.update_name(name)
    current.set_attributes(_dotted(attributes))


def is_kept(parent: str | None) -> bool:
    """Whether a ``traceparent`` says that its trace is recorded."""
    # The version that the W3C has published ends with two digits of flags.
    return parent is not None and len(parent) == 55 and bool(int(parent[-2:], 16) & _SAMPLED)


def trace_id_of(parent: str | None) -> str | None:
    """The trace that a ``traceparent`` belongs to."""
    return None if parent is None else parent[3:35]


def sequenced(events: Iterable[Event], *, not_before: datetime) -> None:
    """Events have been read from the log just now: from the outbox, over their commit, to their place in the log.

    Those that were recorded before ``not_before`` are read once more, by a rebuild or a restart, and are no news.
    """
    read_at = time.time_ns()
    for one in events:
        if is_kept(one.traceparent) and one.recorded_at >= not_before:
            _past("sequence", one.traceparent, _nanoseconds(one.recorded_at), read_at, one)


def projected(view: str, events: Sequence[Event], batch: int, began_at: int) -> None:
    """A view's batch is durable, and so visible: a span in the trace of each of these events, from ``began_at`` on.

    Where a batch holds more than one event it has a span of its own, which links to all of those.
    """
    from opentelemetry.trace import Link, get_current_span

    ended_at, link = time.time_ns(), tuple[Link, ...]()
    if batch > 1:
        links = [Link(get_current_span(_context(one.traceparent)).get_span_context()) for one in events]
        written = _tracer.start_span(
            f"write {view}",
            links=links,
            start_time=began_at,
            attributes={"readside.projection": view, "messaging.batch.message_count": batch},
        )
        written.end(ended_at)
        link = (Link(written.get_span_context()),)
    for one in events:
        _past(f"project {view}", one.traceparent, began_at, ended_at, one, link, readside__projection=view)


def _past(
    name: str, parent: str | None, began_at: int, ended_at: int, event: Event, links: Any = (), **attributes: Attribute
) -> None:
    past = _tracer.start_span(
        name,
        context=_context(parent),
        kind=_kind("consumer"),
        links=links,
        start_time=began_at,
        attributes=_dotted({**_of_event(event), **attributes}),
    )
    past.end(max(began_at, ended_at))


def _of_event(event: Event) -> dict[str, Attribute]:
    return {
        "readside__position": event.position,
        "readside__event_type": event.event_type,
        "readside__aggregate_type": event.aggregate_type,
        "readside__aggregate_id": event.aggregate_id,
    }


def _context(parent: str | None) -> Any:
    if parent is None:
        return None  # the current one
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": parent}, Context())


def _kind(name: str) -> Any:
    from opentelemetry.trace import SpanKind

    return SpanKind[name.upper()]


def _dotted(attributes: dict[str, Attribute]) -> dict[str, Attribute]:
    return {name.replace("__", "."): value for name, value in attributes.items()}


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1_000
