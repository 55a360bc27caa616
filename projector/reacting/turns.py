"""Turns: how many handlers of a reaction run at once, and when none is begun any more."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

T = TypeVar("T")

_LONGEST_CALL_SECONDS = 300.0
"""Far more than any adapter waits for the outside. A handler that never ends would hold up its reaction for ever."""


class Closed(Exception):
    """This owner's time is over: nothing is begun any more."""


class Turns:
    """``owned`` returns once it is sure that this process is the owner: what it had begun before a pause, it may not
    begin after it."""

    def __init__(self, at_once: int, owned: Callable[[], Awaitable[None]]) -> None:
        self._slots = asyncio.Semaphore(at_once)
        self._owned = owned
        self._closed = False
        self.in_flight: set[asyncio.Task[object]] = set()
        """The tasks that are inside of a handler."""

    def close(self) -> None:
        """Begin nothing any more."""
        self._closed = True

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """A turn, which somebody else has to wait for meanwhile."""
        async with self._slots:
            yield

    async def call(self, handle: Callable[[], Awaitable[T]]) -> T:
        """Within a turn: call a handler. Raises `Closed`, or what the handler raises."""
        await self._owned()
        if self._closed:
            raise Closed
        task = asyncio.current_task()
        assert task is not None
        self.in_flight.add(task)
        try:
            async with asyncio.timeout(_LONGEST_CALL_SECONDS):
                return await handle()
        except asyncio.CancelledError as canceled:
            if task.cancelling():
                raise
            # Somebody inside of the handler was canceled, and let it out: the sequence must not die of that.
            raise RuntimeError("the handler was canceled from within") from canceled
        finally:
            self.in_flight.discard(task)
