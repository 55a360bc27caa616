"""One process of a rebuild: folds its work up to a fixed position. ``python -m projector.worker TASK``.

It keeps a checkpoint of its own, in the same transaction as its writes, under the epoch of the rebuild's owner: killed
at any moment, another goes on from there. It parks nothing, because parking needs to know all documents of an
aggregate, and a part knows only its own: where an event cannot be folded, it says so by its status, and ends.
"""

import asyncio
import gc
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
import uvloop

from events.values import Value
from eventstore import ArchiveUnavailable, EventLog
from eventstore.log import StoredEvent
from projector.failures import FailurePolicy, StandBy, is_refusal
from projector.feed import decoded
from projector.folding import Folded, Folder, folder_of
from projector.sharing import Work, work_of
from projector.store import Checkpoint, ViewStore
from projector.supervised import ended, settled
from runtime.logs import configure_logs
from runtime.mongo import mongo_database
from runtime.postgres import connect, postgres_url
from runtime.settings import load_settings
from views import all_views
from views.kit import AdditiveView, Calendar, View

log = structlog.get_logger()

POISONED = 3
"""The status of a process that met an event which it cannot fold, or whose effect cannot be written."""

_TURNS_KEY = 0x74_75_72_6E  # "turn"
_BATCHES_IN_ONE, _MOST_IN_ONE = 10, 100_000
"""Nobody waits for these events: larger transactions write each document less often. They are in memory twice over."""


class Task(Value, frozen=True):
    """Which work of which rebuild; the argument of the process, as JSON."""

    view: str
    instance: str
    epoch: int
    number: int
    of: int
    until: int


class Poisoned(Exception):
    """An event cannot be folded in a part, or what comes of it not be written."""


async def _work(view: View, task: Task) -> None:
    settings = load_settings()
    configure_logs(settings, process=f"rebuild {task.instance}")
    database = mongo_database(settings, f"rebuild {task.instance}")
    work = work_of(view, task.number, task.of, task.until)
    with ThreadPoolExecutor(2) as threads:
        store = ViewStore(database, view, task.instance, threads, part=work)
        policy = FailurePolicy(settings.park_after_attempts)
        folder = folder_of(view, policy, Calendar(settings.zone), work.documents)
        url, archive_dir = postgres_url(settings), settings.archives
        async with EventLog(url, "rebuild", archive_dir=archive_dir, pool_size=2) as event_log:
            turns = _Turns(url, task.instance)
            writes_alone = turns if isinstance(view, AdditiveView) else nullcontext()
            limit = min(_BATCHES_IN_ONE * settings.batch_limit, _MOST_IN_ONE)
            worker = _Worker(work, event_log, store, folder, limit, writes_alone)
            while not await _attempt(worker, policy, task.epoch):
                turns.close()
                folder.forget()
            turns.close()
    database.client.close()


@dataclass(frozen=True)
class _Worker:
    """What it does, and what it does it with; ``limit``: most events in one transaction."""

    work: Work
    event_log: EventLog
    store: ViewStore
    folder: Folder
    limit: int
    turns: AbstractAsyncContextManager[None]


async def _attempt(worker: _Worker, policy: FailurePolicy, epoch: int) -> bool:
    """Go on from the part's checkpoint to the end. False where it is to be tried again."""
    store = worker.store
    try:
        checkpoint = await store.prepare(epoch)
        worker.folder.discarded = await store.letters.discarded()
        await _fold_all(worker, checkpoint)
    except (Poisoned, ArchiveUnavailable):
        raise  # the rebuild's owner looks at the archives itself, and says in its health what is wrong with them
    except Exception as error:
        if is_refusal(error):
            raise Poisoned from error
        decision = policy.batch_failed(error)
        if isinstance(decision, StandBy):
            raise  # the rebuild has another owner, who has started workers of its own
        log.warning("batch begun again", instance=store.instance, error=str(error)[:300])
        await asyncio.sleep(decision.after_seconds)
        return False
    return True


async def _fold_all(worker: _Worker, checkpoint: Checkpoint) -> None:
    store, folder, work = worker.store, worker.folder, worker.work
    types = sorted(event_type.__name__ for event_type in store.view.event_types)

    def read(after: int) -> "asyncio.Task[Sequence[StoredEvent]]":
        found = worker.event_log.of_types(types, after, work.until, worker.limit, work.share)
        return asyncio.create_task(found)

    reading: asyncio.Task[Sequence[StoredEvent]] = read(checkpoint.position)
    writing: asyncio.Task[Checkpoint] | None = None
    try:
        while stored := await reading:
            # The next batch is read, and this one folded, while the last is written.
            reading = read(stored[-1].position)
            folded = await folder.fold([decoded(row) for row in stored], store)
            if folded.dead_letters:
                raise Poisoned
            if writing is not None:
                checkpoint = await writing
                folder.committed()
            writing = asyncio.create_task(_written(worker, folded, checkpoint))
        if writing is not None:
            await writing
    finally:
        await ended(reading)
        if writing is not None:
            await settled(writing)


class _Turns:
    """Lets workers that add to the same counters write one after the other: side by side, all but one would conflict
    and begin their transaction again. They still read and fold side by side."""

    def __init__(self, url: str, instance: str) -> None:
        self._url = url
        self._instance = instance
        self._connection: Any = None

    async def __aenter__(self) -> None:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(self._url, "rebuild turns")
        await self._connection.execute("SELECT pg_advisory_lock($1, hashtext($2))", _TURNS_KEY, self._instance)

    async def __aexit__(self, *_: object) -> None:
        await self._connection.execute("SELECT pg_advisory_unlock($1, hashtext($2))", _TURNS_KEY, self._instance)

    def close(self) -> None:
        """Give up the turn with the connection."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


async def _written(worker: _Worker, folded: Folded, checkpoint: Checkpoint) -> Checkpoint:
    async with worker.turns:
        return await worker.store.write(folded, checkpoint, parked=0)


def main() -> None:
    """The worker process: one part of one rebuild, told by its argument. Ends with status 0 when it is done."""
    task = msgspec.json.decode(sys.argv[1], type=Task)
    # What a batch makes is dropped with the batch, and has no cycles to look for; the process ends with its part.
    gc.disable()
    try:
        uvloop.run(_work(all_views()[task.view], task))
    except Poisoned:
        sys.exit(POISONED)
    except ArchiveUnavailable as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
