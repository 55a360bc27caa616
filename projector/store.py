"""One projection's side of MongoDB: its checkpoint, its documents, its dead letters, written together or not at all.

A write is one transaction: the checkpoint first, guarded by the position and the epoch that this process expects to
find there, then the documents. The whole transaction runs in one thread, over the client that motor itself
wraps: one hop between threads instead of one per statement, which is most of what a small batch costs. Small batches
of several views share even that: see `projector.together`.
"""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import msgspec
from pymongo import InsertOne, MongoClient, ReplaceOne, ReturnDocument, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.errors import BulkWriteError, CollectionInvalid, OperationFailure
from pymongo.read_concern import ReadConcern

from projector import indexes
from projector.dead_letters import DEAD_LETTERS, HISTORY, DeadLetters
from projector.failures import GuardFailed
from projector.folding import MARK, Folded, Settlement, Write
from projector.letters import letter_document
from projector.parked import ParkedAggregates
from projector.sharing import Work
from projector.together import DURABLE, MOST_WRITES, Small, Together
from runtime.mongo import Database
from views.kit import AdditiveView, View

CHECKPOINTS, PARTS = "checkpoints", "rebuild_parts"
_DUPLICATE_KEY, _NAMESPACE_EXISTS = 11000, 48
_WORTH_A_LOOK, _KEYS_IN_A_LOOK = 200, 10_000
_MOST_TOLD = 100
"""Documents of a batch that the checkpoint names, for readers who keep some: of more they forget all that they keep."""


class Checkpoint(msgspec.Struct, frozen=True):
    """How far an instance of a view has come, and the snapshot up to which that is complete."""

    position: int
    snapshot: str | None
    unparked: int | None = None
    """How often dead letters were settled: that changes documents without a change of the position."""


def part_id(instance: str, number: int) -> str:
    """The id of a part's checkpoint."""
    return f"{instance}#{number}"


