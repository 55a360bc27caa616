"""The feed: events after a position, in order; wait for more. The one thing that projections read from.

`Feed` is the interface; `PostgresFeed` the direct one. All projections of a process share one, so that an event which
four views need is read and decoded once. All reactions share another: they may be far behind, each somewhere else, and
would read chunks into it that push out those of the views.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Protocol

import msgspec
import structlog

from events.envelope import DomainEvent, Envelope, UnknownEvent, decode
from eventstore import EventLog, Filter
from eventstore.log import StoredEvent
from projector import metrics
from runtime import tracing
from runtime.clock import now

log = structlog.get_logger()

CUT_OFF_SECONDS = 8.0
"""Longer than a paused sequencer can hold up this one, which is no outage."""
_CHUNKS_KEPT = 4
_NEWS = timedelta(minutes=1)
_HEADS_KEPT, _HEAD_EVERY_SECONDS = 4_096, 0.1

Aggregate = tuple[str, str]
"""Its type and its id."""


class Undecodable(DomainEvent, frozen=True):
    """Stands for an event whose payload is not of its type; whoever subscribes to it fails, with this reason."""

    event_type: str
    reason: str
    payload: str = ""


def payload_of(envelope: Envelope) -> str:
    """The event as JSON text; as it stands in the log where it is not of its type."""
    event = envelope.event
    return event.payload if isinstance(event, Undecodable) else msgspec.json.encode(event).decode()


class Feed(Protocol):
    """Events after a position; wait for more."""

    @property
    def head(self) -> int:
        """The last position known to exist."""

    @property
    def is_cut_off(self) -> bool:
        """Whether this process has not been able to look for events for a while."""

    async def started(self) -> None:
        """Return once the head is known; until then 0 means nothing."""

    async def read(self, after: int) -> Sequence[Envelope]:
        """Some of the events after this position, in order, without gaps; empty when there is none yet."""

    async def more(self, after: int) -> None:
        """Return when there is an event after this position."""

    async def reread(self, aggregate: Aggregate, positions: Collection[int]) -> Sequence[Envelope]:
        """Those of one aggregate's events that stand at these positions, in order, read and decoded anew."""

    def waiting_seconds(self, position: int) -> float:
        """For how long the first event after this position has been in the log; 0 where there is none."""


