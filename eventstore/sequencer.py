"""From outbox to event log: consecutive positions for whatever has become visible.

Two statements in one transaction, and their order is the point. The first takes the lock; the second, whose snapshot
is therefore younger than the last holder's commit, moves the rows. In one statement the snapshot would be older than
the wait for the lock, and would number rows from a head that another sequencer has moved meanwhile.
"""

from dataclasses import dataclass
from typing import Any

from eventstore.floor import Floor
from eventstore.head import HEAD
from eventstore.partitions import Partitions
from runtime import postgres
from runtime.consistency import Snapshot
from runtime.postgres import connect

_LOCK_KEY = 0x72_65_61_64  # "read"

_SERVER_SETTINGS = {
    # A sequencer that is paused, or cut off, in the middle holds the lock; the server then gives it to another.
    "idle_in_transaction_session_timeout": "5s",
    # The outbox is nearly empty, says the planner, and scans all of it: the dead rows too that an old snapshot keeps.
    # A plan made then is kept for as long as the connection.
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
}

# The last id is read in the statement before the one that moves rows, see `eventstore.floor`.
_LOCK = "SELECT pg_advisory_xact_lock($1), (SELECT last_value FROM outbox_id_seq) AS last_id"

# Rows are deleted by their place, so that there is no join whose plan could scan the table.
_MOVE = f"""
WITH head AS MATERIALIZED ({HEAD}), picked AS MATERIALIZED (
    SELECT ctid AS place FROM outbox
     WHERE id > (SELECT CASE WHEN EXISTS (SELECT FROM unnest($4::text[]) AS slow
                                           WHERE pg_visible_in_snapshot(slow::xid8, pg_current_snapshot()))
                             THEN $1::bigint ELSE $3::bigint END)
     ORDER BY id LIMIT $2
), moved AS (
    DELETE FROM outbox WHERE ctid = ANY (ARRAY(SELECT place FROM picked)) RETURNING outbox.*
), numbered AS (
    SELECT moved.*,
           (SELECT position FROM head) + row_number() OVER (ORDER BY id) AS position,
           row_number() OVER (ORDER BY id DESC) = 1 AND (SELECT count(*) FROM picked) < $2 AS completes
      FROM moved
), appended AS (
    INSERT INTO event_log (position, event_id, event_type, schema_version, aggregate_type, aggregate_id,
                           aggregate_version, occurred_at, recorded_at, correlation_id, causation_id, traceparent,
                           snapshot, payload)
    SELECT position, event_id, event_type, schema_version, aggregate_type, aggregate_id,
           aggregate_version, occurred_at, recorded_at, correlation_id, causation_id, traceparent,
           CASE WHEN completes THEN pg_current_snapshot()::text END, payload
      FROM numbered
     ORDER BY position
    RETURNING position
)
SELECT head.position + moved_count AS position, moved_count, pg_current_snapshot()::text AS snapshot,
       pg_current_xact_id_if_assigned()::text AS own_id
  FROM head, (SELECT count(*) AS moved_count FROM appended) AS counted
"""  # noqa: S608  (constants)
_OWN_ID = "SELECT pg_current_xact_id()::text"


@dataclass(frozen=True, slots=True)
class Sequenced:
    """What one run of the sequencer did: how many events it moved, and where the log now ends."""

    moved: int
    head: int


class Sequencer:
    """Moves events from the outbox to the log. Any number may run; the lock lets one at a time work.

    Not for concurrent use: it holds one connection. After an error call `close`; the next `sequence` reconnects.
    """

    def __init__(self, url: str, *, batch_limit: int = 2_000, slow_writer_seconds: float = 1.0) -> None:
        self._url = url
        self._slow_writer_seconds = slow_writer_seconds
        self._batch_limit = batch_limit
        self._connection: Any = None
        self._partitions = Partitions()
        self._floor = Floor(slow_seconds=self._slow_writer_seconds)

    async def sequence(self) -> Sequenced:
        """Move one batch. Raises driver errors; a transaction that failed moved nothing."""
        connection = await self._connected()
        floor = self._floor
        async with connection.transaction():
            last_id = (await connection.fetchrow(_LOCK, _LOCK_KEY))["last_id"]
            slow = [str(one) for one in floor.slow]
            row = await connection.fetchrow(_MOVE, floor.low, self._batch_limit, floor.high, slow)
            own_id = row["own_id"]
            if own_id is None and floor.wants_candidate(last_id):
                own_id = await connection.fetchval(_OWN_ID)
        moved, head = row["moved_count"], row["position"]
        floor.observe(
            last_id,
            None if own_id is None else int(own_id),
            Snapshot.parse(row["snapshot"]),
            complete=moved < self._batch_limit,
        )
        await self._partitions.ensure(connection, head)
        return Sequenced(moved, head)

    def is_full(self, sequenced: Sequenced) -> bool:
        """Whether the batch was as large as one may be, so that there may be more to move."""
        return sequenced.moved >= self._batch_limit

    async def close(self) -> None:
        """Drop the connection at once."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _connected(self) -> Any:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(
                self._url, "sequencer", timeout_seconds=postgres.SHORT_TIMEOUT_SECONDS, **_SERVER_SETTINGS
            )
            self._floor = Floor(slow_seconds=self._slow_writer_seconds)
            await self._partitions.ensure(self._connection, await self._connection.fetchval(HEAD))
        return self._connection
