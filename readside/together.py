"""Several things at once, of which none goes on when one has failed."""

import asyncio
from collections.abc import Awaitable
from typing import Any


async def together(*work: Awaitable[Any]) -> list[Any]:
    """Like `asyncio.gather`; but when this returns or raises, nothing of it runs any more.

    Plain gather would leave an initdb at work, and start its database after everything else had been ended.
    """
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
