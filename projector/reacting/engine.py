"""All reactions and jobs of one process, from what the front door hands over."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from events.reaction import Background, Ports
from eventstore.beginnings import Beginnings
from projector.feed import Feed
from projector.reacting.jobs import Jobs
from projector.reacting.progress import REACTIONS
from projector.reacting.runner import ReactionRunner
from projector.supervised import ended, supervised
from projector.together import Together
from runtime.mongo import Database
from runtime.postgres import postgres_url
from runtime.settings import Settings
from views import all_views

MakeBackground = Callable[[Settings], AbstractAsyncContextManager[Background]]


class Reacting:
    """The reactions of one process: one runner for each, with a lease, a checkpoint and tasks of its own."""

    def __init__(self, database: Database, feed: Feed, settings: Settings, background: MakeBackground | None) -> None:
        self._database = database
        self._feed = feed
        self._settings = settings
        self._background = background or _nothing
        self.runners: list[ReactionRunner] = []
        self._is_starting = True

    async def run(self, scheduler: AsyncIOScheduler) -> None:
        """React, and do the jobs, until canceled."""
        self._is_starting = True
        async with self._background(self._settings) as background:
            reactions = tuple(background.reactions)
            refuse_ambiguous(reaction.name for reaction in reactions)
            beginnings = Beginnings(postgres_url(self._settings))
            together = Together(self._database, REACTIONS)
            self.runners = [
                ReactionRunner(self._database, self._feed, self._settings, one, background.ports, beginnings, together)
                for one in reactions
            ]
            jobs = Jobs(background.jobs, background.ports)
            jobs.schedule(scheduler)
            tasks = [supervised(runner.run) for runner in self.runners]
            self._is_starting = False
            try:
                await asyncio.Event().wait()
            finally:
                await ended(*tasks)
                await jobs.end(scheduler)

    @property
    def trouble(self) -> str:
        """What is wrong with any of them, by our own fault."""
        if self._is_starting:
            return "not started yet"
        return "; ".join(f"{runner.name}: {runner.trouble}" for runner in self.runners if runner.trouble)

    def wake(self) -> None:
        """An operator wants something of dead letters."""
        for runner in self.runners:
            runner.wake()


@asynccontextmanager
async def _nothing(_: Settings) -> AsyncIterator[Background]:
    yield Background((), (), Ports({}))


def refuse_ambiguous(names: Iterable[str]) -> None:
    """Raises `ValueError`: each is the name of a checkpoint, and beside those of views that of dead letters."""
    counted = Counter([*names, *all_views()])
    if twice := [name for name, count in counted.items() if count > 1]:
        raise ValueError(f"more than one reaction or view is named {', '.join(twice)}")
