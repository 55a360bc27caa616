"""Keeps a reaction's checkpoint: soon after it can say more, together with the dead letters that it covers.

Written 50 ms after something was finished at the latest, and once a second where events were only passed over: a busy
reaction writes twenty times a second however many events it handles, and an idle one on a busy log once. All reactions
of a process write at the same moments, so that their checkpoints go together (`projector.together`): twenty
transactions a second however many reactions there are.
"""

import asyncio
from collections.abc import Sized

from pymongo.errors import PyMongoError

from projector.failures import DeadLetter, FailurePolicy
from projector.folding import Settlement
from projector.reacting.progress import Progress
from projector.reacting.troubles import Troubles
from projector.reacting.window import Window
from projector.supervised import unbroken

_WRITE_EVERY_SECONDS = 0.05
_WRITE_PASSED_OVER_SECONDS = 1.0


class Keeping:
    """One owner's hold on the checkpoint. ``parked``: the sequences that wait as dead letters."""

    def __init__(self, progress: Progress, window: Window, parked: Sized, troubles: Troubles) -> None:
        self.durable = window.mark
        """What the checkpoint says."""
        self.unwritten: list[DeadLetter] = []
        """Dead letters whose events the window takes for finished: they go into the next write."""
        self._progress = progress
        self._window = window
        self._parked = parked
        self._troubles = troubles
        self._writing = asyncio.Lock()
        self._finished = asyncio.Event()
        self._moved = asyncio.Event()

    async def run(self) -> None:
        """Write until canceled. Raises `GuardFailed`, or what is a bug."""
        policy = FailurePolicy(1)
        while True:
            await self._until_worth_it()
            await asyncio.sleep(_until_next_moment())
            while self.unwritten or self._window.mark != self.durable:
                try:
                    await self.flush()
                except PyMongoError as error:
                    await self._troubles.wait_out("write", policy, error)
                else:
                    policy.succeeded()
                    self._troubles.over("write")
                    break

    def changed(self) -> None:
        """Something was finished."""
        self._finished.set()
        self._moved.set()

    async def moved(self) -> None:
        """Return once something was finished, or written."""
        self._moved.clear()
        await self._moved.wait()

    async def flush(self) -> None:
        """Make everything durable that is finished now. Raises `GuardFailed`, or what the driver raises."""
        # Whoever is canceled meanwhile waits for it: a write cannot be called back, and two must not overlap.
        await unbroken(self._flush())

    async def settle(self, settlement: Settlement, parked: int) -> None:
        """This has become of dead letters. Raises as `flush`."""
        async with self._writing:
            await unbroken(self._progress.settle(settlement, parked))

    async def _until_worth_it(self) -> None:
        try:
            async with asyncio.timeout(_WRITE_PASSED_OVER_SECONDS):
                await self._finished.wait()
        except TimeoutError:
            return
        self._finished.clear()

    async def _flush(self) -> None:
        async with self._writing:
            mark, letters = self._window.mark, self.unwritten
            self.unwritten = []
            try:
                await self._progress.write(mark, letters, len(self._parked))
            except BaseException:
                self.unwritten = letters + self.unwritten
                raise
            self.durable = mark
            self._moved.set()


def _until_next_moment() -> float:
    """Seconds: never none, so that nobody writes twice at one moment."""
    every = _WRITE_EVERY_SECONDS
    return every - asyncio.get_running_loop().time() % every