class ViewStore:
    """The store of one instance of a view, which is its collection's name too: ``order_detail.v1``.

    ``part`` is a part of a rebuild, which has a checkpoint of its own, out of sight of readers.
    ``time_zone`` is that of the days that the documents count, for those who read them.
    ``together``: with whom small batches are written.
    """

    def __init__(
        self,
        database: Database,
        view: View,
        instance: str,
        threads: ThreadPoolExecutor,
        *,
        part: Work | None = None,
        time_zone: str = "UTC",
        together: Together | None = None,
    ) -> None:
        self.view = view
        self.instance = instance
        self._checkpoint_id = instance if part is None else part_id(instance, part.number)
        self._from = 0 if part is None else part.after
        self._bounds = {} if part is None else {"after": part.after, "until": part.until}
        self._checkpoints = CHECKPOINTS if part is None else PARTS
        self._database = database
        self._collection = database[instance]
        self._threads = threads
        self._together = together
        self.letters = ParkedAggregates(database, view.name, instance)
        self._client: MongoClient[dict[str, Any]] = database.client.delegate
        self._epoch = 0
        self._time_zone = time_zone

    async def prepare(self, epoch: int) -> Checkpoint:
        """Make what is missing (collection, checkpoint), shut out earlier owners, tell where to go on from.

        Of the indexes only those that refuse documents: see `make_indexes`.

        Raises `GuardFailed` where an owner of a later epoch has been here.
        """
        self._epoch = epoch
        # A collection that a first transaction would make is one that a second, begun meanwhile, cannot read.
        try:
            await self._database.create_collection(self.instance)
        except CollectionInvalid:
            pass  # it was there
        except OperationFailure as error:
            if error.code != _NAMESPACE_EXISTS:  # another process made it meanwhile
                raise
        await indexes.make_unique(self._database, self.view, self.instance)
        await DeadLetters(self._database).prepare()
        # Made outside of any transaction, where making a collection is safe against a concurrent maker.
        await self._database[self._checkpoints].update_one(
            {"_id": self._checkpoint_id},
            {
                "$setOnInsert": {
                    "view": self.view.name,
                    "version": self.view.version,
                    "time_zone": self._time_zone,
                    "epoch": 0,
                    "position": self._from,
                    **self._bounds,
                    "snapshot": None,
                    "as_of": None,
                    "updated_at": datetime.now(UTC),
                    "parked_sequences": 0,
                }
            },
            upsert=True,
        )
        found = await self._database[self._checkpoints].find_one_and_update(
            {"_id": self._checkpoint_id, "epoch": {"$lte": epoch}},
            {"$set": {"epoch": epoch}},
            return_document=ReturnDocument.AFTER,
        )
        if found is None:
            raise GuardFailed
        return Checkpoint(found["position"], found["snapshot"], found.get("unparked"))

    async def make_indexes(self) -> None:
        """Make the view's indexes; to be done before anybody reads it."""
        await indexes.make_all(self._database, self.view, self.instance)

    async def load(self, ids: Iterable[str]) -> list[dict[str, Any]]:
        """Those of these documents that exist."""
        wanted = {"_id": {"$in": list(ids)}}
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: list(self._collection.delegate.find(wanted))
        )

    async def write(self, folded: Folded, expected: Checkpoint, parked: int) -> Checkpoint:
        """Write a batch. Raises `GuardFailed`, or what the driver raises; in both cases nothing was written,
        or, when the answer to the commit was lost, all of it: the checkpoint tells."""
        reached, guard, moved = self._move(folded, expected, parked)
        if self._together is not None and self._is_small(folded):
            small = Small(guard, moved, self.instance, folded.writes)
            if await self._together.write(small):
                return reached
        await asyncio.get_running_loop().run_in_executor(self._threads, self._write, folded, guard, moved)
        return reached

    def _move(
        self, folded: Folded, expected: Checkpoint, parked: int
    ) -> tuple[Checkpoint, dict[str, Any], dict[str, Any]]:
        """Where the checkpoint comes to, what finds it only where it is expected to be, and what is set in it."""
        reached = Checkpoint(folded.position, folded.snapshot or expected.snapshot, expected.unparked)
        if folded.settlement is not None:
            reached = msgspec.structs.replace(reached, unparked=(expected.unparked or 0) + 1)
        guard = {
            "_id": self._checkpoint_id,
            "position": expected.position,
            "epoch": self._epoch,
            "unparked": expected.unparked,
        }
        moved: dict[str, Any] = {
            "position": reached.position,
            "snapshot": reached.snapshot,
            "updated_at": datetime.now(UTC),
            "parked_sequences": parked,
        }
        if folded.settlement is None:
            moved["as_of"] = folded.as_of
            if self._tells_what_it_touches(folded):
                moved["touched"] = [reached.position, *(_key(write) for write in folded.writes)]
        else:
            moved["unparked"] = reached.unparked
        return reached, guard, moved

    def _tells_what_it_touches(self, folded: Folded) -> bool:
        # Nobody keeps single counters; and of documents that are marked besides, the writes know nothing.
        if isinstance(self.view, AdditiveView) or folded.dead_letters:
            return False
        return len(folded.writes) <= _MOST_TOLD

    def _is_small(self, folded: Folded) -> bool:
        return not folded.dead_letters and folded.settlement is None and len(folded.writes) <= MOST_WRITES

    def _write(self, folded: Folded, guard: dict[str, Any], moved: dict[str, Any]) -> None:
        try:
            self._transact(folded, guard, moved, folded.writes)
        except BulkWriteError as error:
            if any(failed["code"] != _DUPLICATE_KEY for failed in error.details["writeErrors"]):
                raise
            # A document stands where none should, left by a hand or a restored backup: the fold is the truth.
            self._transact(folded, guard, moved, [_replacing(write) for write in folded.writes])

    def _transact(self, folded: Folded, guard: dict[str, Any], moved: dict[str, Any], writes: Sequence[Write]) -> None:
        database = self._database.delegate
        if not writes and not folded.dead_letters and folded.settlement is None:
            checkpoints = database[self._checkpoints].with_options(write_concern=DURABLE)
            if checkpoints.update_one(guard, {"$set": moved}).matched_count != 1:
                raise GuardFailed
            return
        with (
            self._client.start_session() as session,
            session.start_transaction(read_concern=ReadConcern("local"), write_concern=DURABLE),
        ):
            found = database[self._checkpoints].update_one(guard, {"$set": moved}, session=session)
            if found.matched_count != 1:
                raise GuardFailed
            if isinstance(self.view, AdditiveView) and len(writes) >= _WORTH_A_LOOK:
                writes = self._inserting_what_is_new(writes, session)
            if writes:
                # Ordered, though no two writes touch one document: after an insert that failed, the replacements would
                # be sent into a transaction that is over, and that error would hide what had failed.
                self._collection.delegate.bulk_write(writes, ordered=True, session=session)
            if folded.dead_letters:
                letters = [letter_document(self.instance, self.view.name, letter) for letter in folded.dead_letters]
                database[DEAD_LETTERS].bulk_write(
                    [ReplaceOne({"_id": letter["_id"]}, letter, upsert=True) for letter in letters],
                    ordered=False,
                    session=session,
                )
                self._mark({key for letter in folded.dead_letters for key in letter.documents}, session)
            if folded.settlement is not None:
                self._settle(folded.settlement, session)

    def _inserting_what_is_new(self, writes: Sequence[Write], session: ClientSession) -> list[Write]:
        """The same increments, with an insert for each document that does not exist.

        An increment that has to make its document costs the server thrice as much as an insert, and a look at the
        ids next to nothing. In the transaction: what it has not seen, nobody else can make meanwhile.
        """
        increments = {write._filter["_id"]: write for write in writes if isinstance(write, UpdateOne)}
        standing = self._standing(list(increments), session)
        inserts: list[Write] = [
            InsertOne({"_id": key, **write._doc["$inc"]})  # type: ignore[call-overload]
            for key, write in increments.items()
            if key not in standing
        ]
        return inserts + [increments[key] for key in increments.keys() & standing]

    def _standing(self, keys: Sequence[str], session: ClientSession) -> set[str]:
        standing: set[str] = set()
        for first in range(0, len(keys), _KEYS_IN_A_LOOK):  # so that no question is larger than MongoDB takes
            wanted = {"_id": {"$in": keys[first : first + _KEYS_IN_A_LOOK]}}
            found = self._collection.delegate.find(wanted, {"_id": 1}, session=session)
            standing.update(document["_id"] for document in found)
        return standing

    def _settle(self, settlement: Settlement, session: ClientSession) -> None:
        database = self._database.delegate
        if settlement.letters:
            database[DEAD_LETTERS].bulk_write(settlement.letters, session=session)
        if settlement.history:
            database[HISTORY].insert_many(settlement.history, session=session)
        self._mark(settlement.marked, session)
        if settlement.unmarked:
            self._collection.delegate.update_many(
                {"_id": {"$in": settlement.unmarked}}, {"$unset": {MARK: ""}}, session=session
            )

    def _mark(self, documents: Collection[str], session: ClientSession) -> None:
        if documents:
            self._collection.delegate.update_many(
                {"_id": {"$in": list(documents)}}, {"$set": {MARK: True}}, session=session
            )


def _key(write: Write) -> Any:
    return write._doc["_id"] if isinstance(write, InsertOne) else write._filter["_id"]


def _replacing(write: Write) -> Write:
    if not isinstance(write, InsertOne):
        return write
    document = write._doc
    return ReplaceOne({"_id": document["_id"]}, document, upsert=True)
