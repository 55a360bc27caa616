"""Comparing a rebuilt view with the one that it replaces, document by document, while both follow the log.

The two are read in turns, so a document that changed in between seems to differ. What seems to differ is looked at
again, both sides and both checkpoints in one snapshot: only at equal positions is a difference one.
"""

from collections.abc import AsyncIterator
from typing import Any

from pymongo.read_concern import ReadConcern

from projector.store import CHECKPOINTS
from runtime.mongo import Database

_LOOKS = 20
_EXAMPLES = 10


async def compared(database: Database, old: str, new: str) -> dict[str, Any]:
    """``{documents, different, examples}``: how many documents there are, and the ids of those that differ."""
    suspects: set[str] = set()
    documents = 0
    mine, theirs = _sorted(database, new), _sorted(database, old)
    left, right = await anext(mine, None), await anext(theirs, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left["_id"] < right["_id"]):
            assert left is not None
            suspects.add(left["_id"])
            documents, left = documents + 1, await anext(mine, None)
        elif left is None or right["_id"] < left["_id"]:
            suspects.add(right["_id"])
            right = await anext(theirs, None)
        else:
            if left != right:
                suspects.add(left["_id"])
            documents, left, right = documents + 1, await anext(mine, None), await anext(theirs, None)
    different = await _confirmed(database, old, new, suspects) if suspects else []
    return {"documents": documents, "different": len(different), "examples": sorted(different)[:_EXAMPLES]}


def _sorted(database: Database, instance: str) -> AsyncIterator[dict[str, Any]]:
    return aiter(database[instance].find({}, {"_parked": 0}).sort("_id", 1))


async def _confirmed(database: Database, old: str, new: str, suspects: set[str]) -> list[str]:
    wanted = {"_id": {"$in": list(suspects)}}
    for _ in range(_LOOKS):
        async with (
            await database.client.start_session() as session,
            session.start_transaction(read_concern=ReadConcern("snapshot")),
        ):
            found = database[CHECKPOINTS].find({"_id": {"$in": [old, new]}}, session=session)
            positions = {checkpoint["position"] async for checkpoint in found}
            if len(positions) != 1:
                continue
            sides = [
                {
                    document["_id"]: document
                    async for document in database[name].find(wanted, {"_parked": 0}, session=session)
                }
                for name in (old, new)
            ]
            return [key for key in suspects if sides[0].get(key) != sides[1].get(key)]
    return sorted(suspects)
