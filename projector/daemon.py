"""The daemon: its schedule, its tasks, and what it says about its own health."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from pymongo.errors import PyMongoError

from eventstore import EventLog, Sequencer, listen
from projector import metrics
from projector.abandoned import end_abandoned_transactions
from projector.audit import Audit, Reconcile
from projector.feed import PostgresFeed
from projector.fleet import Fleet
from projector.heartbeat import Heartbeat
from projector.publishing import metrics as publisher_metrics
from projector.publishing.engine import Publishing
from projector.reacting import metrics as reaction_metrics
from projector.reacting.engine import MakeBackground, Reacting
from projector.registry import Registry
from projector.runner import Runner
from projector.schedule_metrics import SCHEDULE
from projector.sequencing import Sequencing
from projector.supervised import ended, supervised
from runtime import postgres
from runtime.errors import ReadsideError
from runtime.mongo import Database, mongo_database
from runtime.postgres import DRIVER_ERRORS, postgres_url
from runtime.settings import Settings

log = structlog.get_logger()

TICK_SECONDS = 1.0
_REACTION_CHUNK = 500
"""Reactions handle events one by one; a chunk is what is read again after others have pushed it out."""


class NotReadyError(ReadsideError):
    """Something that the daemon needs does not work now; the message says what."""


class Daemon:
    """Sequencing, one runner per view and one per reaction, over a feed for each kind."""

    def __init__(
        self, settings: Settings, reconcile: Reconcile | None = None, background: MakeBackground | None = None
    ) -> None:
        self._settings = settings
        self._url = postgres_url(settings)
        self._database = mongo_database(settings, "projector")
        self._heart = Heartbeat(self._database, settings)
        self._event_log = EventLog(
            self._url,
            "projector feed",
            archive_dir=settings.archives,
            pool_size=2,
            timeout_seconds=postgres.SHORT_TIMEOUT_SECONDS,
        )
        self._feed = PostgresFeed(self._event_log, chunk_size=settings.batch_limit)
        self._sequencer = Sequencer(self._url, batch_limit=settings.batch_limit)
        reaction_feed = PostgresFeed(
            self._event_log, chunk_size=_REACTION_CHUNK, notes_unknown=False, newest_of=self._feed
        )
        self._sequencing = Sequencing(self._sequencer, self._feed, reaction_feed)
        self._deployment_id: str | None = None
        self._ticked_at = time.monotonic()
        self.registry = Registry(self._database)
        self._fleet = Fleet(self._database, self._feed, self._event_log, settings)
        self.reacting = Reacting(self._database, reaction_feed, settings, background)
        # Not the feed's connections: a broker may be told years of events while views wait for the newest.
        self._publishing_log = EventLog(self._url, "publishing", archive_dir=settings.archives, pool_size=2)
        self.publishing = Publishing(self._database, self._publishing_log, self._feed, settings)
        # A connection of its own: the feed never waits for the audit's.
        self._audit_log = EventLog(self._url, "audit", archive_dir=settings.archives, pool_size=1)
        self.audit = Audit(self._database, self._audit_log, settings, lambda: self.runners, reconcile)
        self._auditing: asyncio.Task[None] | None = None

    @property
    def runners(self) -> list[Runner]:
        """One for each instance that this process keeps current, or stands by for."""
        return self._fleet.runners

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Project until the block ends; what runs then is finished or rolled back, never half done."""
        async with AsyncExitStack() as stack:
            stack.callback(self._database.client.close)
            await stack.enter_async_context(self._event_log)
            await stack.enter_async_context(self._audit_log)
            await stack.enter_async_context(self._publishing_log)
            stack.push_async_callback(self._sequencer.close)
            scheduler = self._schedule()

            async def react() -> None:
                await self.reacting.run(scheduler)

            works = (self._sequencing.run, self._fleet.run, react, self.publishing.run)
            tasks = [supervised(work) for work in works]
            stack.push_async_callback(ended, *tasks)
            stack.push_async_callback(self._end_audit)
            scheduler.start()
            stack.callback(scheduler.shutdown, wait=False)
            metrics.STANDINGS.source = self._standings
            metrics.SEQUENCER_AGE.set_function(lambda: self._sequencing.seconds_since_success)
            reaction_metrics.STANDINGS.source = self._reaction_standings
            publisher_metrics.STANDINGS.source = self._publisher_standings
            await stack.enter_async_context(listen(self._url, self._sequencing.wake))
            self._sequencing.wake()
            yield

    def _schedule(self) -> AsyncIOScheduler:
        scheduler = AsyncIOScheduler(timezone="UTC", job_defaults={"coalesce": True, "max_instances": 1})
        # The safety net: a doorbell can be lost, the schedule cannot.
        scheduler.add_job(self._tick, "interval", seconds=TICK_SECONDS, id="tick")
        scheduler.add_job(self._heartbeat, "interval", seconds=TICK_SECONDS, id="heartbeat")
        scheduler.add_job(
            self._end_abandoned, "interval", seconds=TICK_SECONDS, id="abandoned", next_run_time=datetime.now(UTC)
        )
        if self._settings.audit_seconds:
            # Late is better than not at all, which is what the scheduler does with a job that is a second late.
            scheduler.add_job(
                self._audit_once, "interval", seconds=self._settings.audit_seconds, id="audit", misfire_grace_time=None
            )
        SCHEDULE.watch(scheduler)
        return scheduler

    def _standings(self) -> list[metrics.Standing]:
        return [runner.standing() for runner in self.runners]

    def _reaction_standings(self) -> list[reaction_metrics.ReactionStanding]:
        return [runner.standing() for runner in self.reacting.runners]

    def _publisher_standings(self) -> list[publisher_metrics.PublisherStanding]:
        return [publisher.standing() for publisher in self.publishing.publishers]

    async def _tick(self) -> None:
        self._ticked_at = time.monotonic()
        self._sequencing.wake()

    async def _audit_once(self) -> None:
        self._auditing = asyncio.create_task(self.audit.round(), name="audit")
        try:
            await self._auditing
        except asyncio.CancelledError:
            log.debug("no audit: ending")  # the scheduler would log its own cancelling as a crash

    async def _end_audit(self) -> None:
        if self._auditing is not None:
            await ended(self._auditing)
        self.audit.close()

    async def _heartbeat(self) -> None:
        if self._sequencing.last_run_at is None or self._feed.is_cut_off:
            return  # what it would tell of the log is not so, or no longer
        try:
            if self._deployment_id is None:
                self._deployment_id = await self._event_log.deployment_id()
            await self._heart.beat(self._deployment_id, self._feed.head, self._sequencing.last_run_at)
        except (PyMongoError, *DRIVER_ERRORS) as error:
            log.debug("no heartbeat", error=str(error))
        except asyncio.CancelledError:
            log.debug("no heartbeat: ending")  # the scheduler would log its own cancelling as a crash

    async def _end_abandoned(self) -> None:
        # By the clock and not at a failure: a write outside of a transaction does not fail at such a lock, it waits.
        try:
            count = await end_abandoned_transactions(self._database)
        except PyMongoError as error:
            log.debug("not looked for abandoned transactions", error=str(error))
        except asyncio.CancelledError:
            log.debug("not looked for abandoned transactions: ending")  # as for the heartbeat
        else:
            if count:
                log.info("ended transactions that a killed projector left open", count=count)

    @property
    def database(self) -> Database:
        """The database of the views."""
        return self._database

    def look_at_dead_letters(self) -> None:
        """An operator wants something of them: do not wait for the next look."""
        for runner in self.runners:
            runner.unparking.wake()
        self.reacting.wake()

    async def postgres_works(self) -> None:
        """Raises `NotReadyError` unless the sequencer ran to its end lately."""
        since = self._sequencing.seconds_since_success
        if since > 3 * TICK_SECONDS:
            raise NotReadyError("Postgres: the sequencer has not run for some seconds")

    async def scheduler_works(self) -> None:
        """Raises `NotReadyError` unless the schedule runs: the net under every ring that is lost."""
        if time.monotonic() - self._ticked_at > 10 * TICK_SECONDS:
            raise NotReadyError("the scheduler has not run its jobs for some seconds")

    async def projections_work(self) -> None:
        """Raises `NotReadyError` naming the projections in trouble."""
        if self._fleet.trouble:
            raise NotReadyError(f"projections: {self._fleet.trouble}")
        troubled = [f"{runner.name}: {runner.trouble}" for runner in self.runners if runner.trouble]
        if troubled:
            raise NotReadyError("; ".join(troubled))

    async def reactions_work(self) -> None:
        """Raises `NotReadyError` where our own stores are away. A dead outside is no trouble of the projector's."""
        if self.reacting.trouble:
            raise NotReadyError(self.reacting.trouble)

    async def mongo_works(self) -> None:
        """Raises what the driver raises."""
        await self._database.client.admin.command("ping")
