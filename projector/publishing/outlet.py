"""An outlet: one broker that events go to."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from eventstore.log import StoredEvent
from runtime.errors import ReadsideError

Send = Callable[[Sequence[StoredEvent]], Awaitable[None]]
"""Returns when the broker has confirmed every one of these. Raises `BrokerAway`."""


class BrokerAway(ReadsideError):
    """The broker cannot be reached, or took less than all: the batch is begun again."""


class Outlet(Protocol):
    """Where events go. Connecting and sending may wait for as long as the broker is away."""

    name: str

    from_beginning: bool
    """Whether it is told, when it is first set, what was in the log before."""

    @property
    def trouble(self) -> str | None:
        """Why nothing gets through now, if the client says so; never a secret."""

    def connected(self) -> AbstractAsyncContextManager[Send]:
        """A connection for one owner. Raises `BrokerAway`."""
