"""Keeps one reaction going in this process: as its owner, or standing by for whoever is."""

import asyncio
import time
from contextlib import suppress
from typing import Any

import structlog
from pymongo.errors import PyMongoError

from events.reaction import Ports, Reaction
from eventstore.beginnings import Beginnings
from projector.failures import FailurePolicy, Retry, StandBy, told_of
from projector.feed import Feed
from projector.lease import Lease
from projector.reacting import metrics
from projector.reacting.progress import MongoProgress, instance_of
from projector.reacting.reactor import Reactor
from projector.reacting.repairs import Repairs
from projector.tenure import Tenure
from projector.together import Together
from runtime.mongo import Database
from runtime.postgres import DRIVER_ERRORS
from runtime.settings import Settings

log = structlog.get_logger()

STUCK_SECONDS = 10.0
"""An owner that has had events before it for this long, and looked at none, is stuck."""

_REMEMBER_EVERY_SECONDS = 60.0


class ReactionRunner:
    """One reaction in this process."""

    def __init__(
        self,
        database: Database,
        feed: Feed,
        settings: Settings,
        reaction: Reaction,
        ports: Ports,
        beginnings: Beginnings,
        together: Together,
    ) -> None:
        self.name = reaction.name
        self._reaction = reaction
        self._ports = ports
        self._feed = feed
        self._settings = settings
        self._beginnings = beginnings
        self._progress = MongoProgress(database, reaction.name, together)
        self._lease = Lease(database, instance_of(reaction.name))
        self._tenure = Tenure(self._lease, feed, self._told)
        self._policy = FailurePolicy(1)
        self._reactor: Reactor | None = None
        self._repairs: Repairs | None = None
        self._position = 0
        self._looked_at, self._moved_at = 0, time.monotonic()
        self.state = "starting"
        self._trouble: str | None = "starting"

    @property
    def position(self) -> int:
        """Everything up to here is done, is a dead letter, or was not this reaction's business."""
        return self._position if self._reactor is None else self._reactor.window.position

    @property
    def health(self) -> str:
        """``idle``, ``behind`` or ``stuck`` where this process is the owner; else the state.

        Who waits for the outside, or for the time of the next attempt, is behind, and not stuck.
        """
        if self.state != "active" or self._reactor is None:
            return self.state
        if self._feed.head <= self.position:
            return "idle"
        return "stuck" if self._still_seconds() > STUCK_SECONDS else "behind"

    @property
    def trouble(self) -> str | None:
        """Why this reaction does not do its work now, if it is our own fault that it does not."""
        if self.health == "stuck":
            return f"stuck at position {self.position}; the log is at {self._feed.head}"
        if self._reactor is not None and (told := str(self._reactor.troubles)):
            return told
        return self._trouble

    def standing(self) -> metrics.ReactionStanding:
        """Where it stands, for the metrics."""
        reactor, position = self._reactor, self.position
        return metrics.ReactionStanding(
            reaction=self.name,
            position=position,
            lag_events=max(0, self._feed.head - position),
            lag_seconds=round(self._feed.waiting_seconds(position), 3),
            in_flight=0 if reactor is None else len(reactor.turns.in_flight),
            parked_sequences=0 if reactor is None else len(reactor.parked),
            epoch=self._lease.epoch,
            health=self.health,
        )

    def status(self) -> dict[str, Any]:
        """The same for operators."""
        standing = self.standing()
        return {
            "name": self.name,
            "state": self.state,
            "health": standing.health,
            "epoch": standing.epoch,
            "trouble": self.trouble,
            "position": standing.position,
            "head": self._feed.head,
            "lag_events": standing.lag_events,
            "lag_seconds": standing.lag_seconds,
            "in_flight": standing.in_flight,
            "parked_sequences": standing.parked_sequences,
        }

    def wake(self) -> None:
        """An operator wants something of its dead letters."""
        if self._repairs is not None:
            self._repairs.wake()

    async def run(self) -> None:
        """React until canceled."""
        while True:
            try:
                await self._tenure.reachable(self._cut_off)
                await self._tenure.hold(self._as_owner)
            except Exception as error:
                await self._obey(self._policy.batch_failed(error), error)

    async def _as_owner(self) -> None:
        mark = await self._progress.prepare(self._lease.epoch, lambda: self._beginnings.of(self.name))
        first_states = await self._progress.letters.first_states()
        self._reactor = Reactor(
            self._reaction,
            self._ports,
            self._feed,
            self._progress,
            self._tenure,
            self._settings,
            mark,
            parked=first_states,
            discarded=await self._progress.letters.discarded(),
        )
        self._repairs = Repairs(
            self._reactor,
            self._progress.letters,
            self._feed,
            first_states,
            retry_after_seconds=self._settings.retry_dead_letters_seconds,
        )
        self.state, self._trouble, self._moved_at = "active", None, time.monotonic()
        self._policy.succeeded()
        log.info("reacting", reaction=self.name, position=mark.position, epoch=self._lease.epoch)
        try:
            await self._reactor.run(self._repairs.run(), self._remember(self._reactor))
        finally:
            self._position, self._reactor, self._repairs = self.position, None, None
            self.state, self._trouble = "waiting", "begins again"

    async def _remember(self, reactor: Reactor) -> None:
        while True:
            await asyncio.sleep(_REMEMBER_EVERY_SECONDS)
            # What is durable, and no more: it is for the day when the checkpoint is gone.
            with suppress(*DRIVER_ERRORS):
                await self._beginnings.raise_to(self.name, reactor.keeping.durable.position)

    async def _obey(self, decision: Retry | StandBy, error: Exception) -> None:
        if isinstance(decision, StandBy):
            if self.state != "standby":
                log.info("standing by: another projector owns this reaction", reaction=self.name)
            self.state, self._trouble = "standby", None
            with suppress(PyMongoError):
                self._position = await self._progress.look()
        else:
            told = told_of(error)
            self.state, self._trouble = "waiting", f"{decision.reason}: {told}"
            metrics.RETRIES.labels(self.name, decision.reason).inc()
            log.warning("reaction begun again", reaction=self.name, reason=decision.reason, error=str(error)[:300])
        await asyncio.sleep(decision.for_seconds if isinstance(decision, StandBy) else decision.after_seconds)

    def _cut_off(self) -> None:
        self.state, self._trouble = "waiting", "postgres: the events cannot be reached"

    def _told(self) -> dict[str, Any]:
        """What the lease says of its owner's work, for who has nothing but MongoDB."""
        standing = self.standing()
        return {"health": standing.health, "trouble": self.trouble, "in_flight": standing.in_flight}

    def _still_seconds(self) -> float:
        reactor = self._reactor
        assert reactor is not None
        if reactor.window.is_busy or reactor.window.looked_at != self._looked_at:
            self._looked_at, self._moved_at = reactor.window.looked_at, time.monotonic()
        return min(self._feed.waiting_seconds(self.position), time.monotonic() - self._moved_at)
