"""A lookup never joins a read that is under way: it would miss what was written since that read began."""

import asyncio
from typing import Any, cast

from query.loader import Loader
from runtime.mongo import ReadDatabase


class SlowThings:
    """A collection that reads at once, and answers when it is told to."""

    def __init__(self) -> None:
        self.version = 1
        self.reading = asyncio.Event()
        self.answer = asyncio.Event()

    async def find_one(self, query: dict[str, str]) -> dict[str, Any]:
        found = {"_id": query["_id"], "version": self.version}
        self.reading.set()
        await self.answer.wait()
        return found


async def test_a_lookup_sees_what_was_written_before_it_was_asked_for() -> None:
    things = SlowThings()
    loader = Loader(cast(ReadDatabase, {"things": things}))
    early = asyncio.create_task(loader.find("things", "a"))
    await things.reading.wait()
    things.version = 2
    late = asyncio.create_task(loader.find("things", "a"))
    await asyncio.sleep(0)
    things.answer.set()
    assert await early == {"_id": "a", "version": 1}
    assert await late == {"_id": "a", "version": 2}
