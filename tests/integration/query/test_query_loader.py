"""Lookups of one moment share a round trip, and each sees what was written before it was asked for."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from query.loader import BATCH_LIMIT, Loader
from runtime.mongo import Database, ReadDatabase, read_database
from runtime.settings import Settings


@pytest.fixture
async def loader(query_settings: Settings) -> AsyncIterator[Loader]:
    """Of the same database, as the query API has one."""
    database: ReadDatabase = read_database(query_settings, "tests")
    yield Loader(database)
    await database.client.close()


async def _round_trips(database: Database) -> int:
    return await database["system.profile"].count_documents({"op": "query", "command.find": "things"})


async def test_lookups_of_one_moment_share_one_round_trip(database: Database, loader: Loader) -> None:
    await database.things.insert_many([{"_id": f"t-{number}"} for number in range(BATCH_LIMIT)])
    await database.command("profile", 2)
    asked = [f"t-{number}" for number in range(BATCH_LIMIT)] + ["t-0"]
    found = await asyncio.gather(*(loader.find("things", one) for one in asked))
    await database.command("profile", 0)
    assert found == [{"_id": one} for one in asked]
    assert await _round_trips(database) == 1


async def test_more_than_fit_into_one_round_trip_are_all_found(database: Database, loader: Loader) -> None:
    asked = [f"t-{number}" for number in range(BATCH_LIMIT * 5 + 1)]
    await database.things.insert_many([{"_id": one} for one in asked])
    assert await asyncio.gather(*(loader.find("things", one) for one in asked)) == [{"_id": one} for one in asked]


async def test_what_is_not_there_is_none(database: Database, loader: Loader) -> None:
    await database.things.insert_one({"_id": "a"})
    found = await asyncio.gather(*(loader.find("things", one) for one in ("a", "b")))
    assert found == [{"_id": "a"}, None]


async def test_one_who_goes_away_takes_nobody_elses_answer_along(database: Database, loader: Loader) -> None:
    await database.things.insert_one({"_id": "a"})
    leaving, staying = (asyncio.ensure_future(loader.find("things", "a")) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == {"_id": "a"}
    with pytest.raises(asyncio.CancelledError):
        await leaving
