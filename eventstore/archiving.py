"""Moving whole partitions of the log into archive files, and back.

What it guarantees
    At every moment each event is in exactly one place that readers look at: in its partition, or in a file that the
    manifest names. A process that is killed leaves at most a file that no manifest names; the next one replaces it.

How
    A partition is written to a file under another name, flushed to the disk, and read back event by event before
    anything else happens. Then one transaction writes its line of the manifest, takes the partition out of the log
    and drops it. Restoring is one transaction the other way round; files stay where they are. Archived is always the
    beginning of the log: the oldest partition goes first, and comes back last.

What must not be changed
    Manifest and partition change in one transaction that has locked readers out of ``event_log``; and readers see
    manifest and rows in one snapshot, taken after they had their own lock: see `eventstore.log`.
"""

import asyncio
import hashlib
import os
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from events.values import Value
from eventstore import manifest
from eventstore.archives import Segment
from eventstore.head import HEAD
from eventstore.parquet import ROW_GROUP, ArchiveFile, ArchiveWriter, sha256_of
from eventstore.stored import COLUMNS, StoredEvent
from runtime.errors import ReadsideError
from runtime.postgres import connect

Progress = Callable[[int, int], None]
"""Told how many events are done, of how many."""

_LOCK_KEY = 0x61_72_63_68  # "arch"
_LOCK_ATTEMPTS, _LOCK_PAUSE_SECONDS = 100, 0.2
# Whoever waits for this lock makes every reader wait behind it: ask shortly, and again.
_EXCLUSIVE_LOCK_TIMEOUT = "200ms"
_EXCLUSIVE_PATIENCE_SECONDS = 600.0
_EXCLUSIVE_PAUSE_SECONDS = 0.5

_PARTITIONS = """
SELECT relname, pg_get_expr(relpartbound, pg_class.oid) AS bounds
  FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid WHERE inhparent = 'event_log'::regclass
"""
_BOUNDS = re.compile(r"FOR VALUES FROM \('?(\d+)'?\) TO \('?(\d+)'?\)")
_SELECTED = ", ".join("event_id::text" if column == "event_id" else column for column in COLUMNS)


class ArchiveRefusedError(ReadsideError):
    """What was asked for cannot be done now, and nothing of it was; the message says why."""


class Partition(Value, frozen=True):
    """A partition of the live log and the positions that belong in it, both ends included."""

    name: str
    first: int
    last: int


