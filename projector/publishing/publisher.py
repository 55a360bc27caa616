"""Keeps one outlet supplied in this process: as its owner, or standing by for whoever is."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import structlog
from pymongo.errors import PyMongoError

from eventstore import EventLog
from eventstore.log import StoredEvent
from projector.failures import FailurePolicy, Retry, StandBy, told_of
from projector.feed import Feed
from projector.lease import Lease
from projector.publishing import metrics
from projector.publishing.outlet import Outlet, Send
from projector.publishing.progress import PublishedUpTo, instance_of
from projector.tenure import Tenure
from runtime.mongo import Database

log = structlog.get_logger()

MOST_AT_ONCE = 500
"""Events of one batch: what a crash repeats, at most."""


class Publisher:
    """Events of the log, as they were written, into one outlet."""

    def __init__(self, database: Database, event_log: EventLog, feed: Feed, outlet: Outlet) -> None:
        self.name = outlet.name
        self._outlet = outlet
        self._log = event_log
        self._feed = feed
        self._progress = PublishedUpTo(database, outlet.name)
        self._lease = Lease(database, instance_of(outlet.name))
        self._tenure = Tenure(self._lease, feed)
        self._policy = FailurePolicy(1)
        self._trouble: str | None = "starting"
        self.state = "starting"
        self.position = 0
        """Everything up to here is confirmed."""

    async def run(self) -> None:
        """Publish until canceled."""
        while True:
            try:
                await self._tenure.reachable(self._cut_off)
                await self._tenure.hold(self._as_owner)
            except Exception as error:
                await self._obey(self._policy.batch_failed(error), error)

    async def _as_owner(self) -> None:
        self.position = await self._progress.prepare(self._lease.epoch, self._beginning)
        async with self._outlet.connected() as send:
            self.state, self._trouble = "active", None
            log.info("publishing", publisher=self.name, position=self.position, epoch=self._lease.epoch)
            reading = asyncio.create_task(self._read(self.position))
            try:
                while True:
                    batch = await reading
                    if not batch:
                        await self._feed.more(self.position)
                        reading = asyncio.create_task(self._read(self.position))
                        continue
                    # Read ahead while this one is sent.
                    reading = asyncio.create_task(self._read(batch[-1].position))
                    await self._publish(send, batch)
            finally:
                reading.cancel()

    async def _read(self, after: int) -> Sequence[StoredEvent]:
        return await self._log.get(after, MOST_AT_ONCE)

    async def _publish(self, send: Send, batch: Sequence[StoredEvent]) -> None:
        # Who may be a former owner begins nothing: an old batch after a newer one is what subscribers least expect.
        await self._tenure.sure()
        await send(batch)
        await self._progress.move(batch[-1].position)
        self.position = batch[-1].position
        self._policy.succeeded()
        metrics.PUBLISHED.labels(self.name).inc(len(batch))

    async def _beginning(self) -> int:
        return 0 if self._outlet.from_beginning else await self._log.head()

    async def _obey(self, decision: Retry | StandBy, error: Exception) -> None:
        if isinstance(decision, StandBy):
            if self.state != "standby":
                log.info("standing by: another projector publishes this", publisher=self.name)
            self.state, self._trouble = "standby", None
            with suppress(PyMongoError):
                self.position = await self._progress.look()
            await asyncio.sleep(decision.for_seconds)
            return
        told = told_of(error)
        self.state, self._trouble = "waiting", f"{decision.reason}: {told}"
        metrics.RETRIES.labels(self.name, decision.reason).inc()
        log.warning("publishing begun again", publisher=self.name, reason=decision.reason, error=told[:300])
        await asyncio.sleep(decision.after_seconds)

    def _cut_off(self) -> None:
        self.state, self._trouble = "waiting", "postgres: the events cannot be reached"

    @property
    def trouble(self) -> str | None:
        """Why nothing gets through now, if so."""
        return self._trouble or (self._outlet.trouble if self.state == "active" else None)

    def standing(self) -> metrics.PublisherStanding:
        """Where it stands, for the metrics and for operators."""
        return metrics.PublisherStanding(
            publisher=self.name,
            position=self.position,
            lag_events=max(0, self._feed.head - self.position),
            lag_seconds=round(self._feed.waiting_seconds(self.position), 3),
            epoch=self._lease.epoch,
        )

    def status(self) -> dict[str, Any]:
        """The same for operators."""
        standing = self.standing()
        return {
            "name": self.name,
            "state": self.state,
            "epoch": standing.epoch,
            "trouble": self.trouble,
            "position": standing.position,
            "head": self._feed.head,
            "lag_events": standing.lag_events,
            "lag_seconds": standing.lag_seconds,
        }
