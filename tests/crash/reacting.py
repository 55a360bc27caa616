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

import asyncpg

from events.catalog import StockAdjusted
from events.envelope import Envelope
from events.reaction import Background, Ports, Reaction
from projector.reacting import reactor, window
from projector.reacting.progress import MongoProgress
from projector.reacting.turns import Turns
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
    await asyncio.sleep(random.uniform(0, 0.02))
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
    """The checkpoint keeps the mark, and not what is done above it; a slow handler makes that a lot."""
    write = MongoProgress.write

    async def forgetful(self: MongoProgress, mark: window.Mark, *rest: object) -> None:
        await write(self, window.Mark(mark.position), *rest)  # type: ignore[arg-type]

    MongoProgress.write = forgetful  # type: ignore[assignment, method-assign]


def a_pause_goes_unnoticed() -> None:
    """Handlers are begun by whoever once had the lease."""

    async def sure(_: object) -> None:
        return

    call = Turns.call

    async def hasty(self: Turns, handle: object) -> object:
        self._owned = lambda: sure(None)
        return await call(self, handle)  # type: ignore[arg-type]

    Turns.call = hasty  # type: ignore[assignment, method-assign]
    # It would be told by a renewal within a second; the window in between is what the guard closes.
    reactor.GRACE_SECONDS = 0


BUGS = {one.__name__: one for one in (the_mark_runs_ahead, what_is_done_is_forgotten, a_pause_goes_unnoticed)}


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
