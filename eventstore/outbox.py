"""Appending to the outbox, in the transaction of whoever changed the aggregates."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from events.envelope import DomainEvent, aggregate_type_of
from runtime.ids import new_id

if TYPE_CHECKING:  # takes a while to import, and readers of the log append nothing
    from sqlalchemy.ext.asyncio import AsyncConnection

# ORDER BY makes the ids follow the order of the events; a bare unnest promises no order to the identity column.
_APPEND = """
    INSERT INTO outbox (event_id, event_type, schema_version, aggregate_type, aggregate_id, aggregate_version,
                        occurred_at, payload, correlation_id, causation_id, traceparent)
    SELECT event_id, event_type, schema_version, aggregate_type, aggregate_id, aggregate_version,
           occurred_at, payload, $9, $10, $11
      FROM unnest($1::uuid[], $2::text[], $3::smallint[], $4::text[], $5::text[], $6::bigint[], $7::timestamptz[],
                  $8::text[])
           WITH ORDINALITY AS e (event_id, event_type, schema_version, aggregate_type, aggregate_id,
                                 aggregate_version, occurred_at, payload, ordinality)
     ORDER BY ordinality
    RETURNING transaction_id::text
    """
# Most commands record one event, and for one Postgres plans and runs plain values in a fraction of the time.
_APPEND_ONE = """
    INSERT INTO outbox (event_id, event_type, schema_version, aggregate_type, aggregate_id, aggregate_version,
                        occurred_at, payload, correlation_id, causation_id, traceparent)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    RETURNING transaction_id::text
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
    columns: list[list[Any]] = [
        [new_id() for _ in events],
        [type(e.event).__name__ for e in events],
        [e.event.schema_version for e in events],
        [aggregate_type_of(e.event) for e in events],
        [e.aggregate_id for e in events],
        [e.aggregate_version for e in events],
        [e.occurred_at for e in events],
        [_encode(e.event).decode() for e in events],
    ]
    # Past the compiler: there is nothing in these statements to compile, and it would take as long as to run them.
    if len(events) == 1:
        values = (*(column[0] for column in columns), correlation_id, causation_id, traceparent)
        rows = await connection.exec_driver_sql(_APPEND_ONE, values)
    else:
        rows = await connection.exec_driver_sql(_APPEND, (*columns, correlation_id, causation_id, traceparent))
    return int(rows.scalars().all()[0])
