"""Where each reaction begins: after what was in the log, or on its way there, when the reaction was first known.

Known to `readside migrate`, that is: it runs before anything of a new release does. So on a new system every reaction
begins with the first event, whenever the first projector starts; and a reaction that comes with an upgrade answers all
that happens from then on, and nothing of the past. Nobody wants last year's mails again.

What waits in the outbox counts as past. Whatever commits after this was looked at draws a larger outbox id than what
could be seen then, and is numbered behind it: no event of the new release stands before its reactions' beginning.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from eventstore.head import HEAD

# head and outbox in one statement: in two, what the sequencer moves in between would be in neither, or in both.
_NOTE = f"""
INSERT INTO reaction_beginnings (reaction, position)
SELECT reaction, head.position + (SELECT count(*) FROM outbox)
  FROM unnest($1::text[]) AS reaction, ({HEAD}) AS head
ON CONFLICT DO NOTHING
"""  # noqa: S608  (constants)
_BEGINNING = "SELECT position FROM reaction_beginnings WHERE reaction = $1"


async def note_reactions(connection: AsyncConnection, reactions: Iterable[str]) -> None:
    """These reactions exist from now on; those that were noted before begin where they did."""
    await connection.exec_driver_sql(_NOTE, (sorted(reactions),))


async def beginning_of(connection: Any, reaction: str) -> int:
    """The position after which a reaction begins; one that was never noted is, now. ``connection``: asyncpg's."""
    await connection.execute(_NOTE, [reaction])
    position: int = await connection.fetchval(_BEGINNING, reaction)
    return position
