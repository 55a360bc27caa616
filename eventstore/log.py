"""Reading the event log: ``get(after, limit)``, in order, from a position that the reader remembers.

The beginning of the log may be in archive files (`eventstore.archives`); readers see one log. Archiving and restoring
change which part is where while others read, so every statement on live rows carries the generation of the manifest
that its reader knows, and finds nothing once that is another: the reader then looks at the manifest and begins again.
Both are seen by one snapshot, which Postgres takes after the statement has its lock on ``event_log``: rows that have
gone into a file can never be missing from both.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg

from eventstore.archives import Archives, ArchiveUnavailable
from eventstore.head import HEAD
from eventstore.share import EVERY, Share
from eventstore.stored import COLUMNS, Conditions, Filter, StoredEvent
from runtime import postgres

__all__ = ["EventLog", "Filter", "StoredEvent"]

_LAST = 2**63 - 1
_STRETCH = 2_000
_SELECTED = ", ".join("event_id::text" if column == "event_id" else column for column in COLUMNS)
_COMPLETE_UP_TO = """
SELECT (SELECT snapshot FROM event_log WHERE position <= $1 AND snapshot IS NOT NULL ORDER BY position DESC LIMIT 1),
       (SELECT recorded_at FROM event_log WHERE position = $1) AS recorded_at
  FROM event_archive_state WHERE generation = $2
"""


class EventLog:
    """The log as its readers see it, over a small pool of connections of its own.

    ``archive_dir`` is where archive files are; without it, reading what has been archived raises.
    ``timeout_seconds`` is for each answer of Postgres; the long one where none is given.
    """

    def __init__(
        self,
        url: str,
        name: str,
        *,
        archive_dir: Path | None = None,
        pool_size: int = 4,
        timeout_seconds: float | None = None,
    ) -> None:
        self._url = url
        self._name = name
        self._archives = Archives(archive_dir)
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
        self._archives.close()
        self._pool.terminate()

    async def get(self, after: int, limit: int, only: Filter | None = None) -> Sequence[StoredEvent]:
        """At most ``limit`` events with a position above ``after``, in order. Raises `ArchiveUnavailable`."""
        return await self.between(after, _LAST, limit, only)

    async def between(self, after: int, until: int, limit: int, only: Filter | None = None) -> Sequence[StoredEvent]:
        """At most ``limit`` of these events, with a position above ``after`` and up to ``until``, in order.

        Raises `ArchiveUnavailable`.
        """
        return await self._read(after, until, limit, only.conditions() if only is not None else {})

    async def of_types(
        self, types: Sequence[str], after: int, until: int, limit: int, share: Share = EVERY
    ) -> Sequence[StoredEvent]:
        """At most ``limit`` of a share's events of these types, above ``after`` and up to ``until``, in order.

        Raises `ArchiveUnavailable`.
        """
        if len(types) == 1:
            return await self._read(after, until, limit, {"event_type": types}, share)
        # Stretch by stretch: no index has several types in the order of the log, and up to a distant end the server
        # would sort all that is left, for every batch of it.
        while after < until:
            end = min(until, after + max(limit, _STRETCH))
            if found := await self._read(after, end, limit, {"event_type": types}, share):
                return found
            after = end
        return ()

    async def complete_up_to(self, position: int) -> tuple[str | None, datetime | None]:
        """The newest snapshot that stands at or below a position, and when the event at the position was recorded."""
        known = self._archives.manifest
        while (row := await self._pool.fetchrow(_COMPLETE_UP_TO, position, known.generation)) is None:
            known = await self._archives.look(self._pool)
        snapshot, recorded_at = row
        if snapshot is None:
            snapshot = await self._archives.newest_snapshot(known, position)
        if recorded_at is None:
            found = await self._archives.read(known, position - 1, position, 1, {})
            recorded_at = found[0].recorded_at if found else None
        return snapshot, recorded_at

    async def check_archives(self, after: int) -> None:
        """Raises `ArchiveUnavailable` where a file that holds events above ``after`` is missing or not as it was."""
        await self._archives.check(await self._archives.look(self._pool), after)

    async def head(self) -> int:
        """The position of the last event, 0 while there is none."""
        head: int = await self._pool.fetchval(HEAD)
        return head

    async def deployment_id(self) -> str:
        """The random id of this deployment, made when its database was."""
        found: str = await self._pool.fetchval("SELECT id::text FROM deployment")
        return found

    async def _read(
        self, after: int, until: int, limit: int, conditions: Conditions, share: Share = EVERY
    ) -> Sequence[StoredEvent]:
        known = self._archives.manifest
        while True:
            try:
                archived = await self._archives.read(known, after, until, limit, conditions, share)
            except ArchiveUnavailable:
                read_by, known = known, await self._archives.look(self._pool)
                if known.generation == read_by.generation:
                    raise
                continue  # it has been restored, or archived anew, meanwhile
            if len(archived) == limit or until <= known.border:
                return archived
            statement, values = _live(conditions, max(after, known.border), until, limit - len(archived), share)
            rows = await self._pool.fetch(statement, *values, known.generation)
            # Rows prove that the generation was the one we know. None may mean that it is another one.
            read_by = known
            if not rows:
                known = await self._archives.look(self._pool)
            if known.generation == read_by.generation:
                live = [StoredEvent(*row) for row in rows]
                return [*archived, *live] if archived else live


def _live(conditions: Conditions, after: int, until: int, limit: int, share: Share = EVERY) -> tuple[str, list[Any]]:
    values: list[Any] = [after, limit]

    def parameter(value: object) -> str:
        values.append(value)
        return f"${len(values)}"

    where = ["position > $1"]
    if until != _LAST:
        where.append(f"position <= {parameter(until)}")
    for column, wanted in conditions.items():
        if len(wanted) == 1:
            where.append(f"{column} = {parameter(wanted[0])}")
        else:
            # No plain column, so that its index is not used: that would give them in another order, to be sorted.
            where.append(f"{column} || '' = ANY ({parameter(wanted)})")
    if share != EVERY:
        where.append(share.condition())
    where.append(f"(SELECT generation FROM event_archive_state) = ${len(values) + 1}")  # noqa: S608 (no values in it)
    text = f"SELECT {_SELECTED} FROM event_log WHERE {' AND '.join(where)} ORDER BY position LIMIT $2"  # noqa: S608
    return text, values
