"""A projector's time as the owner of a projection or a reaction: from getting the lease to losing it.

Work goes on beside the renewals, and ends with them. Whoever must begin nothing as a former owner asks `sure` first: a
process that was paused for longer than its lease finds it run out, by its own clock, before it hears so from anybody.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any

from pymongo.errors import PyMongoError

from projector.failures import CutOff, GuardFailed
from projector.feed import Feed
from projector.lease import LEASE_SECONDS, RENEW_SECONDS, Lease
from projector.supervised import ended

_LOOK_SECONDS = 0.25


class Tenure:
    """One claim, held again and again. ``told`` is what each renewal says of the work, for those who look at leases."""

    def __init__(self, lease: Lease, feed: Feed, told: Callable[[], Mapping[str, Any]] = dict) -> None:
        self._lease = lease
        self._feed = feed
        self._told = told
        self._renewed = asyncio.Event()
        self._sure_until = 0.0
        self.is_lost = False
        """Whether somebody else has become the owner."""

    async def reachable(self, cut_off: Callable[[], None]) -> None:
        """Return once the events can be reached; ``cut_off`` is told while they cannot.

        Whoever cannot reach them must not keep the work from those who can.
        """
        await self._feed.started()
        while self._feed.is_cut_off:
            cut_off()
            await asyncio.sleep(_LOOK_SECONDS)

    async def hold(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Work as the owner. Raises `GuardFailed` where another one is, `CutOff`, or what the work raises."""
        asked_at = time.monotonic()
        if not await self._lease.acquire():
            raise GuardFailed
        self.is_lost = False
        self._is_sure_since(asked_at)
        working = asyncio.create_task(work(), name=f"work {self._lease.instance}")
        renewing = asyncio.create_task(self._renew(), name=f"renew {self._lease.instance}")
        try:
            await asyncio.wait({working, renewing}, return_when=asyncio.FIRST_COMPLETED)
            await (working if working.done() else renewing)
        except (asyncio.CancelledError, CutOff):
            await _ended_in_turn(working, renewing)
            with suppress(PyMongoError):
                await self._lease.release()
            raise
        finally:
            await _ended_in_turn(working, renewing)

    @property
    def is_sure(self) -> bool:
        """Whether the lease cannot have run out, whatever happened meanwhile."""
        return not self.is_lost and time.monotonic() < self._sure_until

    async def sure(self) -> None:
        """Return while that is so: at once, or after the next renewal."""
        while not self.is_sure:
            self._renewed.clear()
            await self._renewed.wait()

    def _is_sure_since(self, asked_at: float) -> None:
        # From the question on, not from the answer: the server's time began somewhere in between.
        self._sure_until = asked_at + LEASE_SECONDS
        self._renewed.set()

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            asked_at = time.monotonic()
            # While MongoDB is away nobody can take the work over, and no write gets past its guard anyway.
            with suppress(PyMongoError):
                if not await self._lease.renew(self._told()):
                    self.is_lost = True
                    raise GuardFailed
                self._is_sure_since(asked_at)
            if self._feed.is_cut_off:
                raise CutOff("the events cannot be reached")


async def _ended_in_turn(working: "asyncio.Task[None]", renewing: "asyncio.Task[None]") -> None:
    # The lease is kept until the work has ended: that may take a moment.
    await ended(working)
    await ended(renewing)
