"""Old snapshots and slow writers keep dead rows alive; sequencing does not walk over them.

Judged by the pages that the sequencer's own statement touches, as Postgres counts them, and never by the clock.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from events.members import MemberPasswordChanged
from eventstore import EventLog, PendingEvent, Sequencer, append, sequencer
from runtime.postgres import connect, make_engine
from tests.unit.views.given import MOMENT

DEAD_ROWS = 6_000
FEW_PAGES = 60


@asynccontextmanager
async def a_backup(url: str) -> AsyncIterator[None]:
    """A snapshot that is held for as long as the block."""
    backup = await connect(url, "backup")
    async with backup.transaction(isolation="repeatable_read", readonly=True):
        await backup.fetch("SELECT * FROM outbox")
        yield
    await backup.close()


@asynccontextmanager
async def a_stuck_command(url: str) -> AsyncIterator[None]:
    """A transaction that has appended, and commits at the end of the block."""
    engine = make_engine(url, "stuck", pool_size=1)
    async with engine.connect() as connection:
        await append(connection, changes("stuck", 1))
        yield
        await connection.commit()
    await engine.dispose()


def changes(member_id: str, *versions: int) -> list[PendingEvent]:
    """A member's events of these versions."""
    return [PendingEvent(member_id, version, MOMENT, MemberPasswordChanged()) for version in versions]


async def sequence_many(engine: AsyncEngine, sequencer: Sequencer) -> None:
    """So many rows through the outbox, in a few runs; the floor is two runs behind, and the last ones are small."""
    step = DEAD_ROWS // 12
    sizes = [step] * 11 + [step - 4, 1, 1, 1, 1]
    version = 1
    for size in sizes:
        async with engine.begin() as connection:
            await append(connection, changes("m-1", *range(version, version + size)))
        while (await sequencer.sequence()).moved:
            pass
        version += size


async def pages_touched(moving: Sequencer, low: int, high: int, slow: list[str]) -> int:
    """How many pages a run that moves one event touches, on the sequencer's connection; it is rolled back."""
    connection = moving._connection
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(
        "INSERT INTO outbox (event_id, event_type, schema_version, aggregate_type, aggregate_id, aggregate_version,"
        " occurred_at, payload) VALUES (gen_random_uuid(), 'Tried', 1, 'member', 'm-0', 1, now(), '{}')"
    )
    explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sequencer._MOVE}"
    plan = json.loads(await connection.fetchval(explain, low, 2_000, high, slow))[0]["Plan"]
    await transaction.rollback()
    touched: int = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    return touched


@pytest.mark.parametrize("held", [a_backup, a_stuck_command], ids=["a backup", "a stuck command"])
async def test_sequencing_does_not_walk_over_dead_rows_that_somebody_keeps(postgres_url: str, held: Any) -> None:
    engine = make_engine(postgres_url, "test writers", pool_size=2)
    moving = Sequencer(postgres_url, slow_writer_seconds=0)
    async with held(postgres_url):
        await sequence_many(engine, moving)
        floor = moving._floor
        slow = [str(one) for one in floor.slow]
        # What would be touched without the floor: otherwise a small number would prove nothing.
        assert await pages_touched(moving, 0, 0, []) > 2 * FEW_PAGES
        assert await pages_touched(moving, floor.low, floor.high, slow) < FEW_PAGES
    await moving.close()
    await engine.dispose()


async def test_what_a_slow_writer_appended_comes_once_it_has_committed(postgres_url: str) -> None:
    engine = make_engine(postgres_url, "test writers", pool_size=2)
    moving = Sequencer(postgres_url, slow_writer_seconds=0)
    async with a_stuck_command(postgres_url):
        await sequence_many(engine, moving)
        assert (moving._floor.low, len(moving._floor.slow)) == (0, 1)
        assert moving._floor.high > 0
    async with engine.begin() as connection:
        await append(connection, changes("m-1", DEAD_ROWS + 1))

    assert (await moving.sequence()).moved == 2

    async with EventLog(postgres_url, "test") as log:
        last = [(one.position, one.aggregate_id) for one in await log.get(DEAD_ROWS, 10)]
    # In the order of their outbox ids: the stuck one drew its id first.
    assert last == [(DEAD_ROWS + 1, "stuck"), (DEAD_ROWS + 2, "m-1")]
    assert not moving._floor.slow
    assert moving._floor.low == moving._floor.high > 0
    await moving.close()
    await engine.dispose()


async def test_a_standby_that_never_moves_anything_does_not_walk_over_dead_rows_either(postgres_url: str) -> None:
    engine = make_engine(postgres_url, "test writers", pool_size=2)
    moving, standing_by = Sequencer(postgres_url), Sequencer(postgres_url)
    async with a_backup(postgres_url):
        await sequence_many(engine, moving)
        for _ in range(2):
            assert (await standing_by.sequence()).moved == 0

        assert standing_by._floor.low == DEAD_ROWS
    await moving.close()
    await standing_by.close()
    await engine.dispose()


async def test_a_run_of_the_sequencer_leaves_no_dead_row_beside_those_of_the_outbox(postgres_url: str) -> None:
    engine = make_engine(postgres_url, "test writers", pool_size=2)
    moving = Sequencer(postgres_url)
    reader = await connect(postgres_url, "test")
    await moving.sequence()
    place = "SELECT ctid FROM event_log_head"
    before = await reader.fetchval(place)

    await sequence_many(engine, moving)

    assert await reader.fetchval(place) == before
    async with EventLog(postgres_url, "test") as log:
        assert await log.head() == DEAD_ROWS
    await reader.close()
    await moving.close()
    await engine.dispose()
