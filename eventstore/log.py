"""Reading the event log: ``get(after, limit)``, in order, from a position that the reader remembers."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg

from events.envelope import DomainEvent, Envelope
from events.values import Value
from runtime import postgres

_COLUMNS = (
    "position, event_id::text, event_type, schema_version, aggregate_type, aggregate_id, aggregate_version, "
    "occurred_at, recorded_at, correlation_id, causation_id, traceparent, snapshot, payload"
)
_GET = f"SELECT {_COLUMNS} FROM event_log WHERE position > $1 ORDER BY position LIMIT $2"  # noqa: S608 (constants)

_OF_TYPES = (
    f"SELECT {_COLUMNS} FROM event_log WHERE position > $1 AND position <= $2 AND event_type = ANY ($3)"  # noqa: S608
    " ORDER BY position LIMIT $4"
)
_COMPLETE_UP_TO = """
SELECT (SELECT snapshot FROM event_log WHERE position <= $1 AND snapshot IS NOT NULL ORDER BY position DESC LIMIT 1),
       (SELECT recorded_at FROM event_log WHERE position = $1) AS recorded_at
"""


class Filter(Value, frozen=True):
    """Which events: of one kind of aggregate, one aggregate, one type; ``None`` is any."""

    aggregate_type: str | None = None
    aggregate_id: str | None = None
    event_type: str | None = None


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


class EventLog:
    """The log as its readers see it, over a small pool of connections of its own.

    ``timeout_seconds`` is for each answer; the long one where none is given.
    """

    def __init__(self, url: str, name: str, *, pool_size: int = 4, timeout_seconds: float | None = None) -> None:
        self._url = url
        self._name = name
        self._pool_size = pool_size
        self._timeout_seconds = timeout_seconds or postgres.LONG_TIMEOUT_SECONDS
        self._pool: Any = None

    async def __aenter__(self) -> "EventLog":
        # Made here, not in __init__: the pool belongs to the event loop that runs now. It connects when first used.
        self._pool = await asyncpg.create_pool(
            self._url,
            min_size=0,
            max_size=self._pool_size,
            timeout=10,
            command_timeout=self._timeout_seconds,
            server_settings={"application_name": f"readside {self._name}"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pool.terminate()

    async def get(self, after: int, limit: int, only: Filter | None = None) -> Sequence[StoredEvent]:
        """At most ``limit`` events with a position above ``after``, in order."""
        if only is None:
            rows = await self._pool.fetch(_GET, after, limit)
        else:
            statement, values = _filtered(only, after, limit)
            rows = await self._pool.fetch(statement, *values)
        return [StoredEvent(*row) for row in rows]

    async def of_types(self, types: Sequence[str], after: int, until: int, limit: int) -> Sequence[StoredEvent]:
        """At most ``limit`` events of these types, above ``after`` and up to ``until``, in order."""
        rows = await self._pool.fetch(_OF_TYPES, after, until, types, limit)
        return [StoredEvent(*row) for row in rows]

    async def complete_up_to(self, position: int) -> tuple[str | None, datetime | None]:
        """The newest snapshot that stands at or below a position, and when the event at the position was recorded."""
        row = await self._pool.fetchrow(_COMPLETE_UP_TO, position)
        return row["snapshot"], row["recorded_at"]

    async def head(self) -> int:
        """The position of the last event, 0 while there is none."""
        head: int = await self._pool.fetchval("SELECT position FROM event_log_head")
        return head

    async def deployment_id(self) -> str:
        """The random id of this deployment, made when its database was."""
        found: str = await self._pool.fetchval("SELECT id::text FROM deployment")
        return found


def _filtered(only: Filter, after: int, limit: int) -> tuple[str, list[Any]]:
    conditions, values = ["position > $1"], [after, limit]
    for column in ("aggregate_type", "aggregate_id", "event_type"):
        wanted = getattr(only, column)
        if wanted is not None:
            values.append(wanted)
            conditions.append(f"{column} = ${len(values)}")
    where = " AND ".join(conditions)
    return f"SELECT {_COLUMNS} FROM event_log WHERE {where} ORDER BY position LIMIT $2", values  # noqa: S608 (names above)
