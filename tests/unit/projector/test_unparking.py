"""Waiting for events while dead letters wait too."""

import asyncio
from typing import Any, cast

from projector.failures import FailurePolicy
from projector.feed import Feed
from projector.folding import folder_of
from projector.unparking import Unparking
from tests.unit.projector.test_folding import UTC_CALENDAR, a_view


class SlowToEnd:
    """A feed without events, that takes a moment to notice that nobody waits any more."""

    def __init__(self) -> None:
        self.ending = asyncio.Event()

    async def more(self, _: int) -> None:
        """Wait for what never comes."""
        try:
            await asyncio.Event().wait()
        finally:
            self.ending.set()
            await asyncio.sleep(0)


async def test_ending_is_not_missed_when_it_comes_while_a_look_for_requests_begins() -> None:
    feed = SlowToEnd()
    folder = folder_of(a_view(), FailurePolicy(1), UTC_CALENDAR)
    folder.parked.add(("order", "o-1"))
    unparking = Unparking(cast(Any, None), cast(Feed, feed), folder, UTC_CALENDAR)
    waiting = asyncio.create_task(unparking.more(1))  # it is time to look at once
    await feed.ending.wait()
    waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
