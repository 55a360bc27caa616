"""How far a publisher has come: ``publishers`` holds ``{_id: name, position, epoch, updated_at}``."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from pymongo import ReturnDocument

from projector.failures import GuardFailed
from runtime.mongo import Database

PUBLISHERS = "publishers"


def instance_of(publisher: str) -> str:
    """What its lease is called; no collection of a view's can have such a name."""
    return f"publisher:{publisher}"


class PublishedUpTo:
    """One publisher's checkpoint, for one owner at a time."""

    def __init__(self, database: Database, publisher: str) -> None:
        self._publisher = publisher
        self._publishers = database[PUBLISHERS]
        self._epoch = 0

    async def look(self) -> int:
        """The position that stands there, whoever is the owner; 0 where nobody ever was."""
        found = await self._publishers.find_one({"_id": self._publisher}, {"position": 1})
        return 0 if found is None else int(found["position"])

    async def prepare(self, epoch: int, beginning: Callable[[], Awaitable[int]]) -> int:
        """Shut out earlier owners, and tell where to go on from; ``beginning`` is asked where nobody ever was.

        Raises `GuardFailed` where an owner of a later epoch has been here.
        """
        if await self._publishers.find_one({"_id": self._publisher}, {"_id": 1}) is None:
            new = {"position": await beginning(), "epoch": 0, "updated_at": datetime.now(UTC)}
            await self._publishers.update_one({"_id": self._publisher}, {"$setOnInsert": new}, upsert=True)
        found = await self._publishers.find_one_and_update(
            {"_id": self._publisher, "epoch": {"$lte": epoch}},
            {"$set": {"epoch": epoch}},
            return_document=ReturnDocument.AFTER,
        )
        if found is None:
            raise GuardFailed
        self._epoch = epoch
        return int(found["position"])

    async def move(self, position: int) -> None:
        """Everything up to here is confirmed. Raises `GuardFailed`, or what the driver raises: then it may stand."""
        moved = await self._publishers.update_one(
            # Not equal to the last position: after an answer that was lost it may be there already.
            {"_id": self._publisher, "epoch": self._epoch, "position": {"$lte": position}},
            {"$set": {"position": position, "updated_at": datetime.now(UTC)}},
        )
        if moved.matched_count != 1:
            raise GuardFailed
