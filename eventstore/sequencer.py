"""From outbox to event log: consecutive positions for whatever has become visible.

Two statements in one transaction, and their order is the point. The first takes the lock; the second, whose snapshot
is therefore younger than the last holder's commit, moves the rows. In one statement the snapshot would be older than
the wait for the lock, and would number rows from a head that another sequencer has moved meanwhile.
"""

from dataclasses import dataclass
from typing import Any

from eventstore.partitions import Partitions
from runtime import postgres
from runtime.postgres import connect

_LOCK_KEY = 0x72_65_61_64  # "read"

# A sequencer that is paused, or cut off, in the middle holds the lock; the server then gives it to another.
_LONGEST_PAUSE = "5s"

# The last id is read in the statement before the one that moves rows, see `_Floor`.
_LOCK = "SELECT pg_advisory_xact_lock($1), (SELECT last_value FROM outbox_id_seq) AS last_id"

_MOVE = """
WITH picked AS MATERIALIZED (
    SELECT id FROM outbox WHERE id > $1 ORDER BY id LIMIT $2
), moved AS (
    DELETE FROM outbox USING picked WHERE outbox.id = picked.id RETURNING outbox.*
), numbered AS (
    SELECT moved.*,
           (SELECT position FROM event_log_head) + row_number() OVER (ORDER BY id) AS position,
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
UPDATE event_log_head
   SET position = event_log_head.position + moved_count, moved_at = clock_timestamp()
  FROM (SELECT count(*) AS moved_count FROM appended) AS counted
 WHERE moved_count > 0
RETURNING event_log_head.position, moved_count, pg_current_xact_id()::text AS own_id,
          pg_snapshot_xmin(pg_current_snapshot())::text AS oldest_running
"""

_HEAD = "SELECT position FROM event_log_head"


@dataclass(frozen=True, slots=True)
class Sequenced:
    """What one run of the sequencer did: how many events it moved, and where the log now ends."""

    moved: int
    head: int


class _Floor:
    """An outbox id below which nothing can appear any more, so that no scan has to walk over dead rows there.

    A backup that holds an old snapshot keeps deleted outbox rows, and their index entries, alive. Every transaction
    that has drawn an id up to ``last_value`` has a transaction id below that of a sequencing transaction which
    begins to write later (the outbox assigns the transaction id before the id: see the order of its columns). Once
    a snapshot's oldest running transaction is younger than that, all of those ids are settled: moved, or rolled
    back. An old *reader* does not hold this back; it has no transaction id.
    """

    def __init__(self) -> None:
        self.id = 0
        self._candidate: tuple[int, int] | None = None

    def observe(self, last_id: int, own_id: int, oldest_running: int, *, complete: bool) -> None:
        if self._candidate is None:
            self._candidate = (last_id, own_id)
        elif complete and oldest_running > self._candidate[1]:
            self.id = self._candidate[0]
            self._candidate = (last_id, own_id)


class Sequencer:
    """Moves events from the outbox to the log. Any number may run; the lock lets one at a time work.

    Not for concurrent use: it holds one connection. After an error call `close`; the next `sequence` reconnects.
    """

    def __init__(self, url: str, *, batch_limit: int = 2_000) -> None:
        self._url = url
        self._batch_limit = batch_limit
        self._connection: Any = None
        self._partitions = Partitions()
        self._floor = _Floor()

    async def sequence(self) -> Sequenced:
        """Move one batch. Raises driver errors; a transaction that failed moved nothing."""
        connection = await self._connected()
        async with connection.transaction():
            last_id = (await connection.fetchrow(_LOCK, _LOCK_KEY))["last_id"]
            row = await connection.fetchrow(_MOVE, self._floor.id, self._batch_limit)
        if row is None:
            return Sequenced(0, await connection.fetchval(_HEAD))
        moved, head = row["moved_count"], row["position"]
        self._floor.observe(last_id, int(row["own_id"]), int(row["oldest_running"]), complete=moved < self._batch_limit)
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
                self._url,
                "sequencer",
                timeout_seconds=postgres.SHORT_TIMEOUT_SECONDS,
                idle_in_transaction_session_timeout=_LONGEST_PAUSE,
            )
            self._floor = _Floor()
            await self._partitions.ensure(self._connection, await self._connection.fetchval(_HEAD))
        return self._connection
