"""Small writes of several views that come at the same moment, in one transaction: one guard for each, one commit.

Every view moves its checkpoint for every batch, also those that take nothing of it: consistency tokens wait for that.
One by one that is a command and a flush of the journal for each, however little there is to say.

What is guaranteed
    A view's documents and its checkpoint are written together, under its own guard, or not at all. Where anything in
    the shared transaction fails, a guard or a document, nothing of it is written, and each view writes alone: so the
    failure is found by the one whose it is, at once, and the others go on.

Alone, and not here one after the other: whoever has to wait then, for a lock that somebody holds on its checkpoint,
must not keep the others waiting. In a transaction nobody waits for a lock: it fails, and that is why a checkpoint that
moves alone is moved in one too.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from pymongo import InsertOne, MongoClient
from pymongo.client_session import ClientSession
from pymongo.errors import ConnectionFailure
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from projector.folding import Write
from runtime.group_commit import GroupCommit
from runtime.mongo import Database

DURABLE = WriteConcern("majority", j=True)
MOST_WRITES = 100
"""Of one view. Larger batches are better written side by side, each in a transaction of its own."""


class Small(msgspec.Struct):
    """A batch of one view: the move of its checkpoint (``guard`` finds it only where it is expected), and documents."""

    guard: dict[str, Any]
    moved: dict[str, Any]
    collection: str
    writes: Sequence[Write]
    is_written: bool = False


class _ApartInstead(Exception):
    """A guard or a write has failed; whose, each finds out by itself."""


class Together:
    """The small writes of one process. Those that come while some are being written go together next."""

    def __init__(self, database: Database, checkpoints: str) -> None:
        self._checkpoints = checkpoints
        self._client: MongoClient[dict[str, Any]] = database.client.delegate
        self._database = database.delegate
        self._group = GroupCommit[Small](self._write)

    async def write(self, one: Small) -> bool:
        """Write it with whatever else is waiting. False where nothing was written: it is to be written alone then.

        Raises what the driver raises where MongoDB is away, or the answer to the commit was lost.
        """
        await self._group.add(one)
        return one.is_written

    def _write(self, batch: Sequence[Small]) -> None:
        with self._client.start_session() as session:
            session.start_transaction(read_concern=ReadConcern("local"), write_concern=DURABLE)
            try:
                self._apply(batch, session)
            except ConnectionFailure:
                raise  # it would fail for each alone too, some seconds later
            except Exception:  # whatever it is, alone it is the failure of its own view
                session.abort_transaction()
                return
            # Whoever hears of an error from here on does not know what was written: it is not to be written again.
            session.commit_transaction()
        for one in batch:
            one.is_written = True

    def _apply(self, batch: Sequence[Small], session: ClientSession) -> None:
        moves = [{"q": one.guard, "u": {"$set": one.moved}} for one in batch]
        self._all_match("update", self._checkpoints, moves, session)
        self._write_documents(batch, session)

    def _write_documents(self, batch: Sequence[Small], session: ClientSession) -> None:
        for one in batch:
            inserts = [write._doc for write in one.writes if isinstance(write, InsertOne)]
            others = [
                {"q": write._filter, "u": write._doc, "upsert": write._upsert}
                for write in one.writes
                if not isinstance(write, InsertOne)
            ]
            if inserts:
                self._all_match("insert", one.collection, inserts, session)
            if others:
                self._all_match("update", one.collection, others, session)

    def _all_match(self, kind: str, collection: str, writes: Sequence[Any], session: ClientSession) -> None:
        # As a plain command: the driver's bulk costs half as much again, to tell which of the writes has failed. Here
        # it is enough that one has; alone, the bulk tells.
        what = "updates" if kind == "update" else "documents"
        answer = self._database.command(kind, collection, **{what: writes}, session=session)
        if answer["n"] != len(writes) or "writeErrors" in answer:
            raise _ApartInstead
