"""The event store on a real Postgres: consecutive positions, nothing skipped, nobody waited for."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from events.envelope import decode
from events.members import MemberPasswordChanged, MemberRegistered
from eventstore import Doorbell, EventLog, Filter, PendingEvent, Sequenced, Sequencer, append, listen
from eventstore.log import StoredEvent, _live
from eventstore.share import EVERY, Share
from runtime.consistency import Snapshot
from runtime.postgres import connect, make_engine
from tests.unit.views.given import MOMENT, a_placed_order


@pytest.fixture
async def engine(postgres_url: str) -> AsyncIterator[AsyncEngine]:
    """Connections of writers."""
    engine = make_engine(postgres_url, "test writers", pool_size=20)
    yield engine
    await engine.dispose()


@pytest.fixture
async def sequencer(postgres_url: str) -> AsyncIterator[Sequencer]:
    """A sequencer with small batches."""
    sequencer = Sequencer(postgres_url, batch_limit=5)
    yield sequencer
    await sequencer.close()


@pytest.fixture
async def log(postgres_url: str) -> AsyncIterator[EventLog]:
    """The log as its readers see it."""
    async with EventLog(postgres_url, "test") as log:
        yield log


def changes(member_id: str, *versions: int) -> list[PendingEvent]:
    """A member's events of these versions."""
    return [PendingEvent(member_id, version, MOMENT, MemberPasswordChanged()) for version in versions]


async def commit(engine: AsyncEngine, events: list[PendingEvent], **ids: str) -> int:
    """Append these in a transaction of their own; its id."""
    async with engine.connect() as connection:
        transaction_id = await append(connection, events, **ids)
        await connection.commit()
        return transaction_id


async def whole(log: EventLog) -> list[tuple[int, str, int]]:
    """Position, aggregate, version of everything."""
    return [(one.position, one.aggregate_id, one.aggregate_version) for one in await log.get(0, 10_000)]


async def until_empty(sequencer: Sequencer) -> None:
    """Sequence all that is visible."""
    while (await sequencer.sequence()).moved:
        pass


async def test_an_event_comes_back_as_it_was_appended(engine: AsyncEngine, sequencer: Sequencer, log: EventLog) -> None:
    placed = a_placed_order()
    await commit(
        engine,
        [PendingEvent("o-1", 1, MOMENT, placed)],
        correlation_id="shopping",
        causation_id="click",
        traceparent="00-aa-bb-01",
    )
    await sequencer.sequence()

    (stored,) = await log.get(0, 10)

    assert decode(stored.event_type, stored.schema_version, stored.payload) == placed
    assert (stored.position, stored.aggregate_type, stored.aggregate_id, stored.aggregate_version) == (
        1,
        "order",
        "o-1",
        1,
    )
    assert (stored.occurred_at, stored.correlation_id, stored.causation_id) == (MOMENT, "shopping", "click")
    assert stored.traceparent == "00-aa-bb-01"
    assert stored.envelope(placed).event is placed


async def test_events_exist_exactly_when_their_transaction_commits(
    engine: AsyncEngine, sequencer: Sequencer, log: EventLog
) -> None:
    async with engine.connect() as rolled_back:
        await append(rolled_back, changes("m-1", 1))
    await commit(engine, changes("m-2", 1, 2))

    assert await sequencer.sequence() == Sequenced(moved=2, head=2)
    assert await whole(log) == [(1, "m-2", 1), (2, "m-2", 2)]


async def test_nothing_to_do_leaves_the_head_where_it_is(
    sequencer: Sequencer, engine: AsyncEngine, log: EventLog
) -> None:
    assert await sequencer.sequence() == Sequenced(moved=0, head=0)
    await commit(engine, changes("m-1", 1))
    await sequencer.sequence()

    assert await sequencer.sequence() == Sequenced(moved=0, head=1)
    assert await log.head() == 1


async def test_an_open_transaction_holds_up_nobody_and_its_events_come_later(
    engine: AsyncEngine, sequencer: Sequencer, log: EventLog
) -> None:
    async with engine.connect() as slow:
        await append(slow, changes("slow", 1))
        await commit(engine, changes("fast", 1))
        await sequencer.sequence()
        assert await whole(log) == [(1, "fast", 1)]
        await slow.commit()

    await sequencer.sequence()

    assert await whole(log) == [(1, "fast", 1), (2, "slow", 1)]


async def test_however_long_a_transaction_was_open_its_events_are_not_skipped(
    engine: AsyncEngine, sequencer: Sequencer, log: EventLog
) -> None:
    async with engine.connect() as slow:
        await append(slow, changes("slow", 1))
        for version in range(1, 40):
            await commit(engine, changes("fast", version))
            await sequencer.sequence()
        await slow.commit()
    await commit(engine, changes("fast", 40))
    await until_empty(sequencer)

    assert sorted((await whole(log))[-2:], key=lambda one: one[1]) == [(41, "fast", 40), (40, "slow", 1)]


