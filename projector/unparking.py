"""Retry and discard: how an aggregate that waits as dead letters moves on. The owner's runner works at it between
batches, at an operator's request.

What it guarantees
    An aggregate's letters are tried in the order of the log, on the documents as they are now; what succeeds leaves,
    the first that fails again keeps those behind it waiting. Documents, letters, marks, history and the checkpoint
    are written in one transaction, under the guard of every other write. It moves the checkpoint's ``unparked`` on,
    because the position stays: without that, a second projector with older documents in its cache would pass the
    guard, and write them over what was repaired.

On a crash
    The request still stands, and the next owner answers it; or the transaction was committed, and it is gone.
"""

import asyncio
import time
from collections.abc import Sequence

import structlog

from projector.failures import FailurePolicy, Narrowing, is_refusal
from projector.feed import Feed
from projector.folding import Folded, Folder, Sequence_, folder_of
from projector.settling import Letter, Plan, settlement_of
from projector.store import Checkpoint, ViewStore
from projector.supervised import ended
from runtime.errors import ReadsideError
from views.kit import Calendar

log = structlog.get_logger()

_LOOK_EVERY_SECONDS = 0.5
_AT_A_TIME_SECONDS = 0.25
"""Work no longer at letters while events wait: a retry of all must not make every view late."""
_EVENTS_AT_A_TIME = 1_000
_LOOK_FOR_DUE_SECONDS = 5


class EventsMissing(ReadsideError):
    """Events that wait as dead letters are not to be found in the log."""

    def __init__(self, aggregate: Sequence_, positions: set[int]) -> None:
        super().__init__(f"the log has no event of {aggregate[1]} at {', '.join(map(str, sorted(positions)))}")
        self.aggregate, self.positions = aggregate, positions


