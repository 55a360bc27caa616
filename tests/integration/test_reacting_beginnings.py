"""Where a reaction begins: nothing is lost on a new system, and nothing of the past is done on an old one."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from command.background import reactions
from command.migrations import migrate
from eventstore import Sequencer
from eventstore.beginnings import note_reactions
from projector.reacting import runner as runner_module
from runtime.postgres import make_engine
from runtime.settings import Settings
from tests.integration.projecting import until
from tests.integration.reacting import Outside, a_reaction, a_stock, kept, quick, reacting


@pytest.fixture
async def engine(postgres_url: str) -> AsyncIterator[AsyncEngine]:
    """On the database of this test."""
    engine = make_engine(postgres_url, "test beginnings", pool_size=2)
    yield engine
    await engine.dispose()


async def _beginnings(url: str) -> dict[str, int]:
    connection = await asyncpg.connect(url)
    try:
        return {row["reaction"]: row["position"] for row in await connection.fetch("TABLE reaction_beginnings")}
    finally:
        await connection.close()


async def _sequenced(url: str) -> None:
    sequencer = Sequencer(url)
    try:
        await sequencer.sequence()
    finally:
        await sequencer.close()


async def test_on_a_new_system_every_reaction_begins_with_the_first_event_however_late_the_first_projector_starts(
    postgres_url: str, settings: Settings
) -> None:
    names = [reaction.name for reaction in reactions()]
    assert await _beginnings(postgres_url) == dict.fromkeys(names, 0)
    outside = Outside()
    async with a_stock(postgres_url) as stock:
        calls = await stock.adjust("a", "b")
        await _sequenced(postgres_url)
        calls += await stock.adjust("a")
        async with kept(settings) as mongo, reacting(quick(settings), a_reaction(outside, names[0])):
            await outside.did(*calls)
            await mongo.reached(3, names[0])


async def test_on_an_upgraded_system_reactions_begin_behind_the_log_and_what_waits_for_it(
    postgres_url: str, settings: Settings
) -> None:
    names = [reaction.name for reaction in reactions()]
    outside = Outside()
    async with a_stock(postgres_url) as stock:
        await _before_reactions(postgres_url)
        await stock.adjust("a", "b")
        await _sequenced(postgres_url)
        await stock.adjust("a", "c")

        await migrate(postgres_url)

        assert await _beginnings(postgres_url) == dict.fromkeys(names, 4)
        calls = await stock.adjust("a", "c")
        await migrate(postgres_url)
        assert await _beginnings(postgres_url) == dict.fromkeys(names, 4), "noted once"
        async with kept(settings) as mongo, reacting(quick(settings), a_reaction(outside, names[0])):
            await outside.did(*calls)
            await mongo.reached(6, names[0])
    assert outside.begun == calls


async def test_a_reaction_of_a_later_release_answers_what_happens_from_then_on(
    postgres_url: str, settings: Settings, engine: AsyncEngine
) -> None:
    old, new = Outside(), Outside()
    async with a_stock(postgres_url, "old") as stock, kept(settings) as mongo:
        async with reacting(quick(settings), a_reaction(old, "old")):
            past = await stock.adjust("a", "b")
            await old.did(*past)
        async with engine.begin() as connection:
            await note_reactions(connection, ["old", "new"])
        calls = await stock.adjust("a", "b")
        async with reacting(quick(settings), a_reaction(old, "old"), a_reaction(new, "new")):
            await new.did(*calls)
            await old.did(*calls)
            await mongo.reached(4, "new")
    assert new.begun == calls
    assert old.begun == [*past, *calls]


async def test_a_reaction_that_nobody_noted_begins_where_the_first_projector_finds_the_log(
    postgres_url: str, settings: Settings
) -> None:
    outside = Outside()
    async with a_stock(postgres_url) as stock, kept(settings) as mongo:
        await stock.adjust("a", "b")
        async with reacting(quick(settings), a_reaction(outside, "unknown")):
            await mongo.reached(2, "unknown")
            calls = await stock.adjust("a")
            await outside.did(*calls)
    assert outside.begun == calls


async def test_where_mongodb_was_thrown_away_what_was_done_is_not_done_again(
    postgres_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "_REMEMBER_EVERY_SECONDS", 0.1)
    outside = Outside()
    async with a_stock(postgres_url, "ship") as stock, kept(settings) as mongo:
        async with reacting(quick(settings), a_reaction(outside)):
            past = await stock.adjust("a", "b")
            await mongo.reached(2)

            async def is_remembered() -> bool:
                return (await _beginnings(postgres_url))["ship"] == 2

            await until(is_remembered, "Postgres to know as well")
        await mongo.database.client.drop_database(settings.mongo_database)
        calls = await stock.adjust("a")
        async with reacting(quick(settings), a_reaction(outside)):
            await outside.did(*calls)
            await mongo.reached(3)
    assert outside.begun == [*past, *calls]


async def test_what_commits_after_the_note_is_behind_it_however_the_sequencer_runs_meanwhile(
    postgres_url: str, engine: AsyncEngine
) -> None:
    over = asyncio.Event()

    async def sequence() -> None:
        sequencer = Sequencer(postgres_url, batch_limit=3)
        while not over.is_set():
            await sequencer.sequence()
        await sequencer.close()

    running = asyncio.create_task(sequence())
    try:
        async with a_stock(postgres_url) as stock:
            after: dict[str, list[tuple[str, int]]] = {}
            for number in range(30):
                await stock.adjust(*(["p"] * 5))
                async with engine.begin() as connection:
                    await note_reactions(connection, [f"r-{number}"])
                after[f"r-{number}"] = await stock.adjust("p")
    finally:
        over.set()
        await running
    await _sequenced(postgres_url)
    await _sequenced(postgres_url)
    begins = await _beginnings(postgres_url)
    async with engine.connect() as connection:
        rows = await connection.execute(text("SELECT aggregate_version, position FROM event_log"))
        positions: dict[int, int] = {row.aggregate_version: row.position for row in rows}
    assert {name: positions[calls[0][1]] for name, calls in after.items()} == {name: begins[name] + 1 for name in after}


async def _before_reactions(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("DROP TABLE reaction_beginnings")
        await connection.execute("UPDATE alembic_version SET version_num = '0010'")
    finally:
        await connection.close()
