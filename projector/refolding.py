"""Folding a view's events again beside it, up to a position, and from there on.

What a view legitimately lacks is left out here too: events that wait as dead letters, and those that an operator
discarded. When a letter succeeds at last, its event is folded late, as the projector does: on the documents as they
are by then.
"""

import asyncio
from collections.abc import Callable, Sequence, Set

from eventstore import EventLog
from eventstore.log import StoredEvent
from projector.failures import FailurePolicy
from projector.feed import decoded
from projector.folding import WHOLE, Part, folder_of
from projector.scratch import Scratch
from runtime.errors import ReadsideError
from views.kit import Calendar, View

Told = Callable[[int, int], None]
"""Is told how many positions have been gone past, and of how many."""

_FAILURES_TOLD = 5


class MovedBackError(ReadsideError):
    """The view stands before where it stood: it was restored, or begun again, meanwhile. Verify it again."""


class Refold:
    """One view's documents as its events make them, in a scratch. ``part``: only of these keys."""

    def __init__(
        self, event_log: EventLog, view: View, calendar: Calendar, scratch: Scratch, *, part: Part = WHOLE
    ) -> None:
        self.scratch = scratch
        self.position = 0
        self.failures: list[str] = []
        """Events that the view has taken, and that today's folds do not: the first few, in words."""
        self._log = event_log
        self._types = sorted(event_type.__name__ for event_type in view.event_types)
        # What fails once counts as failed: nothing here is repeated for luck.
        self._folder = folder_of(view, FailurePolicy(1), calendar, part)
        self._skipped: Set[int] = frozenset()

    async def advance(
        self,
        until: int,
        skipped: Set[int],
        *,
        batch: int = 2_000,
        pause_seconds: float = 0.0,
        told: Told | None = None,
    ) -> None:
        """Fold everything up to ``until`` but what is skipped. Raises `MovedBackError`, and what the driver raises.

        After an error it can be called again.
        """
        if until < self.position:
            raise MovedBackError(f"the view stands at {until:,}, and stood at {self.position:,}: verify it again.")
        await self._fold_late(skipped)
        while stored := await self._log.of_types(self._types, self.position, until, batch):
            await self._fold(stored)
            self.position = stored[-1].position
            if told is not None:
                told(self.position, until)
            await asyncio.sleep(pause_seconds)
        self.position = until

    async def add(self, stored: Sequence[StoredEvent], skipped: Set[int] = frozenset()) -> None:
        """Fold these but what is skipped, wherever they stand; the order of an aggregate's is the caller's to keep."""
        self._folder.discarded = set(skipped)
        await self._fold(stored)

    async def _fold_late(self, skipped: Set[int]) -> None:
        self._folder.discarded = set(skipped)
        for position in sorted(self._skipped - skipped):
            if position <= self.position:
                await self._fold(await self._log.get(position - 1, 1))
            self._skipped = self._skipped - {position}
        self._skipped = skipped

    async def _fold(self, stored: Sequence[StoredEvent]) -> None:
        if not stored:
            return
        folded = await self._folder.fold([decoded(row) for row in stored], self.scratch)
        self.scratch.write(folded.writes)
        self._folder.committed()
        for letter in folded.dead_letters[: _FAILURES_TOLD - len(self.failures)]:
            envelope = letter.envelope
            self.failures.append(f"{envelope.event_type} at {envelope.position:,}: {letter.error}"[:300])
