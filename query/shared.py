"""Answers that many ask for: computed once, and kept while the view that they were read from stands still.

Whoever asks gives a key that holds the checkpoint which was known before. What is computed for that key begins after
the checkpoint was known, so it includes at least that; and for as long as no later checkpoint is known, a later reading
could claim no more. With the next checkpoint the key is another one.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from time import monotonic
from typing import Any

from query.remembered import KEPT_SECONDS
from runtime.tasks import ended

Compute = Callable[[], Awaitable[Any]]

MOST_BYTES = 8 * 2**20
LARGEST_BYTES = 256 * 2**10
"""Of one answer that is kept."""
_BESIDE_THE_BODY = 1_000


class Shared:
    """The answers of one process."""

    def __init__(self) -> None:
        self._computing: dict[Hashable, asyncio.Task[Any]] = {}
        self._kept: OrderedDict[Hashable, tuple[bytes, float]] = OrderedDict()
        self._bytes = 0

    async def once(self, key: Hashable, compute: Compute) -> Any:
        """What ``compute`` gives, computed once for all who ask with the same key at the same time."""
        task = self._computing.get(key)
        if task is None:
            task = self._computing[key] = asyncio.ensure_future(compute())
            task.add_done_callback(lambda done: self._computed(key, done))
        # One who goes away must not take the others' answer along.
        return await asyncio.shield(task)

    async def answer(self, key: Hashable, compute: Callable[[], Awaitable[bytes]]) -> bytes:
        """The same, kept for those who ask with that key later."""
        kept = self._kept.get(key)
        if kept is not None and monotonic() < kept[1]:
            self._kept.move_to_end(key)
            return kept[0]
        until = monotonic() + KEPT_SECONDS
        answer: bytes = await self.once(key, compute)
        self._keep(key, answer, until)
        return answer

    async def end(self) -> None:
        """Stop what is being computed."""
        await ended(*self._computing.values())

    def _keep(self, key: Hashable, answer: bytes, until: float) -> None:
        before = self._kept.pop(key, None)
        if before is not None:
            self._bytes -= len(before[0]) + _BESIDE_THE_BODY
        if len(answer) > LARGEST_BYTES:
            return
        self._kept[key] = (answer, until)
        self._bytes += len(answer) + _BESIDE_THE_BODY
        while self._bytes > MOST_BYTES:
            oldest, _ = self._kept.popitem(last=False)[1]
            self._bytes -= len(oldest) + _BESIDE_THE_BODY

    def _computed(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        del self._computing[key]
        if not task.cancelled():
            task.exception()  # seen, also where everybody who asked has gone
