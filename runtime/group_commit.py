"""Many callers, one slow write: whoever comes while a write runs shares the next one.

Nobody waits for company, but for a few turns of the event loop: a lone item is written at once. So the price of an
``fsync`` is paid once for as many as are waiting, and `GroupCommit.add` still comes back only when its own item is
written.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")

_TURNS = 10
"""Of the event loop, before a batch is taken: what woke one caller woke others, and those whose last item has just been
written have their next one ready. Without them they fall into two groups, and each waits for the other's writes."""


class GroupCommit(Generic[T]):
    """Hands items in batches, in their order, to a blocking ``write`` that runs in a thread, one batch at a time."""

    def __init__(self, write: Callable[[Sequence[T]], None]) -> None:
        self._write = write
        self._waiting: list[tuple[T, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def add(self, item: T) -> None:
        """Comes back once the item is written. Raises what ``write`` raised for its batch."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, written))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_what_waits())
        await written

    async def close(self) -> None:
        """Wait for what is being written."""
        if self._writing is not None:
            await self._writing

    async def _write_what_waits(self) -> None:
        while self._waiting:
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            batch, self._waiting = self._waiting, []
            try:
                await asyncio.to_thread(self._write, [item for item, _ in batch])
            except Exception as error:  # whatever it is, each caller is told
                _settle(batch, error)
            else:
                _settle(batch, None)
        self._writing = None


def _settle(batch: Sequence[tuple[T, asyncio.Future[None]]], error: Exception | None) -> None:
    for _, written in batch:
        if written.done():  # its caller was canceled
            continue
        if error is None:
            written.set_result(None)
        else:
            written.set_exception(error)
