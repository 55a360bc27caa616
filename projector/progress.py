"""How far a view that is being built has come: of its bulk part too, which several processes share."""

import re

from projector.registry import REGISTRY
from projector.store import CHECKPOINTS, PARTS
from runtime.mongo import Database


async def position_of(database: Database, instance: str) -> int:
    """Up to which position of the log the instance is built; in the bulk part, as much as its parts have done."""
    found = await database[CHECKPOINTS].find_one({"_id": instance})
    if found is None or found["position"]:
        return 0 if found is None else int(found["position"])
    parts = [part async for part in database[PARTS].find({"_id": {"$regex": f"^{re.escape(instance)}#"}})]
    # Of theirs, wherever in the log each of them began.
    done = sum(part["position"] - part["after"] for part in parts)
    whole = sum(part["until"] - part["after"] for part in parts)
    return int(found["bulk"]["until"] * done / whole) if whole and found.get("bulk") else 0


async def head_of(database: Database) -> int:
    """Where the log ends, as the projector last told."""
    found = await database[REGISTRY].find_one({"_id": "$log"})
    return int(found["head"]) if found else 0
