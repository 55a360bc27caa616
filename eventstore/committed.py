"""What has committed, in the log or still in the outbox, as one transaction sees it.

The sequencer moves an event from one to the other in one transaction, so whoever reads both in one snapshot sees every
committed event exactly once.
"""

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from eventstore.head import HEAD
from eventstore.log import StoredEvent

_HEAD = text(HEAD)
_WAITING = text(
    """
    SELECT CAST(0 AS bigint), CAST(event_id AS text), event_type, schema_version, aggregate_type, aggregate_id,
           aggregate_version, occurred_at, recorded_at, correlation_id, causation_id, traceparent,
           CAST(NULL AS text), payload
      FROM outbox ORDER BY id LIMIT :most
    """
)


async def head_and_outbox(connection: AsyncConnection, most: int) -> tuple[int, Sequence[StoredEvent]]:
    """The log's head, and at most so many events that are not in it yet; these have no position: it is 0.

    The connection's isolation has to be repeatable read, or the two are of two moments.
    """
    head: int = (await connection.execute(_HEAD)).scalar_one()
    rows = await connection.execute(_WAITING, {"most": most})
    return head, [StoredEvent(*row) for row in rows]
