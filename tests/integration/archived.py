"""A log with partitions of a size for tests, and what every reader of it has to find."""

from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from events.members import MemberPasswordChanged, MemberRegistered
from eventstore import EventLog, Filter, PendingEvent, Sequencer, StoredEvent, append, archiving, parquet, partitions
from eventstore.archiving import archiving as hold
from eventstore.share import EVERY, Share
from runtime.postgres import connect, make_engine
from tests.unit.views.given import MOMENT

SIZE = 100
ROW_GROUP = 30
_STEP = 23


async def small_partitions(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Partitions of `SIZE` in an empty log, for sequencers of this process, and row groups that are smaller still."""
    monkeypatch.setattr(partitions, "SIZE", SIZE)
    for module in (archiving, parquet):
        monkeypatch.setattr(module, "ROW_GROUP", ROW_GROUP)
    connection = await connect(url, "test")
    await connection.execute("DROP TABLE event_log_000000")
    await connection.execute(f"CREATE TABLE event_log_000000 PARTITION OF event_log FOR VALUES FROM (0) TO ({SIZE})")
    await connection.close()


async def fill(url: str, count: int) -> None:
    """So many events of some members; the sequencer marks the last one of each step with a snapshot."""
    engine = make_engine(url, "test writer", pool_size=1)
    sequencer = Sequencer(url)
    versions: dict[str, int] = {}
    for first in range(0, count, _STEP):
        await _append(engine, versions, range(first, min(count, first + _STEP)))
        await sequencer.sequence()
    await sequencer.close()
    await engine.dispose()


async def _append(engine: AsyncEngine, versions: dict[str, int], numbers: range) -> None:
    async with engine.begin() as connection:
        pending = []
        for number in numbers:
            member = f"m-{number % 13}"
            version = versions[member] = versions.get(member, 0) + 1
            event = MemberRegistered(email=f"{member}@example.org", name="Zoë") if version == 1 else None
            pending.append(PendingEvent(member, version, MOMENT, event or MemberPasswordChanged()))
        await append(connection, pending, correlation_id=f"request {numbers.start}" if numbers.start % 2 else None)


async def archive(url: str, folder: Path, before: int) -> int:
    """Archive what can be; how many files that made."""
    async with hold(url, folder) as archive:
        return len(await archive.archive(await archive.candidates(before, {})))


async def restore(url: str, folder: Path, after: int = 0) -> int:
    """Bring back what there is; how many files that was."""
    async with hold(url, folder) as archive:
        return len(await archive.restore(after))


async def everything(log: EventLog, limit: int = 37) -> list[StoredEvent]:
    """The whole log, as a consumer reads it that keeps its position."""
    found: list[StoredEvent] = []
    while events := await log.get(found[-1].position if found else 0, limit):
        found += events
    return found


async def all_of_types(
    log: EventLog, types: list[str], until: int, limit: int = 37, share: Share = EVERY
) -> list[StoredEvent]:
    """As the workers of a rebuild read."""
    found: list[StoredEvent] = []
    while events := await log.of_types(types, found[-1].position if found else 0, until, limit, share):
        found += events
    return found


async def all_of(log: EventLog, only: Filter, limit: int = 11) -> list[StoredEvent]:
    """As somebody reads who wants some events only."""
    found: list[StoredEvent] = []
    while events := await log.get(found[-1].position if found else 0, limit, only):
        found += events
    return found
