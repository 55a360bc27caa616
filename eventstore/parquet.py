"""An archive file: a stretch of the log as Parquet (Zstandard, page checksums, groups of 50,000 rows).

One row per event and one column per field of `StoredEvent`, under the same names, so that any tool that reads Parquet
can read the log. Rows stand in the order of their positions, which have no gaps.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eventstore.archives import ArchiveUnavailable, Segment
from eventstore.share import EVERY, Share
from eventstore.stored import COLUMNS, Conditions, StoredEvent

SCHEMA_VERSION = 1
"""Of the files: grows when a column is added or changes its meaning."""
ROW_GROUP = 50_000
"""Rows that are in memory at once, at most three times over: a read in progress and two groups that are kept."""

Kept = OrderedDict[tuple[str, int], Any]
"""Decoded row groups, by file and number, the newest last; shared by all files of a reader."""

_GROUPS_KEPT = 2
_MOMENT = pa.timestamp("us", tz="UTC")
_TYPES = {
    "position": pa.int64(),
    "schema_version": pa.int16(),
    "aggregate_version": pa.int64(),
    "occurred_at": _MOMENT,
    "recorded_at": _MOMENT,
}
_NULLABLE = {"correlation_id", "causation_id", "traceparent", "snapshot"}
_SCHEMA = pa.schema(
    [pa.field(name, _TYPES.get(name, pa.string()), nullable=name in _NULLABLE) for name in COLUMNS],
    metadata={"readside.schema_version": str(SCHEMA_VERSION)},
)


class ArchiveWriter:
    """Writes one file, a row group at a time, into a binary stream; the end of the block is the end of the file."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._writer = pq.ParquetWriter(stream, _SCHEMA, compression="zstd", write_page_checksum=True)

    def write(self, events: Sequence[StoredEvent]) -> None:
        """At most `ROW_GROUP` events, which become a row group of their own."""
        columns = [[getattr(event, name) for event in events] for name in COLUMNS]
        arrays = [pa.array(values, field.type) for values, field in zip(columns, _SCHEMA, strict=True)]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=_SCHEMA), row_group_size=ROW_GROUP)

    def __enter__(self) -> "ArchiveWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()


class ArchiveFile:
    """A file for reading. Not for concurrent use. Every call raises `ArchiveUnavailable`."""

    def __init__(self, path: Path, segment: Segment, kept: Kept) -> None:
        self._path = path
        self._segment = segment
        self._parquet: Any = None
        self._identity: tuple[int, ...] = ()
        self._is_wrong = False
        self._kept = kept

    def check(self) -> None:
        """That the file is there and is the one that was written; looked at again when it has changed."""
        try:
            stat = self._path.stat()
            identity = stat.st_ino, stat.st_size, stat.st_mtime_ns
            if identity != self._identity:
                self._kept.clear()
                self._is_wrong = stat.st_size != self._segment.size or sha256_of(self._path) != self._segment.sha256
                self._identity = identity
                if not self._is_wrong:
                    self._parquet = pq.ParquetFile(self._path, page_checksum_verification=True)
            if self._is_wrong:
                raise ArchiveUnavailable(self._path, "is not what was archived: its SHA-256 is another")
        except FileNotFoundError:
            raise ArchiveUnavailable(self._path, "is missing") from None
        except OSError as error:
            raise self._as_unavailable(error) from None

    def read(
        self, after: int, until: int, limit: int, conditions: Conditions, share: Share = EVERY
    ) -> list[StoredEvent]:
        """At most ``limit`` events of a share, above ``after``, up to ``until``, in order."""
        self.check()
        found: list[StoredEvent] = []
        try:
            for number, first, last in self._bounds():
                if first > until or len(found) == limit:
                    break
                if last > after and self._may_hold(number, conditions):
                    missing = limit - len(found)
                    found += _events(self._group(number), first, after, until, missing, conditions, share)
        except (OSError, pa.ArrowException) as error:
            raise self._as_unavailable(error) from None
        return found

    def newest_snapshot(self, position: int) -> str | None:
        """The snapshot of the last event at or below this position that has one."""
        self.check()
        try:
            for number, first, _ in reversed(list(self._bounds())):
                if first <= position:
                    column = self._parquet.read_row_group(number, columns=["snapshot"]).column(0)
                    known = column.slice(0, position - first + 1).drop_null()
                    if len(known):
                        return str(known[-1].as_py())
        except (OSError, pa.ArrowException) as error:
            raise self._as_unavailable(error) from None
        return None

    def _bounds(self) -> Iterator[tuple[int, int, int]]:
        first = self._segment.first
        for number in range(self._parquet.metadata.num_row_groups):
            rows = self._parquet.metadata.row_group(number).num_rows
            yield number, first, first + rows - 1
            first += rows

    def _may_hold(self, number: int, conditions: Conditions) -> bool:
        if (self._segment.file, number) in self._kept or not conditions:
            return True
        group = self._parquet.metadata.row_group(number)
        for name, wanted in conditions.items():
            known = group.column(COLUMNS.index(name)).statistics
            if known is not None and known.has_min_max and all(one < known.min or one > known.max for one in wanted):
                return False
        if "aggregate_id" not in conditions:
            return True
        # One aggregate among fifty thousand events: look at the ids before all else is decoded.
        ids = self._parquet.read_row_group(number, columns=["aggregate_id"]).column(0)
        return bool(pc.any(pc.is_in(ids, pa.array(conditions["aggregate_id"], pa.string()))).as_py())

    def _group(self, number: int) -> Any:
        key = self._segment.file, number
        if key not in self._kept:
            while len(self._kept) >= _GROUPS_KEPT:
                self._kept.popitem(last=False)
            self._kept[key] = self._parquet.read_row_group(number)
        self._kept.move_to_end(key)
        return self._kept[key]

    def _as_unavailable(self, error: Exception) -> ArchiveUnavailable:
        if isinstance(error, ArchiveUnavailable):
            return error
        return ArchiveUnavailable(self._path, f"cannot be read ({str(error).splitlines()[0][:200]})")


def _events(
    group: Any, first: int, after: int, until: int, limit: int, conditions: Conditions, share: Share
) -> list[StoredEvent]:
    start = max(0, after + 1 - first)
    rows = group.slice(start, max(0, until - first + 1 - start))
    if not conditions and share == EVERY:
        rows = rows.slice(0, limit)
    for name, wanted in conditions.items():
        rows = rows.filter(pc.is_in(rows.column(name), pa.array(wanted, pa.string())))
    if share != EVERY:
        rows = rows.filter(pa.array([share.holds(one) for one in rows.column("aggregate_id").to_pylist()], pa.bool_()))
    columns = [column.to_pylist() for column in rows.slice(0, limit).columns]
    return [StoredEvent(*row) for row in zip(*columns, strict=True)]


def sha256_of(path: Path) -> str:
    """In hexadecimal; reads the whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
