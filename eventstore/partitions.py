"""The log's partitions: a million positions each, made ahead of time.

The log only ever grows. In partitions by position old parts can be moved elsewhere whole; and made one partition
ahead, no sequencing ever waits for one.
"""

from typing import Any

from eventstore.head import RAISE_BOUND

SIZE = 1_000_000
_AHEAD = 2


class Partitions:
    """Remembers up to where partitions exist, so that looking costs nothing."""

    def __init__(self) -> None:
        self._made_up_to = 0

    async def ensure(self, connection: Any, head: int) -> None:
        """Make what is missing between the head and two partitions beyond it."""
        wanted = (head // SIZE + _AHEAD) * SIZE
        if wanted <= self._made_up_to:
            return
        for number in range(head // SIZE, head // SIZE + _AHEAD):
            await _make(connection, number)
        await connection.execute(RAISE_BOUND, head)
        self._made_up_to = wanted


# Asked of the catalog itself: to_regclass answers from a cache that waiting for an advisory lock does not refresh, and
# would go on denying the partition that another sequencer has made meanwhile.
_EXISTS = """
SELECT EXISTS (SELECT FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
                WHERE inhparent = 'event_log'::regclass AND relname = $1)
"""


async def _make(connection: Any, number: int) -> None:
    name = f"event_log_{number:06d}"
    if await connection.fetchval(_EXISTS, name):
        return
    # Attached after it was made: CREATE … PARTITION OF would lock the whole log against readers.
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext('event_log partitions'))")
        if await connection.fetchval(_EXISTS, name):
            return
        await connection.execute(f"CREATE TABLE {name} (LIKE event_log INCLUDING DEFAULTS INCLUDING STORAGE)")
        bounds = f"FROM ({number * SIZE}) TO ({(number + 1) * SIZE})"
        await connection.execute(f"ALTER TABLE event_log ATTACH PARTITION {name} FOR VALUES {bounds}")
