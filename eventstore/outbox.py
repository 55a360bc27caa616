"""Appending to the outbox, in the transaction of whoever changed the aggregates."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING

import msgspec

from events.envelope import DomainEvent, aggregate_type_of
from runtime.ids import new_id

if TYPE_CHECKING:  # takes a while to import, and readers of the log append nothing
    from sqlalchemy import TextClause
    from sqlalchemy.ext.asyncio import AsyncConnection

# ORDER BY makes the ids follow the order of the events; a bare unnest promises no order to the identity column.
_APPEND = """
    INSERT INTO outbox (event_id, event_type, schema_version, aggregate_type, aggregate_id, aggregate_version,
                        occurred_at, correlation_id, causation_id, traceparent, payload)
    SELECT event_id, event_type, schema_version, aggregate_type, aggregate_id, aggregate_version,
           occurred_at, :correlation_id, :causation_id, :traceparent, payload
      FROM unnest(CAST(:event_id AS uuid[]), CAST(:event_type AS text[]), CAST(:schema_version AS smallint[]),
                  CAST(:aggregate_type AS text[]), CAST(:aggregate_id AS text[]),
                  CAST(:aggregate_version AS bigint[]), CAST(:occurred_at AS timestamptz[]),
                  CAST(:payload AS text[]))
           WITH ORDINALITY AS e (event_id, event_type, schema_version, aggregate_type, aggregate_id,
                                 aggregate_version, occurred_at, payload, ordinality)
     ORDER BY ordinality
    RETURNING CAST(transaction_id AS text)
    """
_encode = msgspec.json.Encoder().encode


class PendingEvent(msgspec.Struct, frozen=True):
    """An event on its way into the outbox."""

    aggregate_id: str
    aggregate_version: int
    occurred_at: datetime
    event: DomainEvent


async def append(
    connection: "AsyncConnection",
    events: Sequence[PendingEvent],
    *,
    correlation_id: str | None = None,
    causation_id: str | None = None,
    traceparent: str | None = None,
) -> int:
    """Append at least one event, in the caller's transaction, after its aggregates were written.

    Returns the id of that transaction, which is what a consistency token is made of.
    """
    rows = await connection.execute(
        _statement(),
        {
            "event_id": [new_id() for _ in events],
            "event_type": [type(e.event).__name__ for e in events],
            "schema_version": [e.event.schema_version for e in events],
            "aggregate_type": [aggregate_type_of(e.event) for e in events],
            "aggregate_id": [e.aggregate_id for e in events],
            "aggregate_version": [e.aggregate_version for e in events],
            "occurred_at": [e.occurred_at for e in events],
            "payload": [_encode(e.event).decode() for e in events],
            "correlation_id": correlation_id,
            "causation_id": causation_id,
            "traceparent": traceparent,
        },
    )
    return int(rows.scalars().all()[0])


@cache
def _statement() -> "TextClause":
    from sqlalchemy import text

    return text(_APPEND)
