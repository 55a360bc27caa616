"""Reactions that write together: one commit for all their checkpoints, and a failed guard is nobody else's."""

import asyncio

import pytest
from pymongo.client_session import ClientSession

from projector.failures import GuardFailed
from projector.reacting.progress import REACTIONS, MongoProgress
from projector.reacting.window import Mark
from projector.together import Together
from runtime.mongo import Database
from runtime.settings import Settings
from tests.integration.projecting import a_read_side

NAMES = ["mail", "refund", "ship"]


async def _nothing() -> int:
    return 0


async def _owners(database: Database) -> list[MongoProgress]:
    together = Together(database, REACTIONS)
    owners = [MongoProgress(database, name, together) for name in NAMES]
    for owner in owners:
        await owner.prepare(1, _nothing)
    return owners


async def _positions(database: Database) -> list[int]:
    return [found["position"] async for found in database[REACTIONS].find().sort("_id", 1)]


async def test_checkpoints_that_are_written_at_the_same_moment_share_one_commit(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits, commit = list[None](), ClientSession.commit_transaction

    def counting(session: ClientSession) -> None:
        commit(session)
        commits.append(None)

    monkeypatch.setattr(ClientSession, "commit_transaction", counting)
    async with a_read_side(settings) as read_side:
        owners = await _owners(read_side.database)
        await asyncio.gather(*(owner.write(Mark(7, (9,)), [], 0) for owner in owners))
        assert len(commits) == 1
        assert await _positions(read_side.database) == [7, 7, 7]


async def test_an_owner_whose_guard_fails_holds_up_no_other_reaction(settings: Settings) -> None:
    async with a_read_side(settings) as read_side:
        owners = await _owners(read_side.database)
        await MongoProgress(read_side.database, "refund").prepare(2, _nothing)

        writing = (owner.write(Mark(7), [], 0) for owner in owners)
        outcomes = await asyncio.gather(*writing, return_exceptions=True)

        assert [type(outcome) for outcome in outcomes] == [type(None), GuardFailed, type(None)]
        assert await _positions(read_side.database) == [7, 0, 7]