class Unparking:
    """The dead letters of one instance, as its owner handles them."""

    def __init__(
        self, store: ViewStore, feed: Feed, folder: Folder, calendar: Calendar, *, retry_after_seconds: int = 0
    ) -> None:
        self._retry_after_seconds = retry_after_seconds
        self._next_retry = 0.0
        self._store = store
        self._feed = feed
        self._folder = folder
        self._calendar = calendar
        self._narrowing: dict[Sequence_, Narrowing] = {}
        self._woken = asyncio.Event()
        self._next_look = 0.0

    def wake(self) -> None:
        """There may be a request: look now."""
        self._next_look = 0.0
        self._woken.set()

    @property
    def is_due(self) -> bool:
        """Whether to look for requests now; only an instance with parked aggregates ever has to."""
        return bool(self._folder.parked) and time.monotonic() >= self._next_look

    async def recall(self) -> None:
        """Let the folder know what is parked, marked and discarded."""
        folder, letters = self._folder, self._store.letters
        folder.parked = await letters.aggregates()
        folder.marks = await letters.marks()
        folder.discarded = await letters.discarded()

    async def more(self, position: int) -> None:
        """Return when there is an event after this position, or when it is time to look for requests."""
        if not self._folder.parked:
            await self._feed.more(position)
            return
        waiting = [asyncio.create_task(one) for one in (self._feed.more(position), _woken(self._woken))]
        try:
            patience = max(0.0, self._next_look - time.monotonic())
            await asyncio.wait(waiting, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Not each awaited with its CancelledError suppressed: that swallows this task's own, if it comes just
            # then, and the projector never ends.
            await ended(*waiting)

    async def work(self, checkpoint: Checkpoint) -> Checkpoint:
        """Answer requests for a while. All that was folded must have been written."""
        self._woken.clear()
        self._next_look = time.monotonic() + _LOOK_EVERY_SECONDS
        until = time.monotonic() + _AT_A_TIME_SECONDS
        requested = await self._store.letters.requested()
        due = set(await self._due()) - set(requested)
        for sequence in [*requested, *sorted(due)]:
            if time.monotonic() >= until:
                self._next_look = 0.0
                break
            checkpoint = await self._settle(sequence, checkpoint, by_itself=sequence in due)
        return checkpoint

    async def _due(self) -> Sequence[Sequence_]:
        if not self._retry_after_seconds or time.monotonic() < self._next_retry:
            return ()
        self._next_retry = time.monotonic() + min(_LOOK_FOR_DUE_SECONDS, self._retry_after_seconds)
        return await self._store.letters.due(self._retry_after_seconds)

    async def _settle(self, sequence: Sequence_, checkpoint: Checkpoint, *, by_itself: bool) -> Checkpoint:
        folder = self._folder
        letters = await self._store.letters.letters_of(sequence)
        if not letters:
            return checkpoint
        narrowing = self._narrowing.setdefault(sequence, Narrowing())
        plan = Plan(letters, by_itself=by_itself, most=narrowing.most or _EVENTS_AT_A_TIME)
        folder.discarded |= {letter["position"] for letter in plan.discarded}
        # The folder's memory is changed first: whatever fails now, it is recalled from MongoDB.
        touched = {key for letter in letters for key in letter.get("documents", ())}
        self._forget_marks(sequence, touched)
        self._mark(sequence, plan.untried)
        try:
            folded = await self._retried(sequence, plan.tried, checkpoint)
        except EventsMissing as missing:
            log.error("dead letters cannot be retried", projection=self._store.view.name, error=str(missing))
            plan.leave_all()
            self._mark(sequence, plan.untried)
            folded = await self._retried(sequence, plan.tried, checkpoint)
        settlement, left = settlement_of(self._store.letters.of_sequence(sequence), plan, folded.dead_letters)
        settlement.unmarked.extend(touched - folder.marks.keys())
        if not left:
            folder.parked.discard(sequence)
        failed_again = bool(folded.dead_letters)
        folded.dead_letters, folded.settlement = [], settlement
        try:
            checkpoint = await self._store.write(folded, checkpoint, len(folder.parked))
        except Exception as error:
            if is_refusal(error) and plan.tried:
                narrowing.failed(len(plan.tried), plan.tried[-1]["position"], error)
            raise
        if not plan.goes_on or failed_again:
            del self._narrowing[sequence]  # the next request is a new chance
        folder.forget()
        name = self._store.view.name
        settled = len(letters) - left
        log.info("dead letters settled", projection=name, aggregate_id=sequence[1], settled=settled, left=left)
        return checkpoint

    async def _retried(self, sequence: Sequence_, letters: Sequence[Letter], checkpoint: Checkpoint) -> Folded:
        """The letters' events folded on the documents as they are; what fails, and what is behind it, as letters."""
        nothing = Folded(0, [], checkpoint.position, None, None, [], [])
        if not letters:
            return nothing
        events = await self._feed.reread(sequence, {letter["position"] for letter in letters})
        missing = {letter["position"] for letter in letters} - {event.position for event in events}
        if missing:
            raise EventsMissing(sequence, missing)
        # A folder of its own, that parks at the first failure; the documents' marks are those of all.
        folder = folder_of(self._store.view, FailurePolicy(1), self._calendar)
        folder.marks = self._folder.marks
        folder.narrowing = self._narrowing[sequence]
        folded = await folder.fold(events, self._store)
        nothing.writes, nothing.dead_letters = folded.writes, folded.dead_letters
        return nothing

    def _forget_marks(self, sequence: Sequence_, documents: set[str]) -> None:
        marks = self._folder.marks
        for key in documents & marks.keys():
            marks[key].discard(sequence)
            if not marks[key]:
                del marks[key]

    def _mark(self, sequence: Sequence_, letters: Sequence[Letter]) -> None:
        for letter in letters:
            for key in letter.get("documents", ()):
                self._folder.marks.setdefault(key, set()).add(sequence)


async def _woken(event: asyncio.Event) -> None:
    await event.wait()
