"""The manifest: which files hold which part of the log. The table is the truth, ``manifest.json`` a copy for people."""

import os
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from events.values import Value
from eventstore.archives import Segment
from eventstore.parquet import SCHEMA_VERSION
from runtime.clock import rfc3339
from runtime.errors import ReadsideError

_ADD = """
INSERT INTO event_archives (first_position, last_position, partition, file, bytes, sha256, events, schema_version,
                            first_recorded_at, last_recorded_at)
SELECT $1::bigint, $2::bigint, $3, $4, $5, $6, $2::bigint - $1::bigint + 1, $7, $8, $9
 WHERE $1::bigint = (SELECT coalesce(max(last_position), 0) + 1 FROM event_archives)
RETURNING first_position
"""
_CHANGED = "UPDATE event_archive_state SET generation = generation + 1"
_ALL = """
SELECT first_position, last_position, partition, file, bytes, sha256, events, schema_version,
       first_recorded_at, last_recorded_at, archived_at
  FROM event_archives ORDER BY first_position
"""


class NoBeginningError(ReadsideError):
    """What is archived must always be a beginning of the log; the caller's transaction must not commit."""

    def __init__(self, segment: Segment) -> None:
        super().__init__(f"position {segment.first:,} is not the next one to archive; nothing was done")


class Line(Value, frozen=True):
    """A line of the manifest: a file, and the name of the partition that it was."""

    partition: str
    segment: Segment


async def lines(connection: Any) -> list[Line]:
    """Every line, in the order of the log."""
    return [
        Line(
            row["partition"],
            Segment(row["first_position"], row["last_position"], row["file"], row["bytes"], row["sha256"]),
        )
        for row in await connection.fetch(_ALL)
    ]


async def add(connection: Any, line: Line, first_recorded_at: datetime, last_recorded_at: datetime) -> None:
    """In the caller's transaction, which takes the partition out of the log. Raises `NoBeginningError`."""
    segment = line.segment
    named = segment.first, segment.last, line.partition, segment.file, segment.size, segment.sha256
    added = await connection.fetchval(_ADD, *named, SCHEMA_VERSION, first_recorded_at, last_recorded_at)
    if added is None:
        raise NoBeginningError(segment)
    await connection.execute(_CHANGED)


async def remove(connection: Any, segment: Segment) -> None:
    """In the caller's transaction, which has brought the events back."""
    await connection.execute("DELETE FROM event_archives WHERE first_position = $1", segment.first)
    await connection.execute(_CHANGED)


async def write(connection: Any, folder: Path) -> None:
    """Replace ``manifest.json`` in one step."""
    files = [
        {name: rfc3339(value) if name.endswith("_at") else value for name, value in row.items() if name != "partition"}
        for row in await connection.fetch(_ALL)
    ]
    fresh = folder / ".manifest.json.new"
    with fresh.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode({"files": files}), indent=2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(folder / "manifest.json")
