"""The fleet: one runner for every instance that the registry names, and the steps of a rebuild.

```
 request ──▶ building ──(bulk, then follow the log)──▶ current ──▶ compare ──▶ switch ──▶ previous ──(grace)──▶ dropped
```

Every step is one write to the registry, and every projector of the deployment reads it: whichever dies, another goes
on from the step that was reached. Only the owner of an instance (its lease) compares and switches.
"""

import asyncio
import re
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import structlog
from pymongo.errors import PyMongoError

from eventstore import EventLog
from projector import bulk
from projector.comparison import compared
from projector.dead_letters import DEAD_LETTERS, OPEN
from projector.feed import Feed
from projector.lease import LEASES, Lease
from projector.registry import Entry, Registry, instance_of, version_of
from projector.runner import Build, Runner
from projector.store import CHECKPOINTS, PARTS, ViewStore
from projector.supervised import ended, supervised
from projector.together import Together
from runtime.mongo import Database
from runtime.settings import Settings
from views import all_views
from views.kit import Calendar, View

log = structlog.get_logger()

_LOOK_SECONDS = 0.5
_DROP_AFTER_SECONDS = 4 * _LOOK_SECONDS
"""From the moment that the registry names an instance no more: every projector has looked by then, and let it go."""


class Fleet:
    """The runners of one process."""

    def __init__(self, database: Database, feed: Feed, event_log: EventLog, settings: Settings) -> None:
        self._database = database
        self._feed = feed
        self._event_log = event_log
        self._settings = settings
        self._calendar = Calendar(settings.zone)
        self._registry = Registry(database)
        self._views = all_views()
        self._threads: ThreadPoolExecutor | None = None
        self._together = Together(database, CHECKPOINTS)
        self._running: dict[str, tuple[Runner, asyncio.Task[None]]] = {}
        self._switching: dict[str, asyncio.Task[None]] = {}
        self._to_drop: dict[str, float] = {}
        self.trouble: str | None = "the registry has not been read yet"

    @property
    def runners(self) -> list[Runner]:
        """One for each instance that is kept current, by name."""
        return sorted((runner for runner, _ in self._running.values()), key=lambda runner: runner.instance)

    async def run(self) -> None:
        """Keep the runners as the registry says, until canceled."""
        # Made here, like all that a run holds: one that crashed is begun again with nothing left of it.
        # For each view and one that is built beside it: a running transaction and a load.
        self._threads = ThreadPoolExecutor(4 * len(self._views), thread_name_prefix="views")
        try:
            while True:
                try:
                    await self._look()
                    self.trouble = None
                except PyMongoError as error:
                    self.trouble = f"MongoDB: {type(error).__name__}"
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            await ended(*self._switching.values(), *(task for _, task in self._running.values()))
            self._switching.clear()
            self._running.clear()
            self._threads.shutdown(wait=True)

    async def _look(self) -> None:
        wanted: dict[str, tuple[View, Entry]] = {}
        entries = await self._registry.entries()
        for view in self._views.values():
            newest = instance_of(view, self._settings.zone)
            entry = entries.get(view.name)
            if entry is None or not entry.leads_to(newest):
                entry = await self._registry.ensure(view.name, newest)
            wanted |= {instance: (view, entry) for instance in entry.instances if self._can_run(view, instance)}
            await self._let_go(entry)
        for instance in self._running.keys() - wanted.keys():
            await self._stop(instance)
        await self._drop_what_is_due({instance for entry in entries.values() for instance in entry.instances})
        for instance, (view, entry) in wanted.items():
            if instance not in self._running:
                self._start(view, instance, building=instance == entry.building)
            self._running[instance][0].is_served = instance == entry.active
            if instance == entry.building:
                self._switch_when_current(instance, entry)

    def _can_run(self, view: View, instance: str) -> bool:
        # An older version's instance is served until the new one is ready, but its folds are no longer in the code.
        return version_of(instance) == instance_of(view, self._settings.zone)

    def _start(self, view: View, instance: str, *, building: bool) -> None:
        assert self._threads is not None
        build: Build | None = None
        if building:

            async def build(epoch: int, target: int) -> None:
                # What several have begun, one alone would fold once more on top of it.
                if target >= bulk.WORTH_IT or await bulk.is_begun(self._database, instance):
                    await bulk.build(self._database, self._event_log, self._settings, view, instance, epoch, target)

        runner = Runner(
            ViewStore(
                self._database,
                view,
                instance,
                self._threads,
                time_zone=self._settings.time_zone,
                together=self._together,
            ),
            Lease(self._database, instance),
            self._feed,
            self._calendar,
            park_after_attempts=self._settings.park_after_attempts,
            retry_dead_letters_seconds=self._settings.retry_dead_letters_seconds,
            build=build,
        )
        self._running[instance] = runner, supervised(runner.run)

    async def _stop(self, instance: str) -> None:
        _, task = self._running.pop(instance)
        await ended(task)

    def _switch_when_current(self, instance: str, entry: Entry) -> None:
        task = self._switching.get(instance)
        if task is None or task.done():
            self._switching[instance] = asyncio.create_task(self._switch(instance, entry), name=f"switch {instance}")

    async def _switch(self, instance: str, entry: Entry) -> None:
        runner, _ = self._running[instance]
        await runner.current.wait()
        same_version = version_of(entry.active) == version_of(instance)
        comparison: dict[str, Any] | None = None
        try:
            if same_version:
                comparison = await compared(self._database, entry.active, instance)
            await self._registry.switch(entry, comparison)
        except PyMongoError as error:
            log.warning("switch begun again", instance=instance, error=str(error)[:300])
            return
        log.info("serving the rebuilt view", projection=entry.view, instance=instance, comparison=comparison)

    async def _let_go(self, entry: Entry) -> None:
        until = entry.previous_until
        if entry.previous is None or until is None or until > datetime.now(UTC):
            return
        await self._registry.forget_previous(entry)
        # Not at once: a runner, here or a standby elsewhere, would find its checkpoint gone and make it anew.
        self._to_drop[entry.previous] = monotonic() + _DROP_AFTER_SECONDS

    async def _drop_what_is_due(self, named: Collection[str]) -> None:
        for instance in [one for one, due in self._to_drop.items() if due <= monotonic()]:
            if instance not in named:  # it may have been wanted back meanwhile
                await drop(self._database, instance)
            del self._to_drop[instance]


async def drop(database: Database, instance: str) -> None:
    """Remove an instance that nobody serves: documents, checkpoint, lease, dead letters."""
    await database[CHECKPOINTS].delete_one({"_id": instance})
    await database[LEASES].delete_one({"_id": instance})
    # Those that were discarded stay: a rebuild skips their events too.
    await database[DEAD_LETTERS].delete_many({"instance": instance, "state": {"$in": list(OPEN)}})
    await database[PARTS].delete_many({"_id": {"$regex": f"^{re.escape(instance)}#"}})
    await database[instance].drop()
