"""An event as it is stored, in a row of the log or of an archive file, and which of them a reader wants."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from events.envelope import DomainEvent, Envelope
from events.values import Value

Conditions = Mapping[str, Sequence[str]]
"""Columns and the values that are wanted of each; none: every event."""


class Filter(Value, frozen=True):
    """Which events: of one kind of aggregate, one aggregate, one type; ``None`` is any."""

    aggregate_type: str | None = None
    aggregate_id: str | None = None
    event_type: str | None = None

    def conditions(self) -> Conditions:
        """As conditions on columns."""
        columns = {
            "aggregate_type": self.aggregate_type,
            "aggregate_id": self.aggregate_id,
            "event_type": self.event_type,
        }
        return {column: [wanted] for column, wanted in columns.items() if wanted is not None}

    def matches(self, event: "StoredEvent") -> bool:
        """Whether it is one of these."""
        return (
            self.aggregate_id in (None, event.aggregate_id)
            and self.event_type in (None, event.event_type)
            and self.aggregate_type in (None, event.aggregate_type)
        )

    @property
    def needs_scan(self) -> bool:
        """Whether no index knows where these are."""
        return self.aggregate_type is not None and self.aggregate_id is None and self.event_type is None


class StoredEvent(Value, frozen=True):
    """A row of the log with its payload as it was stored: JSON text, not decoded."""

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
    payload: str

    def envelope(self, event: DomainEvent) -> Envelope:
        """This row with its decoded event. By position: keywords would double the cost of a catch-up's decoding."""
        return Envelope(
            self.position,
            self.event_id,
            self.event_type,
            self.schema_version,
            self.aggregate_type,
            self.aggregate_id,
            self.aggregate_version,
            self.occurred_at,
            self.recorded_at,
            self.correlation_id,
            self.causation_id,
            self.traceparent,
            self.snapshot,
            event,
        )


COLUMNS: tuple[str, ...] = StoredEvent.__struct_fields__
"""The columns of the log, in the order of `StoredEvent`."""
