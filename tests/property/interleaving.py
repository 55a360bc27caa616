"""Writers and a feed, interleaved as drawn: the machine that `test_sequencing` runs against real and planted feeds.

Writers do what the unit of work does: change the aggregate under its row lock, then append. They may take their
transaction id long before, hold their transaction open over anybody else's commits, and roll back.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

import asyncpg
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from events.catalog import StockAdjusted
from eventstore import PendingEvent, Sequencer, append
from runtime.consistency import Snapshot

WRITERS = 4
AGGREGATES = ("a", "b", "c")
AT = datetime(2026, 1, 1, tzinfo=UTC)

Verb = Literal["begin", "write", "commit", "roll back", "read"]
Step = tuple[Verb, int, str]
Named = tuple[str, int]
"""An event, by its aggregate's id and version."""

_WRITER = st.integers(0, WRITERS - 1)
STEP: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("begin"), _WRITER, st.just("")),
    st.tuples(st.just("write"), _WRITER, st.sampled_from(AGGREGATES)),
    st.tuples(st.just("write"), _WRITER, st.sampled_from(AGGREGATES)),
    st.tuples(st.just("commit"), _WRITER, st.just("")),
    st.tuples(st.just("roll back"), _WRITER, st.just("")),
    st.tuples(st.just("read"), st.integers(0, 2), st.just("")),
)
SCHEDULE = st.lists(STEP, min_size=8, max_size=40)

RESET = """
    CREATE TABLE IF NOT EXISTS counted (id text PRIMARY KEY, version bigint NOT NULL);
    DELETE FROM counted;
    INSERT INTO counted SELECT unnest('{a,b,c}'::text[]), 0;
    DELETE FROM outbox;
    DELETE FROM event_log;
    UPDATE event_log_head SET position = 0;
"""
_COUNT = text("UPDATE counted SET version = version + 1 WHERE id = :id RETURNING version")


class Feed(Protocol):
    """Something that reads what was committed, in an order of its own."""

    async def read(self, which: int) -> None:
        """Look for what is new; ``which`` of two readers does it, 2 for both at once."""

    async def delivered(self) -> Sequence[Named]:
        """Everything read so far, in order, after nothing more comes."""

    async def close(self) -> None:
        """Give back connections."""


@dataclass
class Outcome:
    """What was committed, by transaction id, and what a feed made of it."""

    committed: dict[int, list[Named]] = field(default_factory=dict)
    delivered: Sequence[Named] = ()

    def faults(self) -> set[str]:
        """What is wrong with what was delivered: nothing, if the feed keeps its promise."""
        faults = set()
        expected = {event for events in self.committed.values() for event in events}
        if expected - set(self.delivered):
            faults.add("skipped")
        if set(self.delivered) - expected:
            faults.add("never committed")
        if len(set(self.delivered)) < len(self.delivered):
            faults.add("repeated")
        versions = defaultdict(list)
        for aggregate_id, version in self.delivered:
            versions[aggregate_id].append(version)
        if any(found != sorted(found) for found in versions.values()):
            faults.add("reordered")
        return faults


