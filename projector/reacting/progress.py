"""A reaction's side of MongoDB: its checkpoint and its dead letters, written together or not at all.

``reactions`` holds one document per reaction, ``{_id: name, position, done, epoch, parked_sequences, updated_at}``.
Views have theirs elsewhere: who waits for a view must not wait for a mail to go out.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from motor.motor_asyncio import AsyncIOMotorClientSession
from pymongo import ReturnDocument, UpdateOne
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from projector.dead_letters import DEAD_LETTERS, HISTORY, DeadLetters
from projector.failures import DeadLetter, GuardFailed
from projector.folding import Settlement
from projector.letters import letter_document
from projector.parked import ParkedSequences
from projector.reacting.window import Mark
from projector.together import Small, Together
from runtime.mongo import Database

REACTIONS = "reactions"
_ATTEMPTS = 5


def instance_of(reaction: str) -> str:
    """What leases and dead letters call it; no collection of a view's can have such a name."""
    return f"reaction:{reaction}"


class Progress(Protocol):
    """Where an owner keeps how far it has come. Not for concurrent use."""

    async def write(self, mark: Mark, letters: Sequence[DeadLetter], parked: int) -> None:
        """The reaction is through with all this. Raises `GuardFailed`."""

    async def settle(self, settlement: Settlement, parked: int) -> None:
        """This has become of dead letters. Raises `GuardFailed`."""


class MongoProgress:
    """One reaction's, for one owner at a time.

    ``together``: with whom checkpoints are written that bring no letters.
    """

    def __init__(self, database: Database, reaction: str, together: Together | None = None) -> None:
        self._reaction = reaction
        self._database = database
        self._reactions = database[REACTIONS]
        self._together = together
        self.instance = instance_of(reaction)
        self.letters = ParkedSequences(database, reaction, self.instance)
        self._epoch = 0
        self._position = 0
        self._is_unsure = False

    async def look(self) -> int:
        """The position that stands there, whoever is the owner; 0 where nobody ever was."""
        found = await self._reactions.find_one({"_id": self._reaction}, {"position": 1})
        return 0 if found is None else int(found["position"])

    async def prepare(self, epoch: int, beginning: Callable[[], Awaitable[int]]) -> Mark:
        """Shut out earlier owners, and tell where to go on from; ``beginning`` is asked where nobody ever was.

        Raises `GuardFailed` where an owner of a later epoch has been here.
        """
        await DeadLetters(self._database).prepare()
        if await self._reactions.find_one({"_id": self._reaction}, {"_id": 1}) is None:
            new = {"position": await beginning(), "done": [], "epoch": 0, "parked_sequences": 0, "updated_at": _now()}
            await self._reactions.update_one({"_id": self._reaction}, {"$setOnInsert": new}, upsert=True)
        found = await self._reactions.find_one_and_update(
            {"_id": self._reaction, "epoch": {"$lte": epoch}},
            {"$set": {"epoch": epoch}},
            return_document=ReturnDocument.AFTER,
        )
        if found is None:
            raise GuardFailed
        self._epoch, self._position, self._is_unsure = epoch, found["position"], False
        return Mark(found["position"], tuple(found["done"]))

    async def write(self, mark: Mark, letters: Sequence[DeadLetter], parked: int) -> None:
        """The reaction is through with all this. Raises `GuardFailed`, or what the driver raises: do it again then."""
        fields = {"position": mark.position, "done": list(mark.done), "parked_sequences": parked}
        stored = [letter_document(self.instance, self._reaction, letter) for letter in letters]
        # Not replaced: after an answer that was lost the letter is there, and may have been asked for since.
        inserts = [UpdateOne({"_id": one["_id"]}, {"$setOnInsert": one}, upsert=True) for one in stored]

        async def work(session: AsyncIOMotorClientSession | None) -> None:
            await self._move(fields, session)
            if inserts:
                await self._database[DEAD_LETTERS].bulk_write(inserts, ordered=False, session=session)

        await self._surely(lambda: self._transact(work) if inserts else self._move_in_company(fields))
        self._position = mark.position

    async def settle(self, settlement: Settlement, parked: int) -> None:
        """This has become of dead letters. Raises `GuardFailed`, or what the driver raises: all is to be read again."""

        async def work(session: AsyncIOMotorClientSession | None) -> None:
            await self._move({"parked_sequences": parked}, session)
            if settlement.letters:
                await self._database[DEAD_LETTERS].bulk_write(settlement.letters, session=session)
            if settlement.history:
                await self._database[HISTORY].insert_many(settlement.history, session=session)

        # An operator may ask for the same letters at this moment; that is no reason to call handlers again.
        for attempt in range(_ATTEMPTS):
            try:
                return await self._surely(lambda: self._transact(work))
            except PyMongoError as error:
                if attempt == _ATTEMPTS - 1 or not error.has_error_label("TransientTransactionError"):
                    raise
        raise AssertionError

    async def _surely(self, write: Callable[[], Awaitable[None]]) -> None:
        if self._is_unsure:
            # The answer to the last write was lost. Within an epoch nobody else writes: what stands there is our own.
            self._position = await self.look()
        self._is_unsure = True
        await write()
        self._is_unsure = False

    async def _move_in_company(self, fields: dict[str, Any]) -> None:
        guard, moved = self._guarded(fields)
        if self._together is None or not await self._together.write(Small(guard, moved, REACTIONS, ())):
            await self._move(fields, None)

    async def _move(self, fields: dict[str, Any], session: AsyncIOMotorClientSession | None) -> None:
        guard, moved = self._guarded(fields)
        if (await self._reactions.update_one(guard, {"$set": moved}, session=session)).matched_count != 1:
            raise GuardFailed

    def _guarded(self, fields: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """What finds the checkpoint only where it is expected to be, and what is set in it."""
        guard = {"_id": self._reaction, "epoch": self._epoch, "position": self._position}
        return guard, {**fields, "updated_at": _now()}

    async def _transact(self, work: Callable[[AsyncIOMotorClientSession], Awaitable[None]]) -> None:
        async with (
            await self._database.client.start_session() as session,
            session.start_transaction(read_concern=ReadConcern("local")),
        ):
            await work(session)


def _now() -> datetime:
    return datetime.now(UTC)