class Archiving:
    """One process's hold on the archive: no other archives or restores meanwhile."""

    def __init__(self, connection: Any, folder: Path, progress: Progress) -> None:
        self._connection = connection
        self._folder = folder
        self._progress = progress

    async def candidates(self, before: int | datetime, passed: Mapping[str, int]) -> list[Partition]:
        """The whole partitions with nothing but events before a position, or that were recorded before a moment.

        ``passed`` is how far each instance of a projection has come. Never among them is the partition in which the
        head is. Raises `ArchiveRefusedError` where a projection has still to pass one of them.
        """
        head: int = await self._connection.fetchval(HEAD)
        if isinstance(before, int) and before > head + 1:
            raise ArchiveRefusedError(f"position {before:,} is beyond the head of the log, which is {head:,}")
        found = []
        for partition in await self._partitions():
            if partition.last >= head or not await self._is_before(partition, before):
                break
            found.append(partition)
        behind = [name for name, position in passed.items() if found and position < found[-1].last]
        if behind:
            name = min(behind, key=lambda one: passed[one])
            raise ArchiveRefusedError(
                f"{name} is at position {passed[name]:,}, and has still to pass {found[-1].last:,},"
                " the last one to archive"
            )
        return found

    async def archive(self, partitions: Sequence[Partition]) -> list[Segment]:
        """Archive these, the oldest first. Raises `ArchiveRefusedError` where one is not whole; those before it are."""
        await self._prepare_folder()
        total, done, segments = sum(one.last - one.first + 1 for one in partitions), 0, []
        for partition in partitions:
            segment = await self._written(partition, done, total)
            await self._switch_to_file(partition, segment)
            await manifest.write(self._connection, self._folder)
            segments.append(segment)
            done += partition.last - partition.first + 1
        return segments

    async def restore(self, after: int = 0) -> list[Segment]:
        """Bring back every file with an event above this position, the newest first.

        Raises `ArchiveUnavailable` where a file is missing or not what was written; the newer ones are back then.
        """
        lines = [line for line in await manifest.lines(self._connection) if line.segment.last > after]
        total, done = sum(line.segment.last - line.segment.first + 1 for line in lines), 0
        for line in reversed(lines):
            await self._restore(line, done, total)
            await manifest.write(self._connection, self._folder)
            done += line.segment.last - line.segment.first + 1
        return [line.segment for line in reversed(lines)]

    async def _partitions(self) -> list[Partition]:
        rows = await self._connection.fetch(_PARTITIONS)
        bounds = [(row["relname"], _BOUNDS.fullmatch(row["bounds"])) for row in rows]
        # No event stands at position 0.
        found = [Partition(name, max(1, int(at[1])), int(at[2]) - 1) for name, at in bounds if at is not None]
        return sorted(found, key=lambda one: one.first)

    async def _is_before(self, partition: Partition, before: int | datetime) -> bool:
        if isinstance(before, int):
            return partition.last < before
        at = "SELECT recorded_at FROM event_log WHERE position = $1"
        recorded_at: datetime | None = await self._connection.fetchval(at, partition.last)
        return recorded_at is not None and recorded_at < before

    async def _prepare_folder(self) -> None:
        lines = await manifest.lines(self._connection)
        for line in lines:
            if not (self._folder / line.segment.file).exists():
                raise ArchiveRefusedError(
                    f"{self._folder} does not have {line.segment.file}, which was archived earlier:"
                    " is this the directory of READSIDE_ARCHIVE_DIR?"
                )
        self._folder.mkdir(parents=True, exist_ok=True)

    async def _written(self, partition: Partition, done: int, total: int) -> Segment:
        under_way = self._folder / f".events-{partition.first:012d}.tmp"
        digest = hashlib.sha256()
        with under_way.open("wb") as stream:
            with ArchiveWriter(stream) as writer:
                async for events in self._rows(partition):
                    await asyncio.to_thread(writer.write, events)
                    _digest(digest, events)
                    self._progress(done + events[-1].position - partition.first + 1, total)
            stream.flush()
            os.fsync(stream.fileno())
        sha256 = await asyncio.to_thread(sha256_of, under_way)
        file = f"events-{partition.first:012d}-{partition.last:012d}-{sha256[:12]}.parquet"
        segment = Segment(partition.first, partition.last, file, under_way.stat().st_size, sha256)
        if await asyncio.to_thread(_read_back, under_way, segment) != digest.hexdigest():
            raise ArchiveRefusedError(f"{under_way} could not be read back as it was written; nothing was archived")
        under_way.replace(self._folder / file)
        _flush_folder(self._folder)
        return segment

    async def _rows(self, partition: Partition) -> AsyncIterator[list[StoredEvent]]:
        """All events of a partition, in stretches of a row group; raises where a position is missing."""
        statement = f"SELECT {_SELECTED} FROM {partition.name} WHERE position > $1 ORDER BY position LIMIT {ROW_GROUP}"  # noqa: S608 (names)
        after = partition.first - 1
        while after < partition.last:
            events = [StoredEvent(*row) for row in await self._connection.fetch(statement, after)]
            expected = range(after + 1, after + 1 + max(1, len(events)))
            if [event.position for event in events] != list(expected):
                raise ArchiveRefusedError(
                    f"{partition.name} has a gap after position {after:,}; nothing of it was archived"
                )
            yield events
            after = events[-1].position

    async def _switch_to_file(self, partition: Partition, segment: Segment) -> None:
        line = manifest.Line(partition.name, segment)
        at = f"SELECT recorded_at FROM {partition.name} WHERE position = $1"  # noqa: S608 (a name of the catalog)
        recorded = [await self._connection.fetchval(at, position) for position in (segment.first, segment.last)]
        async with self._connection.transaction():
            await self._lock_readers_out()
            await self._connection.execute(f"ALTER TABLE event_log DETACH PARTITION {partition.name}")
            await manifest.add(self._connection, line, *recorded)
            await self._connection.execute(f"DROP TABLE {partition.name}")

    async def _lock_readers_out(self) -> None:
        """For the rest of the transaction, which is to be short.

        Attaching a partition asks for less by itself, but then the manifest's new line is visible for a moment before
        other connections have heard of the partition: a reader would find its events in neither place.
        """
        deadline = asyncio.get_running_loop().time() + _EXCLUSIVE_PATIENCE_SECONDS
        while True:
            try:
                async with self._connection.transaction():  # a savepoint: what was done before is kept
                    await self._connection.execute(f"SET LOCAL lock_timeout = '{_EXCLUSIVE_LOCK_TIMEOUT}'")
                    await self._connection.execute("LOCK TABLE event_log IN ACCESS EXCLUSIVE MODE")
                return
            except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                if asyncio.get_running_loop().time() > deadline:
                    raise ArchiveRefusedError(
                        "somebody has been reading the log in one transaction for ten minutes (a backup?)"
                    ) from None
                await asyncio.sleep(_EXCLUSIVE_PAUSE_SECONDS)

    async def _restore(self, line: manifest.Line, done: int, total: int) -> None:
        segment = line.segment
        file = ArchiveFile(self._folder / segment.file, segment, OrderedDict())
        await asyncio.to_thread(file.check)
        async with self._connection.transaction():
            await self._connection.execute(
                f"CREATE TABLE {line.partition} (LIKE event_log INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING INDEXES)"
            )
            after = segment.first - 1
            while after < segment.last:
                events = await asyncio.to_thread(file.read, after, segment.last, ROW_GROUP, {})
                if not events or [event.position for event in events] != list(
                    range(after + 1, after + 1 + len(events))
                ):
                    raise ArchiveRefusedError(f"{segment.file} has a gap after position {after:,}; it was not restored")
                await self._connection.copy_records_to_table(
                    line.partition, columns=COLUMNS, records=_records(events), timeout=None
                )
                after = events[-1].position
                self._progress(done + after - segment.first + 1, total)
            bounds = f"FROM ({segment.first}) TO ({segment.last + 1})"
            # Known to hold, so that attaching has nothing to look through while readers are locked out.
            check = f"CHECK (position >= {segment.first} AND position < {segment.last + 1})"
            await self._connection.execute(f"ALTER TABLE {line.partition} ADD CONSTRAINT bounds {check}")
            await self._lock_readers_out()
            await self._connection.execute(
                f"ALTER TABLE event_log ATTACH PARTITION {line.partition} FOR VALUES {bounds}"
            )
            await self._connection.execute(f"ALTER TABLE {line.partition} DROP CONSTRAINT bounds")
            await manifest.remove(self._connection, segment)


