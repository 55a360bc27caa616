"""Live reads: one watcher per process, for all who want to see a view change.

Guarantees:

- A listener is woken by every change, and by everything after which changes may have been missed: a stream that was
  opened anew, a database that was away, another instance of the view that is served now. It then reads what is there.
- It is told *that* something changed, never what: ten changes while it was busy are one, and it gets the newest state.
- Nobody listens, nothing is asked. What each change stream sends is ids, not documents.

Orders are watched by a change stream over the view's own documents. Statistics change with their checkpoint, in the
same transaction, and that is what the follower follows already.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

import structlog
from pymongo.errors import PyMongoError

from query.change_stream import batches_of_changes
from query.follower import Follower
from query.remembered import Remembered
from query.shared import Shared
from runtime.listeners import Listeners
from runtime.mongo import ReadDatabase
from runtime.tasks import ended

log = structlog.get_logger()

ORDERS, SALES = "order_detail", "sales_statistics"
"""What listeners listen to: views. To orders they listen by id."""

AFTER_ERROR_SECONDS = 1.0
"""How long a listener waits before it looks again, where it could not look."""
_LONGEST_BACKOFF_SECONDS = 2.0


class LiveViews:
    """Wakes the listeners of `ORDERS` and `SALES`."""

    def __init__(
        self, database: ReadDatabase, follower: Follower, listeners: Listeners, remembered: Remembered
    ) -> None:
        self._database = database
        self._follower = follower
        self._remembered = remembered
        self.listeners = listeners
        self.shared = Shared()

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch as long as this is entered."""
        tasks = [asyncio.create_task(self._watch_orders()), asyncio.create_task(self._watch_sales())]
        try:
            yield
        finally:
            await ended(*tasks)
            await self.shared.end()

    async def _watch_orders(self) -> None:
        failures = 0
        while True:
            await self.listeners.occupied(ORDERS)
            instance = self._instance(ORDERS)
            if instance is None:
                await self._follower.changed()
                continue
            try:
                async for _ in self._follow(instance):
                    failures = 0
            except (PyMongoError, TimeoutError) as error:
                if failures == 0:
                    log.warning("lost sight of the orders", reason=type(error).__name__)
                failures += 1
                longest = min(_LONGEST_BACKOFF_SECONDS, 0.05 * 2**failures)
                await asyncio.sleep(random.uniform(longest / 2, longest))  # noqa: S311 - jitter guards nothing

    async def _follow(self, instance: str) -> AsyncIterator[None]:
        is_open = False
        async with contextlib.aclosing(batches_of_changes(self._database, [instance], ids_only=True)) as stream:
            async for changes in stream:
                if not is_open:
                    self.listeners.wake_all(ORDERS)  # for whatever changed while nobody looked
                    is_open = True
                for change in changes:
                    order_id = change.get("documentKey", {}).get("_id", "")
                    # Whoever is told of it here may ask for it by the plain call, before the follower has heard.
                    self._remembered.forget(instance, [order_id])
                    self.listeners.wake(ORDERS, order_id)
                if not self.listeners.is_occupied(ORDERS) or self._instance(ORDERS) != instance:
                    return
                yield

    async def _watch_sales(self) -> None:
        seen = None
        while True:
            found = self._follower.checkpoint(SALES)
            if found != seen:
                self.listeners.wake_all(SALES)
            seen = found
            await self._follower.changed()

    def _instance(self, view: str) -> str | None:
        checkpoint = self._follower.checkpoint(view)
        return None if checkpoint is None else checkpoint.instance
