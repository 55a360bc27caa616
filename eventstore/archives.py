"""The archived beginning of the log, as readers see it: which files hold it, and the events in them.

Archived is always a beginning: positions 1 to `Manifest.border` are in files, the rest is live. Postgres is the
authority (``event_archives``); its manifest has a generation that grows with every change.

Files are read in a thread of their own, row group by row group; the last few groups stay in memory. A file is checked
against the manifest's SHA-256 before its first use, and its pages against their checksums at every use. One that is
missing or is not what was written is a store that is away: `ArchiveUnavailable`, and never a gap.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from events.values import Value
from eventstore.share import EVERY, Share
from eventstore.stored import Conditions, StoredEvent
from runtime.errors import ReadsideError

if TYPE_CHECKING:  # Arrow takes a while to import, and most processes never read an archive
    from eventstore.parquet import ArchiveFile, Kept

T = TypeVar("T")

_MANIFEST = """
SELECT generation, first_position, last_position, file, bytes, sha256
  FROM event_archive_state LEFT JOIN event_archives ON true ORDER BY first_position
"""


class ArchiveUnavailable(ReadsideError, OSError):
    """An archive file is missing, or is not what was written; the message says which and why. Worth waiting for."""

    def __init__(self, file: Path | str, reason: str) -> None:
        super().__init__(f"archive file {file} {reason}")
        self.file, self.reason = file, reason


class Segment(Value, frozen=True):
    """A file and the positions of the events in it, both ends included."""

    first: int
    last: int
    file: str
    size: int
    """Bytes."""
    sha256: str


class Manifest(Value, frozen=True):
    """Which files hold the beginning of the log, in order, as of one generation."""

    generation: int
    segments: tuple[Segment, ...]

    @property
    def border(self) -> int:
        """The last position that is archived, 0 if none is."""
        return self.segments[-1].last if self.segments else 0


class Archives:
    """The manifest as it was last looked at, and open files."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._files: dict[str, ArchiveFile] = {}
        self._kept: Kept = OrderedDict()
        self._thread: ThreadPoolExecutor | None = None
        self.manifest = Manifest(0, ())
        """Of generation 0 before anything was ever archived. A read keeps to one; others may look meanwhile."""

    async def look(self, pool: Any) -> Manifest:
        """Look at the manifest."""
        rows = await pool.fetch(_MANIFEST)
        segments = tuple(Segment(*tuple(row)[1:]) for row in rows if row["file"] is not None)
        self._files = {name: file for name, file in self._files.items() if name in {one.file for one in segments}}
        self.manifest = Manifest(rows[0]["generation"], segments)
        return self.manifest

    async def read(
        self, manifest: Manifest, after: int, until: int, limit: int, conditions: Conditions, share: Share = EVERY
    ) -> list[StoredEvent]:
        """At most ``limit`` archived events of a share, above ``after`` and up to ``until``, in order."""
        found: list[StoredEvent] = []
        for segment in manifest.segments:
            if segment.first > until or len(found) == limit:
                break
            if segment.last > after:
                missing = limit - len(found)
                found += await self._in_thread(segment, _reading(after, until, missing, conditions, share))
        return found

    async def newest_snapshot(self, manifest: Manifest, position: int) -> str | None:
        """The newest snapshot that stands on an archived event at or below this position."""
        for segment in reversed(manifest.segments):
            if segment.first <= position:
                snapshot = await self._in_thread(segment, lambda file: file.newest_snapshot(position))
                if snapshot is not None:
                    return snapshot
        return None

    async def check(self, manifest: Manifest, after: int) -> None:
        """Raises `ArchiveUnavailable` where a file with events above this position cannot be used."""
        for segment in manifest.segments:
            if segment.last > after:
                await self._in_thread(segment, lambda file: file.check())

    def close(self) -> None:
        """Let the thread end; what it does is finished."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)
            self._thread = None

    async def _in_thread(self, segment: Segment, work: "Callable[[ArchiveFile], T]") -> T:
        if self._folder is None:
            raise ArchiveUnavailable(segment.file, "is needed, and this process was not told where archives are")
        if self._thread is None:
            # One: what is decoded is shared, and Arrow itself uses more where that helps.
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="archives")
        path = self._folder / segment.file

        def run() -> T:
            from eventstore.parquet import ArchiveFile

            file = self._files.setdefault(segment.file, ArchiveFile(path, segment, self._kept))
            return work(file)

        return await asyncio.get_running_loop().run_in_executor(self._thread, run)


def _reading(
    after: int, until: int, limit: int, conditions: Conditions, share: Share
) -> "Callable[[ArchiveFile], list[StoredEvent]]":
    return lambda file: file.read(after, until, limit, conditions, share)