@asynccontextmanager
async def archiving(url: str, folder: Path, progress: Progress = lambda _done, _of: None) -> AsyncIterator[Archiving]:
    """The hold on the archive. Raises `ArchiveRefusedError` where another process has it."""
    connection = await connect(url, "archive")
    try:
        # For a while: whoever was killed a moment ago holds it until the server has noticed.
        for _ in range(_LOCK_ATTEMPTS):
            if await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK_KEY):
                break
            await asyncio.sleep(_LOCK_PAUSE_SECONDS)
        else:
            raise ArchiveRefusedError("another process is archiving or restoring")
        yield Archiving(connection, folder, progress)
    finally:
        connection.terminate()


def _records(events: Sequence[StoredEvent]) -> Iterable[tuple[object, ...]]:
    return (tuple(getattr(event, column) for column in COLUMNS) for event in events)


def _digest(digest: Any, events: Sequence[StoredEvent]) -> None:
    for event in events:
        digest.update(msgspec.json.encode(event) + b"\n")


def _read_back(path: Path, segment: Segment) -> str:
    file, digest, after = ArchiveFile(path, segment, OrderedDict()), hashlib.sha256(), segment.first - 1
    while events := file.read(after, segment.last, ROW_GROUP, {}):
        _digest(digest, events)
        after = events[-1].position
    return digest.hexdigest()


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
