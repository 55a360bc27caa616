"""A file of JSON lines that others read: one line per event id, on disk before it is acknowledged, whatever is killed.

`LineFile.append` comes back when its lines are on disk (``fsync``). A writer that is killed half way leaves at most a
torn last line, which nobody was told is there: whoever opens the file next cuts it off. An id whose line is among the
last `REMEMBERED` is not written again.

Several processes may append: each holds the file's lock for the time of one append, and first reads what the others
added. Whoever takes the file away renames it; the next append makes a new one. Readers take whole lines only.
"""

import fcntl
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

REMEMBERED = 100_000
_BLOCK = 1 << 20
_LOCK_PATIENCE_SECONDS = 5.0


class Line(NamedTuple):
    """What is told of one event: ``body`` is a JSON object in UTF-8, without a line break, with its ``event_id``."""

    event_id: str
    body: bytes


class _Told(msgspec.Struct):
    event_id: str


class LineFile:
    """One such file, in one process and one thread at a time. Its calls block."""

    def __init__(self, path: Path, *, remembered: int = REMEMBERED) -> None:
        self._path = path
        self._remembered = remembered
        self._known: dict[str, None] = {}
        self._descriptor: int | None = None
        self._end = 0
        """Up to where this process has read or written; everything before it is on disk."""

    def append(self, lines: Sequence[Line]) -> None:
        """Add the lines whose ids are not there yet; once it returns, all are on disk. Raises `OSError`."""
        try:
            with self._locked() as descriptor:
                self._catch_up(descriptor)
                fresh = {line.event_id: line.body for line in lines if line.event_id not in self._known}
                if fresh:
                    self._write(descriptor, b"".join(body + b"\n" for body in fresh.values()))
                    self._remember(fresh)
        except OSError:
            # What this process believes of the file may be wrong now: it looks again before the next line.
            self._known.clear()
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file; the next append opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @contextmanager
    def _locked(self) -> Iterator[int]:
        deadline = time.monotonic() + _LOCK_PATIENCE_SECONDS
        while True:
            descriptor = self._opened()
            _lock(descriptor, deadline)
            if _is_at(self._path, descriptor):
                break
            self.close()  # it was taken away: the lock went with it
        try:
            yield descriptor
        finally:
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)

    def _opened(self) -> int:
        if self._descriptor is None:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # It holds names and addresses: for the owner alone.
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            _sync_directory(self._path.parent)
            self._end = _start_of_last_lines(self._descriptor, self._remembered)
        return self._descriptor

    def _catch_up(self, descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        if size < self._end:  # somebody emptied it
            self._end = 0
        if size == self._end:
            return
        torn = self._read(descriptor, size)
        if torn:
            os.ftruncate(descriptor, size - torn)
        # What was read may be in the page cache alone, its writer killed before its own fsync; from here on it counts.
        os.fsync(descriptor)
        self._end = size - torn

    def _read(self, descriptor: int, size: int) -> int:
        """Remember the ids from where this process was; how many bytes follow the last line break."""
        torn = b""
        for block in _blocks(descriptor, self._end, size):
            *whole, torn = (torn + block).split(b"\n")
            self._remember(event_id for line in whole if (event_id := _event_id(line)) is not None)
        return len(torn)

    def _write(self, descriptor: int, told: bytes) -> None:
        left = memoryview(told)
        try:
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        except OSError:
            # Never leave lines whose fsync failed to be found, and believed, later: the kernel reports a failure once.
            with suppress(OSError):
                os.ftruncate(descriptor, self._end)
            raise
        self._end += len(told)

    def _remember(self, event_ids: Iterable[str]) -> None:
        self._known.update(dict.fromkeys(event_ids))
        while len(self._known) > self._remembered:
            del self._known[next(iter(self._known))]


def _lock(descriptor: int, deadline: float) -> None:
    # Not by waiting in the kernel: whoever holds the lock may be stopped, and no wait is endless.
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError("another process holds the file") from None
            time.sleep(0.005)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _blocks(descriptor: int, start: int, end: int) -> Iterator[bytes]:
    while start < end:
        block = os.pread(descriptor, min(_BLOCK, end - start), start)
        if not block:
            return
        yield block
        start += len(block)


def _start_of_last_lines(descriptor: int, lines: int) -> int:
    """Where the last so many lines begin."""
    start = os.fstat(descriptor).st_size
    breaks = 0
    while start > 0:
        length = min(_BLOCK, start)
        block = os.pread(descriptor, length, start - length)
        found = block.count(b"\n")
        if breaks + found > lines:
            return start - length + _after_break(block, found - (lines - breaks))
        breaks += found
        start -= length
    return 0


def _after_break(block: bytes, number: int) -> int:
    at = -1
    for _ in range(number):
        at = block.index(b"\n", at + 1)
    return at + 1


def _event_id(line: bytes) -> str | None:
    """None for a line that somebody else wrote: it is theirs, and stays."""
    try:
        return msgspec.json.decode(line, type=_Told).event_id
    except msgspec.MsgspecError:
        return None
