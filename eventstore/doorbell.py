"""The doorbell: "something was committed", so that the projector need not poll.

One connection of its own rings once for a whole burst of commits. Never ``NOTIFY`` inside the business transaction:
it takes a lock that makes commits queue (8,400 → 4,100 transactions a second with 16 connections). A ring that is
lost costs nothing but time: the scheduled tick looks every second.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import structlog

from runtime import postgres
from runtime.postgres import DRIVER_ERRORS, connect

log = structlog.get_logger()

CHANNEL = "readside_outbox"
_ASK_EVERY_SECONDS = 10.0


class Doorbell:
    """Rings the projector from a background task; `ring` itself never waits and never fails."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pressed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def ring(self) -> None:
        """Ring soon; rings that come while one is under way are one ring."""
        self._pressed.set()

    async def __aenter__(self) -> "Doorbell":
        self._task = asyncio.create_task(self._run(), name="doorbell")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        connection: Any = None
        try:
            while True:
                await self._pressed.wait()
                self._pressed.clear()
                try:
                    if connection is None or connection.is_closed():
                        connection = await connect(
                            self._url, "doorbell", timeout_seconds=postgres.SHORT_TIMEOUT_SECONDS
                        )
                    await connection.execute(f"NOTIFY {CHANNEL}")
                except DRIVER_ERRORS:
                    _drop(connection)
                    connection = None
                    await asyncio.sleep(0.5)
        finally:
            _drop(connection)


@asynccontextmanager
async def listen(url: str, heard: Callable[[], None]) -> AsyncIterator[Callable[[], bool]]:
    """Call ``heard`` at every ring, reconnecting for ever; yields a function that says whether it is connected."""
    connection: Any = None

    async def keep_listening() -> None:
        nonlocal connection
        asked_at = 0.0
        while True:
            try:
                if connection is None or connection.is_closed():
                    connection = await connect(url, "listen", timeout_seconds=postgres.SHORT_TIMEOUT_SECONDS)
                    await connection.add_listener(CHANNEL, lambda *_: heard())
                    heard()  # whatever was committed while nobody listened
                    asked_at = time.monotonic()
                elif time.monotonic() - asked_at > _ASK_EVERY_SECONDS:
                    # Who only listens cannot tell a quiet shop from a network that has gone silent.
                    await connection.execute("SELECT 1")
                    asked_at = time.monotonic()
            except DRIVER_ERRORS:
                _drop(connection)
                connection = None
            await asyncio.sleep(0.25)

    task = asyncio.create_task(keep_listening(), name="listen")
    try:
        yield lambda: connection is not None and not connection.is_closed()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        _drop(connection)


def _drop(connection: Any) -> None:
    if connection is not None:
        connection.terminate()
