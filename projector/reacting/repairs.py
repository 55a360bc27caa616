"""Retry and discard of a reaction's dead letters, as its owner answers what operators ask for.

What it guarantees
    A sequence's letters are tried in the order of the log; what succeeds leaves at once, in a transaction of its own,
    for its effect is outside already; the first that fails again keeps those behind it waiting. An event of a parked
    sequence that arrives meanwhile becomes a letter behind them, and is tried in its turn.

On a crash
    The letter that was being tried is tried again. What was asked for still stands, with the letter that comes next.
"""

import asyncio
import time
from typing import Any

import structlog
from pymongo.errors import PyMongoError

from projector import letters
from projector.failures import DeadLetter, FailurePolicy, Retry
from projector.feed import Feed
from projector.parked import ParkedSequences
from projector.reacting.reactor import Reactor
from projector.reacting.subscription import Pending
from projector.settling import Letter, Plan, settlement_of
from runtime.postgres import DRIVER_ERRORS

log = structlog.get_logger()

_LOOK_EVERY_SECONDS = 0.5
_LOOK_FOR_DUE_SECONDS = 5


class Repairs:
    """The dead letters of one reaction, in the hands of its owner."""

    def __init__(
        self,
        reactor: Reactor,
        stored: ParkedSequences,
        feed: Feed,
        first_states: dict[str, str],
        *,
        retry_after_seconds: int,
    ) -> None:
        self._reactor = reactor
        self._stored = stored
        self._feed = feed
        self._retry_after_seconds = retry_after_seconds
        self._next_due = 0.0
        # Nothing failed that they wait behind: an owner died when that had just left.
        self._free = {sequence for sequence, state in first_states.items() if state == "waiting"}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """There may be a request: look now."""
        self._woken.set()

    async def run(self) -> None:
        """Look for requests until canceled."""
        policy = FailurePolicy(1)
        while True:
            try:
                if self._reactor.parked:
                    await self._look()
                policy.succeeded()
                wait = _LOOK_EVERY_SECONDS
            except PyMongoError as error:
                decision = policy.batch_failed(error)
                assert isinstance(decision, Retry)
                wait = decision.after_seconds
            self._woken.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def _look(self) -> None:
        asked = dict.fromkeys(await self._stored.requested(), False)
        by_itself = dict.fromkeys([*self._free, *await self._due()], True)
        for sequence, unasked in (by_itself | asked).items():
            if sequence in self._reactor.parked and sequence not in self._running:
                self._free.discard(sequence)
                work = self._repair(sequence, by_itself=unasked)
                self._running[sequence] = self._reactor.begin(work, f"repair {self._reactor.name} {sequence}")

    async def _due(self) -> list[str]:
        if not self._retry_after_seconds or time.monotonic() < self._next_due:
            return []
        self._next_due = time.monotonic() + min(_LOOK_FOR_DUE_SECONDS, self._retry_after_seconds)
        return await self._stored.due(self._retry_after_seconds)

    async def _repair(self, sequence: str, *, by_itself: bool) -> None:
        try:
            while await self._moves_on(sequence, by_itself=by_itself):
                by_itself = False
        except (PyMongoError, *DRIVER_ERRORS) as error:
            # Nothing is known of what was written last. The next look reads it all again.
            log.warning("dead letters are looked at again", reaction=self._reactor.name, error=type(error).__name__)
            if by_itself or not await self._is_asked_for(sequence):
                self._free.add(sequence)
        finally:
            del self._running[sequence]

    async def _moves_on(self, sequence: str, *, by_itself: bool) -> bool:
        """Try its letters. False: it is free of them, or one has failed again."""
        reactor = self._reactor
        reactor.just_parked.discard(sequence)
        await reactor.keeping.flush()
        waiting = await self._stored.letters_of(sequence)
        if not waiting:
            if sequence in reactor.just_parked:
                return True
            # No await since that was asked: what arrives from here on is handled.
            reactor.parked.discard(sequence)
            reactor.keeping.changed()
            return False
        return await self._try_in_order(sequence, waiting, by_itself=by_itself or waiting[0]["state"] == "waiting")

    async def _try_in_order(self, sequence: str, waiting: list[Letter], *, by_itself: bool) -> bool:
        while waiting:
            plan = Plan(waiting, by_itself=by_itself, most=1)
            failed = await self._tried(sequence, plan)
            settlement, left = settlement_of(self._stored.of_sequence(sequence), plan, failed)
            parked = len(self._reactor.parked) - (left == 0)
            await self._reactor.keeping.settle(settlement, parked)
            name = self._reactor.name
            log.info("dead letters settled", reaction=name, sequence=sequence, settled=len(waiting) - left, left=left)
            if failed or (left and not plan.goes_on):
                return False
            waiting, by_itself = list(plan.untried), False
        return True

    async def _tried(self, sequence: str, plan: Plan) -> list[DeadLetter]:
        """What has failed again of what the plan says to try."""
        for letter in plan.tried:
            pending = await self._event_of(letter)
            if pending is None:
                error = f"the log has no event of {letter['aggregate_id']} at {letter['position']}"
                log.error("a dead letter cannot be retried", reaction=self._reactor.name, error=error)
                plan.leave_all()
                return []
            again = await self._failed_again(sequence, pending, letter)
            if again is not None:
                return [again]
        return []

    async def _failed_again(self, sequence: str, pending: Pending, letter: Letter) -> DeadLetter | None:
        if letter["state"] == "waiting":
            # Not tried before: it has all its attempts, and whoever is to hear of its end hears of it.
            failure = await self._reactor.attempts.finish(pending)
            if failure is None:
                return None
            return letters.failed(pending.envelope, failure.error, failure.attempts, sequence=sequence)
        error = await self._reactor.attempts.once(pending)
        return None if error is None else letters.failed(pending.envelope, error, 1, sequence=sequence)

    async def _event_of(self, letter: dict[str, Any]) -> Pending | None:
        aggregate = letter["aggregate_type"], letter["aggregate_id"]
        found = await self._feed.reread(aggregate, {letter["position"]})
        return self._reactor.subscription.pending(found[0]) if found else None

    async def _is_asked_for(self, sequence: str) -> bool:
        try:
            return sequence in await self._stored.requested()
        except PyMongoError:
            return False
