"""The projection loop: read, fold, write, for ever; the next batch is read and folded while the last is written.

Correct at every step whatever fails, because nothing is decided from memory after a failure: whatever was folded
since is dropped, and the loop begins again from the checkpoint in MongoDB.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

from events.envelope import Envelope
from projector import metrics
from projector.failures import FailurePolicy, Retry, StandBy, is_refusal, told_of
from projector.feed import Feed
from projector.folding import Folded, folder_of
from projector.lease import Lease
from projector.store import Checkpoint, ViewStore
from projector.supervised import settled
from projector.tenure import Tenure
from projector.unparking import Unparking
from runtime import tracing
from runtime.clock import now
from views.kit import Calendar

log = structlog.get_logger()

STUCK_SECONDS = 10.0
"""An owner that has had events before it for this long, and written none, is stuck: no batch takes a second."""

WORTH_READING_AHEAD = 200
"""Events that wait: from so many on the next batch is folded while the last one is being written."""

Build = Callable[[int, int], Awaitable[None]]
"""Brings an instance from nothing to a position, faster than one process can: epoch, position."""


class Runner:
    """Keeps one instance of a view current. ``build`` is tried first where the instance has everything before it."""

    def __init__(
        self,
        store: ViewStore,
        lease: Lease,
        feed: Feed,
        calendar: Calendar,
        *,
        park_after_attempts: int,
        retry_dead_letters_seconds: int = 0,
        build: Build | None = None,
    ) -> None:
        self.name = store.view.name
        self.instance = store.instance
        self.current = asyncio.Event()
        """Set while the view is where the log is, or was a moment ago."""
        self._store = store
        self._lease = lease
        self._tenure = Tenure(lease, feed)
        self._feed = feed
        self._build = build
        self._policy = FailurePolicy(park_after_attempts)
        self._folder = folder_of(store.view, self._policy, calendar)
        self.unparking = Unparking(store, feed, self._folder, calendar, retry_after_seconds=retry_dead_letters_seconds)
        self._checkpoint = Checkpoint(0, None)
        self.state = "starting"
        self.is_served = True
        """Whether this is the instance that readers see; the fleet knows."""
        self._trouble: str | None = "starting"
        self._moved_at = time.monotonic()

    @property
    def position(self) -> int:
        """The position of the last event whose effect is durable."""
        return self._checkpoint.position

    def status(self) -> dict[str, object]:
        """Where this projection stands, as this process sees it."""
        return {
            "name": self.name,
            "version": self._store.view.version,
            "state": self.state,
            "health": self.health,
            "epoch": self._lease.epoch,
            "trouble": self.trouble,
            "instance": self.instance,
            "position": self.position,
            "head": self._feed.head,
            "lag_events": max(0, self._feed.head - self.position),
            "lag_seconds": round(self._feed.waiting_seconds(self.position), 3),
            "parked_sequences": len(self._folder.parked),
        }

    @property
    def label(self) -> str:
        """What the metrics call it: the projection, or the instance where that is not the one that is served."""
        return self.name if self.is_served else self.instance

    def standing(self) -> metrics.Standing:
        """The same for the metrics."""
        return metrics.Standing(
            projection=self.label,
            position=self.position,
            lag_events=max(0, self._feed.head - self.position),
            lag_seconds=self._feed.waiting_seconds(self.position),
            parked_sequences=len(self._folder.parked),
            epoch=self._lease.epoch,
            health=self.health,
        )

    @property
    def health(self) -> str:
        """``idle``, ``behind`` or ``stuck`` where this process is the owner; else the state."""
        if self.state != "active":
            return self.state
        if self._feed.head <= self.position:
            return "idle"
        return "stuck" if self._stuck_seconds() > STUCK_SECONDS else "behind"

    @property
    def trouble(self) -> str | None:
        """Why this projection does not do its work now, if it does not."""
        if self.health == "stuck":
            return (
                f"stuck at position {self.position} for {self._stuck_seconds():.0f} s; the log is at {self._feed.head}"
            )
        return self._trouble

    def _stuck_seconds(self) -> float:
        return min(self._feed.waiting_seconds(self.position), time.monotonic() - self._moved_at)

    async def run(self) -> None:
        """Project until canceled."""
        while True:
            try:
                await self._as_owner()
            except Exception as error:
                await self._obey(self._policy.batch_failed(error), error)

    async def _obey(self, decision: Retry | StandBy, error: Exception) -> None:
        if isinstance(decision, StandBy):
            if self.state != "standby":
                log.info("standing by: another projector owns this projection", projection=self.name)
            self.state, self._trouble = "standby", None
            await asyncio.sleep(decision.for_seconds)
            return
        metrics.RETRIES.labels(self.label, decision.reason).inc()
        told = told_of(error)
        self.state, self._trouble = "waiting", f"{decision.reason}: {told}"
        log.warning("batch begun again", projection=self.name, reason=decision.reason, error=str(error)[:300])
        await asyncio.sleep(decision.after_seconds)

    async def _as_owner(self) -> None:
        await self._tenure.reachable(self._cut_off)
        await self._tenure.hold(self._from_checkpoint)

    def _cut_off(self) -> None:
        self.state, self._trouble = "waiting", "postgres: the events cannot be reached"

    async def _from_checkpoint(self) -> None:
        self._folder.forget()
        self._checkpoint = await self._store.prepare(self._lease.epoch)
        await self.unparking.recall()
        if self._build is not None and self.position == 0:
            self.state, self._trouble = "building", None
            await self._build(self._lease.epoch, self._feed.head)
            self._checkpoint = await self._store.prepare(self._lease.epoch)
            await self.unparking.recall()
        await self._store.make_indexes()
        self.state, self._trouble = "active", None
        self._moved_at = time.monotonic()
        log.info("projecting", projection=self.name, position=self.position, epoch=self._lease.epoch)
        writing: asyncio.Task[None] | None = None
        try:
            position = self._checkpoint.position
            while True:
                if writing is not None and self._feed.head < position + WORTH_READING_AHEAD:
                    # A write that failed has to be noticed now, not at the next event. And a few events are folded in
                    # no time: what is folded before it can be written does not take along what comes meanwhile.
                    await writing
                    writing = None
                if self._feed.head <= self.position:
                    self.current.set()
                if self.unparking.is_due:
                    if writing is not None:
                        await writing
                        writing = None
                    self._checkpoint = await self.unparking.work(self._checkpoint)
                await self.unparking.more(position)
                head = self._feed.head
                batch = (await self._feed.read(position))[: self._folder.narrowing.most]
                if not batch:
                    continue
                began_at = time.time_ns()
                folded = await self._folder.fold(batch, self._store)
                traced = self._traced(batch, folded) if tracing.is_on() else ()
                if writing is not None:
                    await writing
                writing = asyncio.create_task(
                    self._write(folded, head, traced, began_at), name=f"write {self.instance}"
                )
                position = folded.position
        finally:
            if writing is not None:
                await settled(writing)

    def _traced(self, batch: Sequence[Envelope], folded: Folded) -> Sequence[Envelope]:
        """Those events of a batch that this view takes, and somebody follows."""
        types = {event_type.__name__ for event_type in self._store.view.event_types}
        return [
            one
            for one in batch
            if one.position <= folded.position and tracing.is_kept(one.traceparent) and one.event_type in types
        ]

    async def _write(self, folded: Folded, head: int, traced: Sequence[Envelope], began_at: int) -> None:
        try:
            self._checkpoint = await self._store.write(folded, self._checkpoint, len(self._folder.parked))
        except Exception as error:
            if is_refusal(error):
                self._folder.narrowing.failed(folded.events, folded.position, error)
            raise
        self._folder.committed()
        self._folder.narrowing.written(folded.position)
        self._policy.succeeded()
        self._moved_at = time.monotonic()
        # Measured by the head when the batch was read: under load there is always something newer.
        if folded.position >= head:
            self.current.set()
        else:
            self.current.clear()
        if traced:
            tracing.projected(self.label, traced, folded.events, began_at)
        metrics.APPLIED.labels(self.label).inc(folded.events)
        metrics.BATCH.labels(self.label).observe(folded.events)
        metrics.VISIBLE.observe(self.label, folded.recorded, now())
        if folded.dead_letters:
            first = folded.dead_letters[0]
            log.error(
                "events parked as dead letters",
                projection=self.name,
                count=len(folded.dead_letters),
                position=first.envelope.position,
                aggregate_id=first.envelope.aggregate_id,
                trace_id=tracing.trace_id_of(first.envelope.traceparent),
                error=first.error,
            )