class _Writer:
    """One connection, and what its open transaction has written."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.connection = connection
        self.written: list[Named] = []
        self.transaction_id = 0

    async def begin(self) -> None:
        await self.connection.execute(text("SELECT pg_current_xact_id()"))

    async def write(self, aggregate_id: str) -> None:
        version = (await self.connection.execute(_COUNT, {"id": aggregate_id})).scalar_one()
        event = PendingEvent(aggregate_id, version, AT, StockAdjusted(delta=1, reason="test"))
        self.transaction_id = await append(self.connection, [event])
        self.written.append((aggregate_id, version))

    async def end(self, *, commit: bool) -> dict[int, list[Named]]:
        await (self.connection.commit() if commit else self.connection.rollback())
        ended = {self.transaction_id: self.written} if commit and self.written else {}
        self.written = []
        return ended


async def interleaved(connections: Sequence[AsyncConnection], feed: Feed, schedule: Sequence[Step]) -> Outcome:
    """Run the schedule, then end what is open and let the feed read what is left."""
    writers = [_Writer(connection) for connection in connections]
    outcome = Outcome()
    try:
        for verb, number, aggregate_id in schedule:
            if verb == "read":
                await feed.read(number)
                continue
            writer = writers[number]
            if verb == "begin":
                await writer.begin()
            elif verb == "write":
                # Whoever waits for a row lock can go on only after its holder: such a step is left out.
                if not any(aggregate_id in dict(other.written) for other in writers if other is not writer):
                    await writer.write(aggregate_id)
            else:
                outcome.committed |= await writer.end(commit=verb == "commit")
        for writer in writers:
            outcome.committed |= await writer.end(commit=True)
        outcome.delivered = await feed.delivered()
        return outcome
    finally:
        for writer in writers:
            await writer.connection.rollback()


class SequencedFeed:
    """The real one: two sequencers move events into the log, and the log is what is read."""

    def __init__(self, url: str, connection: Any, *, batch_limit: int = 2_000) -> None:
        # The first takes every writer for a slow one at once, and passes over its rows until it has ended.
        self._sequencers = [Sequencer(url, batch_limit=batch_limit, slow_writer_seconds=one) for one in (0, 1)]
        self._connection = connection

    async def read(self, which: int) -> None:
        """Sequence one batch, or two at the same time."""
        chosen = self._sequencers if which == 2 else [self._sequencers[which]]
        await asyncio.gather(*(sequencer.sequence() for sequencer in chosen))

    async def delivered(self) -> Sequence[Named]:
        """The whole log."""
        while (await self._sequencers[0].sequence()).moved:
            pass
        return [(row["aggregate_id"], row["aggregate_version"]) for row in await self.log()]

    async def log(self) -> Sequence[Any]:
        """The log's rows."""
        rows: Sequence[Any] = await self._connection.fetch(
            "SELECT position, aggregate_id, aggregate_version, snapshot FROM event_log ORDER BY position"
        )
        return rows

    async def close(self) -> None:
        """Drop the sequencers' connections."""
        for sequencer in self._sequencers:
            await sequencer.close()

    async def claims_too_much(self, outcome: Outcome) -> bool:
        """Whether a snapshot on a row sees a transaction of which an event stands after that row."""
        log = await self.log()
        position_of = {(row["aggregate_id"], row["aggregate_version"]): row["position"] for row in log}
        last_of = {xid: max(position_of[event] for event in events) for xid, events in outcome.committed.items()}
        return any(
            Snapshot.parse(row["snapshot"]).sees(xid) and last > row["position"]
            for row in log
            if row["snapshot"] is not None
            for xid, last in last_of.items()
        )


class _PlantedFeed:
    """A reader of the outbox that somebody might have written instead; it leaves the rows where they are."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._read: list[Named] = []

    async def read(self, which: int) -> None:  # noqa: ARG002  (the interface's; there is one reader whoever is asked)
        """Read on."""
        self._read += await self._unread()

    async def delivered(self) -> Sequence[Named]:
        """All that was read."""
        self._read += await self._unread()
        return self._read

    async def close(self) -> None:
        """Nothing of its own."""

    async def _unread(self) -> list[Named]:
        raise NotImplementedError


class ByLastOutboxId(_PlantedFeed):
    """Planted bug: remembers the last id it saw, and never looks below it again."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        super().__init__(connection)
        self._last = 0

    async def _unread(self) -> list[Named]:
        rows = await self._connection.fetch(
            "SELECT id, aggregate_id, aggregate_version FROM outbox WHERE id > $1 ORDER BY id", self._last
        )
        self._last = rows[-1]["id"] if rows else self._last
        return [(row["aggregate_id"], row["aggregate_version"]) for row in rows]


class ByTransactionId(_PlantedFeed):
    """Planted bug: waits below the oldest running transaction, so it skips nothing, but orders by transaction id."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        super().__init__(connection)
        self._below = 0

    async def _unread(self) -> list[Named]:
        rows = await self._connection.fetch(
            """
            WITH fence AS (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS below)
            SELECT below, aggregate_id, aggregate_version
              FROM fence LEFT JOIN outbox
                   ON transaction_id::text::bigint >= $1 AND transaction_id::text::bigint < below
             ORDER BY transaction_id::text::bigint, id
            """,
            self._below,
        )
        self._below = rows[0]["below"]
        return [(row["aggregate_id"], row["aggregate_version"]) for row in rows if row["aggregate_id"] is not None]