class PostgresFeed:
    """Reads the log in chunks of fixed positions and keeps the last few, decoded.

    A read ends at its chunk's end, so batches line up and projections that keep pace share every chunk. Of several
    feeds of one log, one ``notes_unknown`` events; who keeps pace in another has the newest from that one too
    (``newest_of``), read and decoded once.
    """

    def __init__(
        self,
        event_log: EventLog,
        *,
        chunk_size: int,
        notes_unknown: bool = True,
        newest_of: "PostgresFeed | None" = None,
    ) -> None:
        self._log = event_log
        self._chunk_size = chunk_size
        self._notes_unknown = notes_unknown
        self._newest_of = newest_of
        self._chunks: OrderedDict[int, list[Envelope]] = OrderedDict()
        self._being_read: asyncio.Event | None = None
        self._advanced = asyncio.Event()
        self._warned: set[str] = set()
        self._started = asyncio.Event()
        self._heads: deque[list[float]] = deque(maxlen=_HEADS_KEPT)
        self._advanced_at = time.monotonic()
        self.head = 0

    async def started(self) -> None:
        """Return once the head is known; until then 0 means nothing."""
        await self._started.wait()

    @property
    def is_cut_off(self) -> bool:
        """Whether this process has not been able to look for events for a while."""
        return time.monotonic() - self._advanced_at > CUT_OFF_SECONDS

    async def advance(self, head: int) -> None:
        """This is the head now; wakes whoever waits for more. To be told every second, also when it is the same."""
        self._started.set()
        self._advanced_at = time.monotonic()
        self._note_head(head)
        if head > self.head:
            self.head = head
            self._advanced.set()
            self._advanced = asyncio.Event()

    def waiting_seconds(self, position: int) -> float:
        """For how long the first event after this position has been in the log, as far as this process has seen."""
        since = next((at for head, at in self._heads if head > position), None)
        return 0.0 if since is None else time.monotonic() - since

    def _note_head(self, head: int) -> None:
        heads, now = self._heads, time.monotonic()
        if not heads or (head > heads[-1][0] and now - heads[-1][1] > _HEAD_EVERY_SECONDS):
            heads.append([head, now])
        else:
            # The earlier time stays: rather a little too old than too young.
            heads[-1][0] = max(head, heads[-1][0])

    async def more(self, after: int) -> None:
        """Return when there is an event after this position."""
        # No condition and no lock: those let waiters through one by one, and who comes one by one writes one by one.
        while self.head <= after:
            await self._advanced.wait()

    async def read(self, after: int) -> Sequence[Envelope]:
        """The rest of the chunk that the next position stands in, as far as it is filled."""
        if self._newest_of is not None and self._newest_of.is_in_last_chunk(after):
            # No more than a chunk of this feed: who has to wait in the middle keeps what is left in memory.
            return (await self._newest_of.read(after))[: self._chunk_size]
        number, offset = divmod(after, self._chunk_size)
        chunk = self._chunks.get(number)
        while chunk is None or len(chunk) <= offset:
            # One projection reads; the others, coming for the same chunk, find it filled, all at the same moment.
            if self._being_read is None:
                chunk = await self._filling(number)
                break
            await self._being_read.wait()
            chunk = self._chunks.get(number)
        return chunk[offset:]

    def is_in_last_chunk(self, after: int) -> bool:
        """Whether the next position stands in the newest chunk, or is to come."""
        return after // self._chunk_size >= max(0, self.head - 1) // self._chunk_size

    async def _filling(self, number: int) -> list[Envelope]:
        self._being_read = over = asyncio.Event()
        try:
            return await self._filled(number)
        finally:
            self._being_read = None
            over.set()

    async def reread(self, aggregate: Aggregate, positions: Collection[int]) -> Sequence[Envelope]:
        """Those of one aggregate's events that stand at these positions, in order, read and decoded anew."""
        after, last, found = min(positions) - 1, max(positions), list[Envelope]()
        only = Filter(aggregate_type=aggregate[0], aggregate_id=aggregate[1])
        while after < last:
            stored = await self._log.get(after, self._chunk_size, only)
            found += [self._decoded(one) for one in stored if one.position in positions]
            after = stored[-1].position if stored else last
        return found

    async def _filled(self, number: int) -> list[Envelope]:
        chunk = self._chunks.setdefault(number, [])
        self._chunks.move_to_end(number)
        while len(self._chunks) > _CHUNKS_KEPT:
            self._chunks.popitem(last=False)
        start = number * self._chunk_size + len(chunk)
        missing = self._chunk_size - len(chunk)
        if missing and start < self.head:
            read = await self._log.get(start, missing)
            if tracing.is_on() and self._notes_unknown:
                tracing.sequenced(read, not_before=now() - _NEWS)
            chunk.extend(self._decoded(stored) for stored in read)
        return chunk

    def _decoded(self, stored: StoredEvent) -> Envelope:
        envelope = decoded(stored)
        if self._notes_unknown and isinstance(envelope.event, UnknownEvent):
            self._note_unknown(stored.event_type)
        return envelope

    def _note_unknown(self, event_type: str) -> None:
        metrics.UNKNOWN.labels(event_type).inc()
        if event_type not in self._warned:
            self._warned.add(event_type)
            log.warning("unknown event type: kept in the log, folded by no view", event_type=event_type)


def decoded(stored: StoredEvent) -> Envelope:
    """The envelope with its event; `Undecodable` in place of one that cannot be had from its payload."""
    event: DomainEvent
    try:
        event = decode(stored.event_type, stored.schema_version, stored.payload)
    except Exception as error:  # an upcaster is code like any other; its failure is this event's, and no other's
        event = Undecodable(
            event_type=stored.event_type, reason=f"{type(error).__name__}: {error}", payload=stored.payload
        )
    return stored.envelope(event)