async def test_old_rows_that_a_backup_keeps_alive_are_not_walked_over_for_ever(
    engine: AsyncEngine, sequencer: Sequencer, postgres_url: str
) -> None:
    backup = await connect(postgres_url, "backup")
    async with backup.transaction(isolation="repeatable_read"):
        await backup.fetch("SELECT * FROM outbox")
        for version in range(1, 20):
            await commit(engine, changes("m-1", version))
            await sequencer.sequence()

        assert sequencer._floor.low >= 17
    await backup.close()


async def test_a_batch_is_as_large_as_one_may_be_and_says_so(
    engine: AsyncEngine, sequencer: Sequencer, log: EventLog
) -> None:
    await commit(engine, changes("m-1", *range(1, 13)))

    runs = [await sequencer.sequence() for _ in range(4)]

    assert runs == [Sequenced(5, 5), Sequenced(5, 10), Sequenced(2, 12), Sequenced(0, 12)]
    assert [sequencer.is_full(run) for run in runs] == [True, True, False, False]
    assert [version for _, _, version in await whole(log)] == list(range(1, 13))


async def test_only_a_batch_that_took_all_that_was_visible_says_what_it_is_complete_for(
    engine: AsyncEngine, sequencer: Sequencer, log: EventLog
) -> None:
    many = await commit(engine, changes("m-1", *range(1, 8)))
    async with engine.connect() as slow:
        slow_id = await append(slow, changes("slow", 1))
        await until_empty(sequencer)
        await slow.rollback()

    snapshots = [one.snapshot for one in await log.get(0, 10)]

    assert snapshots[:6] == [None] * 6
    assert snapshots[6] is not None
    assert Snapshot.parse(snapshots[6]).sees(many)
    assert not Snapshot.parse(snapshots[6]).sees(slow_id)


async def test_several_sequencers_number_everything_once_and_in_order(
    engine: AsyncEngine, log: EventLog, postgres_url: str
) -> None:
    async def write(member_id: str) -> None:
        for version in range(1, 31):
            await commit(engine, changes(member_id, version))

    sequencers = [Sequencer(postgres_url, batch_limit=7) for _ in range(3)]
    writers = asyncio.gather(*(write(f"m-{number}") for number in range(6)))

    async def work(sequencer: Sequencer) -> None:
        while not writers.done():
            await sequencer.sequence()
        await until_empty(sequencer)
        await sequencer.close()

    await asyncio.gather(writers, *(work(sequencer) for sequencer in sequencers))

    found = await whole(log)
    assert [position for position, _, _ in found] == list(range(1, 181))
    for number in range(6):
        assert [version for _, member, version in found if member == f"m-{number}"] == list(range(1, 31))


async def test_a_sequencer_whose_connection_was_cut_goes_on_with_another(
    engine: AsyncEngine, sequencer: Sequencer, log: EventLog, postgres_url: str
) -> None:
    await commit(engine, changes("m-1", 1))
    await sequencer.sequence()
    await commit(engine, changes("m-1", 2))
    assert await cut(postgres_url, "readside sequencer") == 1
    with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):  # it may have noticed by itself
        await sequencer.sequence()
    await sequencer.close()

    await sequencer.sequence()

    assert await whole(log) == [(1, "m-1", 1), (2, "m-1", 2)]


async def test_the_log_grows_over_the_edge_of_a_partition(
    engine: AsyncEngine, sequencer: Sequencer, log: EventLog, postgres_url: str
) -> None:
    owner = await connect(postgres_url, "test")
    await owner.execute("UPDATE event_log_head SET position = 999997")
    await commit(engine, changes("m-1", *range(1, 8)))

    await until_empty(sequencer)

    assert [one.position for one in await log.get(999_000, 10)] == list(range(999_998, 1_000_005))
    held = "SELECT position FROM event_log WHERE tableoid = $1::text::regclass ORDER BY 1"
    assert [row[0] for row in await owner.fetch(held, "event_log_000001")] == list(range(1_000_000, 1_000_005))
    assert await owner.fetchval("SELECT to_regclass('event_log_000002')") is not None
    await owner.close()


async def test_a_reader_gets_at_most_what_it_asked_for_in_order(
    engine: AsyncEngine, sequencer: Sequencer, log: EventLog
) -> None:
    await commit(engine, changes("m-1", *range(1, 9)))
    await until_empty(sequencer)

    assert [one.position for one in await log.get(3, 2)] == [4, 5]
    assert await log.get(8, 2) == []


