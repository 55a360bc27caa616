"""The projection loop: read, fold, write, for ever; the next batch is read and folded while the last is written.

Correct at every step whatever fails, because nothing is decided from memory after a failure: whatever was folded
since is dropped, and the loop begins again from the checkpoint in MongoDB.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime

import structlog
from pymongo.errors import PyMongoError

from projector import metrics
from projector.failures import FailurePolicy, GuardFailed, Retry, StandBy
from projector.feed import Feed
from projector.folding import Folded, folder_of
from projector.lease import RENEW_SECONDS, Lease
from projector.store import Checkpoint, ViewStore
from projector.supervised import ended
from projector.unparking import Unparking
from views.kit import Calendar

log = structlog.get_logger()


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
        self._feed = feed
        self._build = build
        self._policy = FailurePolicy(park_after_attempts)
        self._folder = folder_of(store.view, self._policy, calendar)
        self.unparking = Unparking(store, feed, self._folder, calendar, retry_after_seconds=retry_dead_letters_seconds)
        self._checkpoint = Checkpoint(0, None)
        self._as_of: datetime | None = None
        self.state = "starting"
        self.trouble: str | None = "starting"

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
            "epoch": self._lease.epoch,
            "trouble": self.trouble,
            "instance": self.instance,
            "position": self.position,
            "head": self._feed.head,
            "lag_events": max(0, self._feed.head - self.position),
            "lag_seconds": self._lag_seconds(),
            "parked_sequences": len(self._folder.parked),
        }

    def _lag_seconds(self) -> float:
        if self._feed.head <= self.position or self._as_of is None:
            return 0.0
        return round((datetime.now(UTC) - self._as_of).total_seconds(), 3)

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
            self.state, self.trouble = "standby", None
            await asyncio.sleep(decision.for_seconds)
            return
        metrics.RETRIES.labels(self.name, decision.reason).inc()
        self.state, self.trouble = "waiting", f"{decision.reason}: {type(error).__name__}"
        log.warning("batch begun again", projection=self.name, reason=decision.reason, error=str(error)[:300])
        await asyncio.sleep(decision.after_seconds)

    async def _as_owner(self) -> None:
        if not await self._lease.acquire():
            raise GuardFailed
        working = asyncio.create_task(self._from_checkpoint(), name=f"project {self.instance}")
        renewing = asyncio.create_task(self._renew(), name=f"renew {self.instance}")
        try:
            await asyncio.wait({working, renewing}, return_when=asyncio.FIRST_COMPLETED)
            await (working if working.done() else renewing)
        except asyncio.CancelledError:
            await ended(working, renewing)
            with suppress(PyMongoError):
                await self._lease.release()
            raise
        finally:
            await ended(working, renewing)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            # While MongoDB is away nobody can take the projection over, and no write gets past its guard anyway.
            with suppress(PyMongoError):
                if not await self._lease.renew():
                    raise GuardFailed

    async def _from_checkpoint(self) -> None:
        self._folder.forget()
        self._checkpoint = await self._store.prepare(self._lease.epoch)
        await self.unparking.recall()
        await self._feed.started()
        if self._build is not None and self.position == 0:
            self.state, self.trouble = "building", None
            await self._build(self._lease.epoch, self._feed.head)
            self._checkpoint = await self._store.prepare(self._lease.epoch)
            await self.unparking.recall()
        self.state, self.trouble = "active", None
        log.info("projecting", projection=self.name, position=self.position, epoch=self._lease.epoch)
        writing: asyncio.Task[None] | None = None
        try:
            position = self._checkpoint.position
            while True:
                if writing is not None and self._feed.head <= position:
                    # Nothing to fold meanwhile: a write that failed has to be noticed now, not at the next event.
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
                batch = await self._feed.read(position)
                if not batch:
                    continue
                folded = await self._folder.fold(batch, self._store)
                if writing is not None:
                    await writing
                writing = asyncio.create_task(self._write(folded, head), name=f"write {self.instance}")
                position = folded.position
        finally:
            if writing is not None:
                await _settled(writing)

    async def _write(self, folded: Folded, head: int) -> None:
        self._checkpoint = await self._store.write(folded, self._checkpoint, len(self._folder.parked))
        self._folder.committed()
        self._policy.succeeded()
        self._as_of = folded.as_of
        # Measured by the head when the batch was read: under load there is always something newer.
        if folded.position >= head:
            self.current.set()
        else:
            self.current.clear()
        metrics.POSITION.labels(self.name).set(folded.position)
        metrics.LAG.labels(self.name).set(max(0, self._feed.head - folded.position))
        metrics.APPLIED.labels(self.name).inc(folded.events)
        metrics.BATCH.labels(self.name).observe(folded.events)
        metrics.PARKED.labels(self.name).set(len(self._folder.parked))
        visible_after = (datetime.now(UTC) - folded.first_recorded).total_seconds()
        metrics.VISIBLE.labels(self.name).observe(max(0.0, visible_after))
        if folded.dead_letters:
            first = folded.dead_letters[0]
            log.error(
                "events parked as dead letters",
                projection=self.name,
                count=len(folded.dead_letters),
                position=first.envelope.position,
                aggregate_id=first.envelope.aggregate_id,
                error=first.error,
            )


async def _settled(writing: asyncio.Task[None]) -> None:
    # A transaction in its thread cannot be called back; wait for its end, so that two never overlap.
    with suppress(Exception):
        await asyncio.shield(writing)
