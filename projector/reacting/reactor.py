"""One owner's work at one reaction: takes events in, has them handled sequence by sequence, keeps the checkpoint.

Nothing here waits for a handler but its own sequence, and the window where that is full.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Coroutine, Sequence
from typing import Any

import structlog
from pymongo.errors import PyMongoError

from events.envelope import Envelope
from events.reaction import Ports, Reaction
from projector import letters
from projector.failures import DeadLetter, FailurePolicy, GuardFailed
from projector.feed import Feed
from projector.reacting.attempts import Attempts
from projector.reacting.keeping import Keeping
from projector.reacting.progress import Progress
from projector.reacting.subscription import Pending, Subscription
from projector.reacting.troubles import Troubles
from projector.reacting.turns import Closed, Turns
from projector.reacting.window import Mark, Window
from projector.supervised import ended
from projector.tenure import Tenure
from runtime.settings import Settings

log = structlog.get_logger()

AT_ONCE = 32
"""Handlers of one reaction at the same time."""
MOST_TAKEN_IN = 2_000
"""Events of one reaction in memory, from the oldest unfinished one on."""
GRACE_SECONDS = 3.0
"""What handlers in flight get at a clean stop."""


class Reactor:
    """Works from a mark on until it is canceled, or is no owner any more. Not to be used twice."""

    def __init__(
        self,
        reaction: Reaction,
        ports: Ports,
        feed: Feed,
        progress: Progress,
        tenure: Tenure,
        settings: Settings,
        mark: Mark,
        *,
        parked: Collection[str] = (),
        discarded: Collection[int] = (),
    ) -> None:
        self.name = reaction.name
        self.subscription = Subscription(reaction)
        self.window = Window(mark, MOST_TAKEN_IN)
        self.parked = set(parked)
        """Sequences that wait as dead letters: nothing of them is handled but by `projector.reacting.repairs`."""
        self.just_parked: set[str] = set()
        """Those of them that got another letter since somebody looked."""
        self.troubles = Troubles(reaction.name)
        self.keeping = Keeping(progress, self.window, self.parked, self.troubles)
        self.turns = Turns(AT_ONCE, tenure.sure)
        self.attempts = Attempts(
            reaction,
            ports,
            self.turns,
            self.troubles,
            most=settings.reaction_attempts,
            backoff_seconds=settings.reaction_backoff_seconds,
        )
        self._feed = feed
        self._tenure = tenure
        self._discarded = set(discarded)
        self._queues: dict[str, deque[Pending]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._crashed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, *more: Coroutine[Any, Any, None]) -> None:
        """React, with more that goes on beside it, until canceled. Raises `GuardFailed`, or what is a bug."""
        working = [asyncio.create_task(one) for one in (self._take_in(), self.keeping.run(), *more)]
        try:
            done, _ = await asyncio.wait({*working, self._crashed}, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                await one
        except asyncio.CancelledError:
            # The end of the process, or of its way to the events. The lease, if it is not lost, is kept meanwhile.
            await ended(*working)
            await self._let_end()
            raise
        finally:
            await ended(*working, *self._tasks)
            await self._write_what_was_done()

    def begin(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        """Have work done beside the rest; it gets a moment to end, and its crash is everybody's."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)
        return task

    async def _take_in(self) -> None:
        while True:
            await self._feed.more(self.window.looked_at)
            for envelope in await self._events():
                if not self.subscription.takes(envelope):
                    self.window.pass_over(envelope.position)
                    continue
                # Letters too: while MongoDB is away they cannot be written, and there may be no end of them.
                while self.window.is_full or len(self.keeping.unwritten) >= MOST_TAKEN_IN:
                    await self.keeping.moved()
                self._take(envelope)

    async def _events(self) -> Sequence[Envelope]:
        policy = FailurePolicy(1)
        while True:
            try:
                events = await self._feed.read(self.window.looked_at)
            except Exception as error:
                await self.troubles.wait_out("read", policy, error)
            else:
                self.troubles.over("read")
                return events

    def _take(self, envelope: Envelope) -> None:
        position = envelope.position
        if position in self._discarded:
            self.window.pass_over(position)
            return
        if not self.window.take(position):
            return
        pending = self.subscription.pending(envelope)
        if pending.sequence in self.parked:
            self._park(pending.sequence, letters.waiting(envelope, sequence=pending.sequence))
        elif pending.sequence in self._queues:
            self._queues[pending.sequence].append(pending)
        else:
            self._queues[pending.sequence] = deque([pending])
            self.begin(self._work_off(pending.sequence), f"{self.name} {pending.sequence}")

    async def _work_off(self, sequence: str) -> None:
        queue = self._queues[sequence]
        while queue:
            pending = queue[0]
            if sequence in self.parked:
                self._park(sequence, letters.waiting(pending.envelope, sequence=sequence))
            elif (failure := await self.attempts.finish(pending)) is not None:
                letter = letters.failed(pending.envelope, failure.error, failure.attempts, sequence=sequence)
                log.error("event parked as a dead letter", reaction=self.name, sequence=sequence, error=letter.error)
                self._park(sequence, letter)
            else:
                self.window.finish(pending.position)
            queue.popleft()
            self.keeping.changed()
        del self._queues[sequence]

    def _park(self, sequence: str, letter: DeadLetter) -> None:
        # Finished, because it goes into the same write as the letter.
        self.parked.add(sequence)
        self.just_parked.add(sequence)
        self.keeping.unwritten.append(letter)
        self.window.finish(letter.envelope.position)
        self.keeping.changed()

    async def _let_end(self) -> None:
        self.turns.close()
        await ended(*self._tasks - self.turns.in_flight)
        if self._tasks and not self._tenure.is_lost:
            await asyncio.wait(self._tasks, timeout=GRACE_SECONDS)

    async def _write_what_was_done(self) -> None:
        if self._tenure.is_lost:
            return
        try:
            await self.keeping.flush()
        except (GuardFailed, PyMongoError) as error:
            log.warning("what was done last may be done again", reaction=self.name, error=type(error).__name__)

    def _task_ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, Closed) and not self._crashed.done():
            self._crashed.set_exception(error)
            self._crashed.exception()  # seen: at the very end nobody waits for it any more
