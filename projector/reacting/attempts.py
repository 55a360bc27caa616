"""One event, from the first attempt to its end: done, settled, or given up.

| what a handler raises        | what happens                                                                        |
|------------------------------|-------------------------------------------------------------------------------------|
| `NotNow`                     | called again, for ever, with a short backoff; no attempt, and the turn is kept       |
| anything else                | called again after a backoff that doubles; others have the turn meanwhile            |
| anything, in the last attempt | `Reaction.when_exhausted` is asked, as often as it takes; without it: a dead letter  |
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from typing import TypeVar

import msgspec
import structlog

from events.reaction import Exhausted, NotNow, Ports, Reaction
from projector.reacting import metrics
from projector.reacting.subscription import Pending
from projector.reacting.troubles import Troubles
from projector.reacting.turns import Closed, Turns
from runtime import tracing

T = TypeVar("T")

log = structlog.get_logger()

_SHORTEST, _LONGEST = 0.05, 1.0
_LONGEST_BACKOFF_SECONDS = 3600.0
_LONGEST_SETTLING_SECONDS = 60.0


class Failure(msgspec.Struct, frozen=True):
    """An event was given up after so many attempts; this is what the last one raised."""

    error: Exception
    attempts: int


class Attempts:
    """How one reaction tries its events."""

    def __init__(
        self, reaction: Reaction, ports: Ports, turns: Turns, troubles: Troubles, *, most: int, backoff_seconds: float
    ) -> None:
        self._reaction = reaction
        self._ports = ports
        self._turns = turns
        self._troubles = troubles
        self._most = most
        self._backoff_seconds = backoff_seconds

    async def finish(self, pending: Pending) -> Failure | None:
        """Handle an event, whatever that takes. None: its effect is there, or the reaction settled it otherwise."""
        for attempt in count(1):
            error = await self.once(pending)
            if error is None:
                return None
            if attempt >= self._most:
                return await self._exhausted(pending, Failure(error, attempt))
            await asyncio.sleep(backoff(self._backoff_seconds, attempt, _LONGEST_BACKOFF_SECONDS))
            metrics.RETRIES.labels(self._reaction.name, "failed").inc()
        raise AssertionError

    async def once(self, pending: Pending) -> Exception | None:
        """One attempt; what it raised."""
        name, event_type = self._reaction.name, type(pending.envelope.event)
        try:
            if pending.unfit is not None:
                raise pending.unfit
            handler = self._reaction.answers[event_type].handler
            await self._now(pending, lambda: self._timed(pending, handler(pending.envelope, self._ports)))
        except Closed:
            raise
        except Exception as error:  # whatever a handler raises is this event's failure, and no other's
            metrics.FAILED.labels(name).inc()
            log.warning(
                "reaction failed",
                reaction=name,
                event_type=pending.envelope.event_type,
                aggregate_id=pending.envelope.aggregate_id,
                position=pending.position,
                trace_id=tracing.trace_id_of(pending.envelope.traceparent),
                error=f"{type(error).__name__}: {error}"[:300],
            )
            return error
        metrics.HANDLED.labels(name, "done").inc()
        return None

    async def _exhausted(self, pending: Pending, failure: Failure) -> Failure | None:
        settle = self._reaction.exhausted
        # Not of what no handler can be given: it could make nothing of it either.
        if settle is None or pending.unfit is not None:
            settled = False
        else:
            settled = await self._settled(pending, partial(self._traced, settle, pending, failure))
        metrics.HANDLED.labels(self._reaction.name, "settled" if settled else "dead_letter").inc()
        return None if settled else failure

    async def _traced(self, settle: Exhausted, pending: Pending, failure: Failure) -> bool:
        name = self._reaction.name
        with tracing.span_of_event(f"settle {name}", pending.envelope, readside__reaction=name):
            return await settle(pending.envelope, failure.error, self._ports)

    async def _settled(self, pending: Pending, settle: Callable[[], Awaitable[bool]]) -> bool:
        about = ("settle", pending.position)
        for failures in count(1):
            try:
                settled = await self._now(pending, settle)
            except Closed:
                raise
            except Exception as error:
                # Not given up: others wait to hear that this event has failed, and would for ever.
                log.exception("what a reaction does last has failed", reaction=self._reaction.name)
                told = f"{pending.envelope.event_type} at {pending.position} cannot be settled: {type(error).__name__}"
                self._troubles.note(about, told)
                await asyncio.sleep(backoff(self._backoff_seconds, failures, _LONGEST_SETTLING_SECONDS))
                metrics.RETRIES.labels(self._reaction.name, "settling").inc()
            else:
                self._troubles.over(about)
                return settled
        raise AssertionError

    async def _now(self, pending: Pending, call: Callable[[], Awaitable[T]]) -> T:
        """Within one turn, once our own stores let it: many more that ask would not bring them back."""
        async with self._turns.one():
            try:
                for waits in count(1):
                    try:
                        return await self._turns.call(call)
                    except NotNow as away:
                        self._troubles.note(pending.position, f"waiting for {away or 'a store'}")
                        await asyncio.sleep(random.uniform(_SHORTEST, min(_LONGEST, 0.1 * 2 ** min(waits, 5))))  # noqa: S311
                        metrics.RETRIES.labels(self._reaction.name, "not_now").inc()
            finally:
                self._troubles.over(pending.position)
        raise AssertionError

    async def _timed(self, pending: Pending, handling: Awaitable[None]) -> None:
        began, name = time.perf_counter(), self._reaction.name
        try:
            with tracing.span_of_event(f"react {name}", pending.envelope, readside__reaction=name):
                await handling
        finally:
            metrics.DURATION.labels(name).observe(time.perf_counter() - began)


def backoff(first_seconds: float, failures: int, longest_seconds: float) -> float:
    """How long to wait after so many failures: twice as long after each, and not all at the same moment."""
    wait = min(longest_seconds, first_seconds * 2.0 ** min(failures - 1, 30))
    return wait * random.uniform(0.75, 1.25)  # noqa: S311  (spreads retries, guards nothing)
