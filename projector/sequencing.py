"""Runs the sequencer at every ring of the doorbell and every tick of the schedule."""

import asyncio
import random
import time
from datetime import datetime

import structlog

from eventstore import Sequencer
from projector import metrics
from projector.feed import PostgresFeed
from runtime.clock import now
from runtime.postgres import DRIVER_ERRORS

log = structlog.get_logger()


class Sequencing:
    """Forwards the outbox into the log and tells the feeds how far it reaches now."""

    def __init__(self, sequencer: Sequencer, *feeds: PostgresFeed) -> None:
        self._sequencer = sequencer
        self._feeds = feeds
        self._wake = asyncio.Event()
        self._last_success = 0.0
        self.last_run_at: datetime | None = None
        """When the sequencer last ran to its end; it does so every second, also when there is nothing."""
        self._failures = 0

    def wake(self) -> None:
        """There may be something in the outbox."""
        self._wake.set()

    @property
    def seconds_since_success(self) -> float:
        """How long ago that was."""
        return time.monotonic() - self._last_success

    async def run(self) -> None:
        """Sequence until canceled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._until_empty()
            except DRIVER_ERRORS as error:
                await self._wait_for_postgres(error)

    async def _until_empty(self) -> None:
        while True:
            sequenced = await self._sequencer.sequence()
            self._last_success, self._failures, self.last_run_at = time.monotonic(), 0, now()
            for feed in self._feeds:
                await feed.advance(sequenced.head)
            metrics.HEAD.set(sequenced.head)
            if sequenced.moved == 0:
                return
            metrics.SEQUENCED.inc(sequenced.moved)
            if not self._sequencer.is_full(sequenced):
                return

    async def _wait_for_postgres(self, error: Exception) -> None:
        await self._sequencer.close()
        self._failures += 1
        if self._failures == 1:
            log.warning("Postgres does not answer; waiting for it", error=f"{type(error).__name__}: {error}"[:300])
        await asyncio.sleep(random.uniform(0.05, min(1.0, 0.1 * 2 ** min(self._failures, 5))))  # noqa: S311  (jitter)
        self._wake.set()
