"""`readside projector` with one reaction that writes down what it does: ``python -m tests.crash.reacting [BUG]``.

The outside is a table of Postgres: a row when a handler begins, another when it has ended, by which process. ``BUG`` is
planted, so that the test can show that it sees what that breaks.
"""

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from events.catalog import StockAdjusted
from events.envelope import Envelope
from events.reaction import Background, Ports, Reaction
from projector.reacting import window
from projector.reacting.progress import MongoProgress
from runtime.postgres import postgres_url
from runtime.settings import Settings

NAME = "remember"
TABLE = "CREATE TABLE remembered (id bigserial, event_id text, what text, pid int)"
_NOTE = "INSERT INTO remembered (event_id, what, pid) VALUES ($1, $2, $3)"

reaction = Reaction(NAME)


@reaction.on(StockAdjusted)
async def remember(envelope: Envelope, ports: Ports) -> None:
    """Slow enough to be in flight when a kill comes, and at times refused."""
    pool = ports.of(asyncpg.Pool)
    await pool.execute(_NOTE, envelope.event_id, "begun", os.getpid())
    # One product holds up the mark, so that much is done above it.
    await asyncio.sleep(0.15 if envelope.aggregate_id == "p-0" else random.uniform(0, 0.02))
    if random.random() < 0.02:
        raise ConnectionError("the outside is moody")
    await pool.execute(_NOTE, envelope.event_id, "done", os.getpid())


@asynccontextmanager
async def background(settings: Settings) -> AsyncIterator[Background]:
    """That reaction alone."""
    async with asyncpg.create_pool(postgres_url(settings), min_size=0, max_size=8) as pool:
        yield Background((reaction,), (), Ports({asyncpg.Pool: pool}))


def the_mark_runs_ahead() -> None:
    """The checkpoint says that everything is done that was looked at."""
    window.Window.mark = property(lambda self: window.Mark(self.looked_at))  # type: ignore[assignment, method-assign]


def what_is_done_is_forgotten() -> None:
    """The next owner begins at the mark, and knows nothing of what is done above it."""
    prepare = MongoProgress.prepare

    async def forgetful(self: MongoProgress, *arguments: Any) -> window.Mark:
        return window.Mark((await prepare(self, *arguments)).position)

    MongoProgress.prepare = forgetful  # type: ignore[assignment, method-assign]


BUGS = {one.__name__: one for one in (the_mark_runs_ahead, what_is_done_is_forgotten)}


def main(bug: str = "") -> None:
    """Run the projector."""
    if bug:
        BUGS[bug]()
    import command.background
    from readside.servers import projector

    command.background.background = background
    projector(port=0)


if __name__ == "__main__":
    main(*sys.argv[1:])
