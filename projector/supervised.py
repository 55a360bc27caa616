"""Tasks that go on for ever: a crash inside one is logged whole, and the task begun again."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import structlog

log = structlog.get_logger()


def supervised(run: Callable[[], Coroutine[Any, Any, None]]) -> "asyncio.Task[None]":
    """Run it for ever. A daemon that looks alive with a dead task inside is the worst of both."""

    async def for_ever() -> None:
        while True:
            try:
                await run()
            except Exception:  # a bug, not an outage: those are handled inside
                log.exception("task crashed and is begun again", task=run.__qualname__)
                await asyncio.sleep(1)

    return asyncio.create_task(for_ever(), name=run.__qualname__)


async def ended(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel tasks and wait until they have ended, however they do."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def settled(writing: "asyncio.Task[Any]") -> None:
    """Wait until a write has ended, however it does: it cannot be called back, and two must not overlap."""
    with suppress(Exception):
        await asyncio.shield(writing)


async def unbroken(work: Coroutine[Any, Any, None]) -> None:
    """Do it to its end, also where the caller is canceled meanwhile, who then waits for that."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await settled(task)
        raise
