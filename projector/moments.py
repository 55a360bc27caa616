"""An instance of a view at one moment: documents, checkpoint and dead letters in one snapshot of MongoDB.

They are written in one transaction, so read in one they fit together exactly, however fast the view moves.
"""

from typing import Any

import msgspec
from motor.motor_asyncio import AsyncIOMotorClientSession
from pymongo.read_concern import ReadConcern

from projector.dead_letters import DEAD_LETTERS, OPEN
from projector.store import CHECKPOINTS
from runtime.errors import ReadsideError
from runtime.mongo import Database
from views.kit import View

SNAPSHOT = ReadConcern("snapshot")


class InstanceGoneError(ReadsideError):
    """The instance was dropped meanwhile, or no projector has made it yet."""


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """What stood in MongoDB then. ``skipped``: positions whose events the documents lack, and may."""

    position: int
    skipped: frozenset[int]
    marks: frozenset[str]
    documents: dict[Any, dict[str, Any]]


async def moment(database: Database, view: View, instance: str, wanted: dict[str, Any], *, limit: int = 0) -> Moment:
    """The wanted documents, in the order of their ids, and what is to be known of them."""

    async def read(session: AsyncIOMotorClientSession) -> Moment:
        return await moment_of(database, view, instance, wanted, session, limit=limit)

    async with await database.client.start_session() as session:
        found: Moment = await session.with_transaction(read, read_concern=SNAPSHOT)
    return found


async def moment_of(
    database: Database,
    view: View,
    instance: str,
    wanted: dict[str, Any],
    session: AsyncIOMotorClientSession,
    *,
    limit: int = 0,
) -> Moment:
    """The same within a transaction that has begun. Raises `InstanceGoneError`."""
    checkpoint = await database[CHECKPOINTS].find_one({"_id": instance}, {"position": 1}, session=session)
    if checkpoint is None:
        raise InstanceGoneError(f"{instance} has no checkpoint: no projector has worked at it, or it was dropped.")
    letters = database[DEAD_LETTERS]
    lacking = {"instance": instance, "state": {"$in": list(OPEN)}}
    waiting = await letters.find(lacking, {"position": 1, "documents": 1}, session=session).to_list(None)
    # Of the view, whichever instance was asked: a rebuild skips them too.
    given_up = letters.find({"projection": view.name, "state": "discarded"}, {"position": 1}, session=session)
    found = database[instance].find(wanted, session=session).sort("_id", 1).limit(limit)
    return Moment(
        position=checkpoint["position"],
        skipped=frozenset({one["position"] for one in waiting} | {one["position"] async for one in given_up}),
        marks=frozenset(key for letter in waiting for key in letter.get("documents", ())),
        documents={document["_id"]: document async for document in found},
    )
