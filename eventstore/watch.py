"""Watching the log grow: one look for all who wait, and the newest events in memory for all of them.

Guarantees:

- While nobody listens it asks nothing. While anybody does, it asks every 50 ms where the log ends, whoever and however
  many they are, and reads what is new once; they pick what they want from memory.
- A page says up to where it has *looked* (``scanned``), not only what it found. The end of the log is read before the
  events: the other way round an event that arrives in between would be taken for one that was looked at.
- No scan is without an end: a filter that no index helps looks at so many positions at a time.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import structlog

from events.values import Value
from eventstore.log import EventLog, Filter, StoredEvent
from runtime.listeners import Listeners
from runtime.postgres import DRIVER_ERRORS

log = structlog.get_logger()

KIND = "event log"
"""What the watch's listeners listen to."""

_INTERVAL_SECONDS = 0.05
_AFTER_ERROR_SECONDS = 0.5
_MOST_KEPT = 1_000
_MOST_BYTES_KEPT = 8 * 1024 * 1024
SCANNED_AT_ONCE = 50_000


class Page(Value, frozen=True):
    """Some events in order, the position up to which nothing else matches, and whether the log ended there."""

    events: Sequence[StoredEvent]
    scanned: int
    is_end: bool


class Tail(Value, frozen=True):
    """The newest events, all of them from after ``since`` up to ``until``."""

    since: int
    until: int
    events: tuple[StoredEvent, ...] = ()

    def grown(self, new: Sequence[StoredEvent]) -> "Tail":
        """With what comes next in the log, and without what is too old, or too much, to be kept."""
        events, room = [*self.events, *new][-_MOST_KEPT:], _MOST_BYTES_KEPT
        for kept, event in enumerate(reversed(events)):
            room -= len(event.payload)
            if room < 0:
                events = events[len(events) - kept :]
                break
        until = self.until + len(new)
        return Tail(until - len(events), until, tuple(events))

    def page(self, after: int, limit: int, only: Filter) -> Page | None:
        """What stands after a position; ``None`` where that begins before the tail."""
        if after < self.since:
            return None
        found = []
        for event in self.events[after - self.since :]:
            if only.matches(event):
                found.append(event)
                if len(found) == limit:
                    return Page(found, event.position, event.position == self.until)
        return Page(found, max(after, self.until), is_end=True)


async def read_page(events: EventLog, after: int, limit: int, only: Filter) -> Page:
    """A page from the log itself."""
    head = await events.head()
    if head <= after:
        return Page((), after, is_end=True)
    until = min(head, after + SCANNED_AT_ONCE) if only.needs_scan else head
    found = await events.between(after, until, limit, only)
    scanned = found[-1].position if len(found) == limit else until
    return Page(found, scanned, scanned == head)


class LogWatch:
    """Wakes the listeners of `KIND` when the log has grown."""

    def __init__(self, events: EventLog, listeners: Listeners) -> None:
        self._events = events
        self._listeners = listeners
        self._tail: Tail | None = None

    async def page(self, after: int, limit: int, only: Filter) -> Page:
        """A page for a listener: what is newer than the last look comes with the next wake-up."""
        tail = self._tail
        if tail is None:
            return Page((), after, is_end=True)
        page = tail.page(after, limit, only)
        return await read_page(self._events, after, limit, only) if page is None else page

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch as long as this is entered."""
        task = asyncio.create_task(self._watch(), name="log watch")
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _watch(self) -> None:
        is_away = False
        while True:
            await self._listeners.occupied(KIND)
            try:
                await self._look()
                is_away = False
            except DRIVER_ERRORS as error:
                if not is_away:
                    log.warning("lost sight of the event log", reason=type(error).__name__)
                is_away = True
                await asyncio.sleep(_AFTER_ERROR_SECONDS)
            await asyncio.sleep(_INTERVAL_SECONDS)

    async def _look(self) -> None:
        head = await self._events.head()
        tail = self._tail
        if tail is not None and head <= tail.until:
            return
        if tail is None or head - tail.until > _MOST_KEPT:
            # Nobody listened for a while. Those who are further back read from the log until they have caught up.
            self._tail = Tail(head, head)
        else:
            self._tail = tail.grown(await self._events.between(tail.until, head, _MOST_KEPT, Filter()))
        self._listeners.wake_all(KIND)
