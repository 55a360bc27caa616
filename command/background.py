"""What the write side has for the daemon to run: the reactions and jobs of every context, and what they work with.

`projector` knows nothing of `command`; the front door hands it what is made here. A context that needs something of
the outside brings ``ports``: an asynchronous context manager from settings to what it made, by type.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from command import contexts
from command.bootstrap import before_commit_handlers
from command.steps import Steps
from command.unit_of_work import Transactions
from events.reaction import Background, Job, Ports, Reaction
from eventstore import Doorbell
from runtime.postgres import SHORT_TIMEOUT_SECONDS, make_engine, postgres_url
from runtime.settings import Settings

_CONNECTIONS = 8


def reactions() -> tuple[Reaction, ...]:
    """Those of every context, in the order of `command.contexts`."""
    return tuple(one for module in contexts.brought("reactions") for one in module.reactions)


def jobs() -> tuple[Job, ...]:
    """Those of every context."""
    return tuple(one for module in contexts.brought("jobs") for one in module.jobs)


@asynccontextmanager
async def background(settings: Settings) -> AsyncIterator[Background]:
    """Everything, with its connections, for as long as the block runs."""
    url = postgres_url(settings)
    engine = make_engine(url, "reactions", pool_size=_CONNECTIONS, timeout_seconds=SHORT_TIMEOUT_SECONDS)
    made: dict[type[Any], Any] = {Settings: settings}
    async with AsyncExitStack() as stack:
        stack.push_async_callback(engine.dispose)
        doorbell = await stack.enter_async_context(Doorbell(url))
        made[Steps] = Steps(Transactions(engine, before_commit_handlers(), doorbell))
        for module in contexts.brought("ports"):
            made |= await stack.enter_async_context(module.ports(settings))
        yield Background(reactions(), jobs(), Ports(made))
