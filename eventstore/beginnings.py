"""Where each reaction begins: after what was in the log, or on its way there, when the reaction was first known.

Known to `readside migrate`, that is: it runs before anything of a new release does. So on a new system every reaction
begins with the first event, whenever the first projector starts; and a reaction that comes with an upgrade answers all
that happens from then on, and nothing of the past. Nobody wants last year's mails again.

The owner of a reaction raises its beginning now and then to where it has come. The checkpoint proper is in MongoDB,
beside views that can be thrown away and built afresh: that must not do a year of effects again.

What waits in the outbox counts as past. Whatever commits after this was looked at draws a larger outbox id than what
could be seen then, and is numbered behind it: no event of the new release stands before its reactions' beginning.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from eventstore.head import HEAD
from runtime import postgres
from runtime.postgres import connect

# head and outbox in one statement: in two, what the sequencer moves in between would be in neither, or in both.
_NOTE = f"""
INSERT INTO reaction_beginnings (reaction, position)
SELECT reaction, head.position + (SELECT count(*) FROM outbox)
  FROM unnest($1::text[]) AS reaction, ({HEAD}) AS head
ON CONFLICT DO NOTHING
"""  # noqa: S608  (constants)
_RAISE = "UPDATE reaction_beginnings SET position = $2 WHERE reaction = $1 AND position < $2"
_BEGINNING = "SELECT position FROM reaction_beginnings WHERE reaction = $1"


async def note_reactions(connection: AsyncConnection, reactions: Iterable[str]) -> None:
    """These reactions exist from now on; those that were noted before begin where they did."""
    await connection.exec_driver_sql(_NOTE, (sorted(reactions),))


class Beginnings:
    """As the projector asks for them, and raises them: seldom, and therefore over a connection for each time."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def of(self, reaction: str) -> int:
        """The position after which a reaction begins; one that was never noted is, now. Raises driver errors."""
        async with self._connected() as connection:
            await connection.execute(_NOTE, [reaction])
            position: int = await connection.fetchval(_BEGINNING, reaction)
            return position

    async def raise_to(self, reaction: str, position: int) -> None:
        """It has come that far, and nothing up to there is to be done again. Raises driver errors."""
        async with self._connected() as connection:
            await connection.execute(_RAISE, reaction, position)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Any]:
        connection = await connect(self._url, "reactions", timeout_seconds=postgres.SHORT_TIMEOUT_SECONDS)
        try:
            yield connection
        finally:
            connection.terminate()