@pytest.mark.parametrize(
    ("only", "positions"),
    [
        (Filter(), [1, 2, 3]),
        (Filter(aggregate_type="member"), [1, 2]),
        (Filter(aggregate_id="o-1"), [3]),
        (Filter(event_type="MemberRegistered"), [1]),
        (Filter(aggregate_type="member", event_type="OrderPlaced"), []),
    ],
)
async def test_a_reader_can_ask_for_some_events_only(
    engine: AsyncEngine, sequencer: Sequencer, log: EventLog, only: Filter, positions: list[int]
) -> None:
    registered = PendingEvent("m-1", 1, MOMENT, MemberRegistered(email="ann@example.org", name="Ann"))
    await commit(engine, [registered, *changes("m-1", 2), PendingEvent("o-1", 1, MOMENT, a_placed_order())])
    await sequencer.sequence()

    found: list[StoredEvent] = list(await log.get(0, 10, only))

    assert [one.position for one in found] == positions


async def test_a_deployment_keeps_its_id(log: EventLog) -> None:
    assert await log.deployment_id() == await log.deployment_id()
    assert len(await log.deployment_id()) == 36


async def test_events_of_one_append_keep_their_order_and_their_transaction(
    engine: AsyncEngine, sequencer: Sequencer, log: EventLog
) -> None:
    async def current(connection: AsyncConnection) -> int:
        return int((await connection.exec_driver_sql("SELECT pg_current_xact_id()::text")).scalar_one())

    async with engine.connect() as connection:
        appended = await append(connection, changes("m-1", *range(1, 6)))
        assert appended == await current(connection)
        await connection.commit()
    await sequencer.sequence()

    assert [version for _, _, version in await whole(log)] == [1, 2, 3, 4, 5]


async def test_a_ring_is_heard(postgres_url: str) -> None:
    heard = asyncio.Event()
    async with Doorbell(postgres_url) as doorbell, listen(postgres_url, heard.set) as is_connected:
        await heard.wait()  # the first comes with the connection itself
        assert is_connected()
        heard.clear()
        doorbell.ring()
        await asyncio.wait_for(heard.wait(), 60)


async def test_a_burst_of_rings_wakes_a_few_times_and_not_once_each(postgres_url: str) -> None:
    heard: list[int] = []
    woken = asyncio.Event()

    def wake() -> None:
        heard.append(1)
        woken.set()

    async with Doorbell(postgres_url) as doorbell, listen(postgres_url, wake):
        await woken.wait()  # the first comes with the connection itself
        woken.clear()
        for _ in range(500):
            doorbell.ring()
        await asyncio.wait_for(woken.wait(), 60)

    assert len(heard) < 50


async def test_bell_and_listener_come_back_after_their_connections_were_cut(postgres_url: str) -> None:
    heard = asyncio.Event()
    async with Doorbell(postgres_url) as doorbell, listen(postgres_url, heard.set):
        await heard.wait()
        heard.clear()
        assert await cut(postgres_url, "readside listen") == 1
        await asyncio.wait_for(heard.wait(), 60)  # reconnected, and looks for what it may have missed
        heard.clear()
        doorbell.ring()
        await asyncio.wait_for(heard.wait(), 60)
        await cut(postgres_url, "readside doorbell")
        heard.clear()
        async with asyncio.timeout(20):
            while not heard.is_set():
                doorbell.ring()
                await asyncio.sleep(0.05)


async def cut(url: str, name: str) -> int:
    """End the connections of that name in this database, as a failing network would; how many there were."""
    connection: Any = await connect(url, "cutter")
    try:
        return len(
            await connection.fetch(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE application_name = $1 AND datname = current_database()",
                name,
            )
        )
    finally:
        await connection.close()


async def test_a_batch_of_several_types_looks_at_no_more_of_a_long_log_than_it_needs(
    engine: AsyncEngine, postgres_url: str, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        await commit(engine, [one for key in range(50) for one in changes(f"m-{number}-{key}", *range(1, 31))])
    filling = Sequencer(postgres_url)
    await until_empty(filling)
    await filling.close()
    # Small, so that a log of thousands is a long one.
    monkeypatch.setattr("eventstore.log._STRETCH", 100)
    asked: list[tuple[Any, ...]] = []
    read = EventLog._read

    async def noted(self: EventLog, *arguments: Any) -> Any:
        asked.append(arguments)
        return await read(self, *arguments)

    monkeypatch.setattr(EventLog, "_read", noted)
    types = ["MemberRegistered", "MemberPasswordChanged"]
    found = [one.position for one in await log.of_types(types, 40, 6_000, 100)]
    assert found == list(range(41, 141))
    # Up to the end of the log the server would sort all that is left of it, for every batch.
    assert [(after, until) for after, until, *_ in asked] == [(40, 140)]

    connection = await connect(postgres_url, "test")
    try:
        for share in (EVERY, Share(1, 2)):
            statement, values = _live({"event_type": types}, 40, 140, 100, share)
            plan = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *values, 0)
            assert _most_rows(json.loads(plan)[0]["Plan"]) <= 100
    finally:
        await connection.close()


def _most_rows(node: dict[str, Any]) -> int:
    looked_at = int(node["Actual Rows"]) + int(node.get("Rows Removed by Filter", 0))
    return max([looked_at, *(_most_rows(inner) for inner in node.get("Plans", ()))])
