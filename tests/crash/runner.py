"""`readside projector` as a process that kills itself at a named point: ``python -m tests.crash.runner POINT NTH``.

Without reactions, which have crash tests of their own: what they write is not among the facts that the shop
acknowledged, and the log would never be what the shop says.

The points are put around the product's own functions from here, so that nothing in the product knows of them. A kill
is SIGKILL: no handler runs, nothing is flushed, no connection is closed politely.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from pymongo import MongoClient
from pymongo.client_session import ClientSession

from command import background
from eventstore import Sequencer, sequencer
from projector import bulk, indexes
from projector.feed import PostgresFeed
from projector.folding import Folded, Write
from projector.store import CHECKPOINTS, Checkpoint, ViewStore
from projector.together import Small, Together
from views.kit import AdditiveView, View

R = TypeVar("R")


class Death:
    """Comes at the nth time that somebody gets here."""

    def __init__(self, nth: int) -> None:
        self._left = nth

    def here(self) -> None:
        """Die, if it is time."""
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def before(owner: type, name: str) -> Callable[[Death], None]:
    """The moment before this method does anything."""

    def install(death: Death) -> None:
        method = getattr(owner, name)

        def dying(*arguments: Any, **named: Any) -> Any:
            death.here()
            return method(*arguments, **named)

        setattr(owner, name, dying)

    return install


def after(owner: type, name: str) -> Callable[[Death], None]:
    """The moment after this method has done everything, before anybody knows."""

    def install(death: Death) -> None:
        method = getattr(owner, name)

        def dying(*arguments: Any, **named: Any) -> Any:
            result = method(*arguments, **named)
            death.here()
            return result

        setattr(owner, name, dying)

    return install


class DyingConnection:
    """The sequencer's connection, deadly around one statement."""

    def __init__(self, connection: Any, statement: str, death: Death) -> None:
        self._connection, self._statement, self._death = connection, statement, death

    async def fetchrow(self, statement: str, *values: object) -> Any:
        """The statement, and then the end, if it moved anything."""
        row = await self._connection.fetchrow(statement, *values)
        if statement == self._statement and row.get("moved_count") != 0:
            self._death.here()
        return row

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def after_statement(statement: str) -> Callable[[Death], None]:
    """The moment after the sequencer's statement, in its open transaction."""

    def install(death: Death) -> None:
        connected: Callable[[Sequencer], Awaitable[Any]] = Sequencer._connected

        async def dying(self: Sequencer) -> DyingConnection:
            return DyingConnection(await connected(self), statement, death)

        Sequencer._connected = dying  # type: ignore[method-assign]

    return install


def after_sequencing(death: Death) -> None:
    """The moment after the sequencer's commit, before the projections hear of it."""
    advance = PostgresFeed.advance

    async def dying(self: PostgresFeed, head: int) -> None:
        if head > self.head > 0:
            death.here()
        await advance(self, head)

    PostgresFeed.advance = dying  # type: ignore[method-assign]


def after_settling(death: Death) -> None:
    """The moment after dead letters were settled, before anybody knows."""
    write = ViewStore.write

    async def dying(self: ViewStore, folded: Folded, expected: Checkpoint, parked: int) -> Checkpoint:
        reached = await write(self, folded, expected, parked)
        if folded.settlement is not None:
            death.here()
        return reached

    ViewStore.write = dying  # type: ignore[method-assign]


def while_rebuilding(death: Death) -> None:
    """The moment after a batch was written to a view that is built afresh, by one process."""
    write = ViewStore.write

    async def dying(self: ViewStore, folded: Folded, expected: Checkpoint, parked: int) -> Checkpoint:
        reached = await write(self, folded, expected, parked)
        if ".g" in self.instance:
            death.here()
        return reached

    ViewStore.write = dying  # type: ignore[method-assign]


def in_bulk(moment: Callable[[Death], None]) -> Callable[[Death], None]:
    """A moment of a rebuild that is shared out over several processes, however short the log is."""

    def install(death: Death) -> None:
        bulk.WORTH_IT = 1
        moment(death)

    return install


def before_taking_over(death: Death) -> None:
    """The moment when every process of a rebuild is done, and the view's own checkpoint does not know it."""

    async def dying(*_: object) -> None:
        death.here()

    bulk._take_over = dying  # type: ignore[assignment]


