"""Tasks of a process that are to end with it."""

import asyncio
from typing import Any

_AGAIN_AFTER_SECONDS = 0.1


async def ended(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel tasks and wait until they have ended, however they do.

    Once is not enough: where a cancellation meets an answer of the database, the driver may tell of a lost connection
    instead, and whoever tries again after that has been canceled in vain.
    """
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=_AGAIN_AFTER_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)