def before_the_indexes(death: Death) -> None:
    """The moment when every process of a rebuild is done, and there is no index yet."""
    make_all = indexes.make_all

    async def dying(database: Any, view: View, instance: str) -> None:
        if ".g" in instance:
            death.here()
        await make_all(database, view, instance)

    indexes.make_all = dying


def while_indexing(death: Death) -> None:
    """The moment when the server is at work on the indexes of a rebuild."""
    make_all = indexes.make_all

    async def dying(database: Any, view: View, instance: str) -> None:
        making = asyncio.create_task(make_all(database, view, instance))
        if ".g" in instance:
            await asyncio.sleep(0.005)
            death.here()
        await making

    indexes.make_all = dying


def checkpoint_runs_ahead(death: Death) -> None:
    """A planted bug, and a death in the gap that it leaves: the checkpoint is written before the documents."""

    def wrong(
        self: ViewStore, folded: Folded, guard: dict[str, Any], moved: dict[str, Any], writes: Sequence[Write]
    ) -> None:
        del folded
        self._database.delegate[CHECKPOINTS].update_one(guard, {"$set": moved})
        if writes:
            death.here()
            self._collection.delegate.bulk_write(writes, ordered=False)

    ViewStore._transact = wrong  # type: ignore[method-assign]
    each_by_itself()


def documents_run_ahead(death: Death) -> None:
    """Another planted bug: the documents are written before the checkpoint, and not together with it."""
    transact = ViewStore._transact

    def wrong(
        self: ViewStore, folded: Folded, guard: dict[str, Any], moved: dict[str, Any], writes: Sequence[Write]
    ) -> None:
        if writes:
            self._collection.delegate.bulk_write(writes, ordered=False)
            if isinstance(self.view, AdditiveView):  # here the next life counts again for certain
                death.here()
        folded.writes = []
        transact(self, folded, guard, moved, [])

    ViewStore._transact = wrong  # type: ignore[method-assign]
    each_by_itself()


def each_by_itself() -> None:
    """No view writes together with others."""
    ViewStore._is_small = lambda *_: False  # type: ignore[method-assign]


def shared_checkpoints_run_ahead(death: Death) -> None:
    """The first bug again, where views write together: all checkpoints are moved outside of the transaction."""

    def wrong(self: Together, batch: Sequence[Small], session: ClientSession) -> None:
        for one in batch:
            self._database[CHECKPOINTS].update_one(one.guard, {"$set": one.moved})
        if any(one.writes for one in batch):
            death.here()
        self._write_documents(batch, session)

    Together._apply = wrong  # type: ignore[method-assign]


NEVER: dict[str, Callable[[Death], None]] = {"never": lambda _: None}
POINTS: dict[str, Callable[[Death], None]] = {
    "before a transaction begins": before(MongoClient, "start_session"),
    "between the checkpoint and the documents": before(Together, "_write_documents"),
    "before the commit": before(ClientSession, "commit_transaction"),
    "after the commit": after(ClientSession, "commit_transaction"),
    "after the sequencer's lock": after_statement(sequencer._LOCK),
    "after the rows were moved and before that is committed": after_statement(sequencer._MOVE),
    "after the sequencer's commit": after_sequencing,
}
REPAIRS: dict[str, Callable[[Death], None]] = {
    "before dead letters are settled": before(ViewStore, "_settle"),
    "after dead letters were settled": after_settling,
}
REBUILDS: dict[str, Callable[[Death], None]] = {
    "in the middle of a rebuild": while_rebuilding,
    "before the indexes of a rebuild are made": in_bulk(before_the_indexes),
    "while the indexes of a rebuild are made": in_bulk(while_indexing),
    "before the parts of a rebuild are taken over": in_bulk(before_taking_over),
}
PLANTED_BUGS: dict[str, Callable[[Death], None]] = {
    "the checkpoint runs ahead": checkpoint_runs_ahead,
    "the documents run ahead": documents_run_ahead,
    "shared checkpoints run ahead": shared_checkpoints_run_ahead,
}


def main(point: str, nth: str) -> None:
    """Run the projector until it dies there."""
    (NEVER | POINTS | REPAIRS | REBUILDS | PLANTED_BUGS)[point](Death(int(nth)))
    background.reactions = background.jobs = tuple
    from readside.servers import projector

    projector(port=0)


if __name__ == "__main__":
    main(*sys.argv[1:])
