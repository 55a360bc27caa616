"""The bulk part of a rebuild: several processes fold the log up to a fixed position, each its own documents.

Every worker reads the events that the view takes, folds its part of them, and keeps a checkpoint of its own in the
same transaction as its writes, under the epoch of the rebuild's owner. Where an event touches its own aggregate's
document, or adds to counters, the events are shared out by aggregate, and those of others are not even decoded;
otherwise the documents are shared out by key. A killed worker, or owner,
goes on from there. When all parts are at the position, the checkpoint of the instance takes it over, and the ordinary
runner follows the log from there.
"""

import asyncio
import gc
import json
import os
import re
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import structlog
import uvloop

from events.envelope import Envelope
from eventstore import ArchiveUnavailable, EventLog
from eventstore.log import StoredEvent
from projector.failures import FailurePolicy, StandBy, is_refusal
from projector.feed import decoded
from projector.folding import WHOLE, Folded, Folder, Part, folder_of
from projector.sampling import has_own_documents
from projector.store import CHECKPOINTS, PARTS, Checkpoint, ViewStore, part_id
from projector.supervised import ended, settled
from runtime.logs import configure_logs
from runtime.mongo import Database, mongo_database
from runtime.postgres import connect, postgres_url
from runtime.settings import Settings, load_settings
from views import all_views
from views.kit import AdditiveView, Calendar, View

log = structlog.get_logger()

WORTH_IT = 100_000
"""Events below which starting processes takes longer than folding."""


_POISONED = 3
_TURNS_KEY = 0x74_75_72_6E  # "turn"
_BATCHES_IN_ONE = 5
"""Nobody waits for these events: larger transactions write each document less often."""


def workers() -> int:
    """One per core, but no more than share the work well."""
    return min(4, max(2, os.cpu_count() or 2))


async def build(
    database: Database, event_log: EventLog, settings: Settings, view: View, instance: str, epoch: int, target: int
) -> None:
    """Fold everything up to ``target``, in parallel. Raises `BulkFailed` where a worker failed: begin again.

    Where an event cannot be folded, nothing is left of it: the runner then builds the instance alone, from the first
    event on. Parking needs to know all documents of an aggregate, and a part knows only its own.
    """
    await event_log.check_archives(0)
    plan = await _plan(database, instance, target)
    running = [await _start(settings, view, instance, number, plan, epoch) for number in range(plan["of"])]
    try:
        statuses = await asyncio.gather(*(process.wait() for process in running))
    finally:
        for process in running:
            with suppress(ProcessLookupError):
                process.kill()
    if _POISONED in statuses:
        log.warning("an event cannot be folded: built by one process instead", instance=instance)
        await _start_over(database, instance, epoch)
        return
    if any(statuses):
        raise BulkFailed(f"workers of {instance} ended with {statuses}")
    await _take_over(database, event_log, instance, plan, epoch)


async def is_begun(database: Database, instance: str) -> bool:
    """Whether parts of it may have been written already."""
    found = await database[CHECKPOINTS].find_one({"_id": instance}, {"bulk": 1})
    return found is not None and found.get("bulk") is not None


class Poisoned(Exception):
    """An event cannot be folded in a part, or what comes of it not be written."""


class BulkFailed(OSError):
    """A worker process ended early; what it wrote counts, and the rest is begun again."""


async def _plan(database: Database, instance: str, target: int) -> dict[str, int]:
    # Remembered: a rebuild that goes on after a crash must share the work out as before.
    plan = {"of": workers(), "until": target}
    found = await database[CHECKPOINTS].find_one({"_id": instance})
    if found is not None and found.get("bulk") is not None:
        remembered: dict[str, int] = found["bulk"]
        return remembered
    await database[CHECKPOINTS].update_one({"_id": instance}, {"$set": {"bulk": plan}})
    return plan


async def _start(
    settings: Settings, view: View, instance: str, number: int, plan: dict[str, int], epoch: int
) -> asyncio.subprocess.Process:
    task = {"view": view.name, "instance": instance, "number": number, "epoch": epoch, **plan}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "projector.bulk", json.dumps(task), env=os.environ | settings.environment()
    )


async def _take_over(database: Database, event_log: EventLog, instance: str, plan: dict[str, int], epoch: int) -> None:
    # What the parts saw of snapshots is not enough: the last one may stand on an event that none of them needed.
    snapshot, recorded_at = await event_log.complete_up_to(plan["until"])
    await database[CHECKPOINTS].update_one(
        {"_id": instance, "epoch": epoch, "position": 0},
        {"$set": {"position": plan["until"], "snapshot": snapshot, "as_of": recorded_at, "bulk": None}},
    )
    ids = [part_id(instance, number) for number in range(plan["of"])]
    await database[PARTS].delete_many({"_id": {"$in": ids}})


async def _start_over(database: Database, instance: str, epoch: int) -> None:
    found = await database[CHECKPOINTS].update_one({"_id": instance, "epoch": epoch}, {"$set": {"bulk": None}})
    if found.matched_count == 1:
        await database[PARTS].delete_many({"_id": {"$regex": f"^{re.escape(instance)}#"}})
        await database[instance].delete_many({})


async def _work(view: View, task: dict[str, Any]) -> None:
    settings = load_settings()
    configure_logs(settings, process=f"rebuild {task['instance']}")
    database = mongo_database(settings, f"rebuild {task['instance']}")
    part = Part(task["number"], task["of"])
    with ThreadPoolExecutor(2) as threads:
        store = ViewStore(database, view, task["instance"], threads, part=part.number)
        policy = FailurePolicy(settings.park_after_attempts)
        by_event = isinstance(view, AdditiveView) or has_own_documents(view)
        folder = folder_of(view, policy, Calendar(settings.zone), WHOLE if by_event else part)
        url, archive_dir = postgres_url(settings), settings.archives
        async with EventLog(url, "rebuild", archive_dir=archive_dir, pool_size=2) as event_log:
            turns = _Turns(url, task["instance"])
            work = _Work(
                event_log,
                store,
                folder,
                events=part if by_event else WHOLE,
                until=task["until"],
                batch_limit=settings.batch_limit,
                turns=turns if isinstance(view, AdditiveView) else nullcontext(),
            )
            while not await _attempt(work, policy, task["epoch"]):
                turns.close()
                folder.forget()
            turns.close()
    database.client.close()


@dataclass(frozen=True)
class _Work:
    """What a worker does; ``events``: the part of the events that it folds at all."""

    event_log: EventLog
    store: ViewStore
    folder: Folder
    events: Part
    until: int
    batch_limit: int
    turns: AbstractAsyncContextManager[None]

    def own(self, stored: Sequence[StoredEvent]) -> list[Envelope]:
        """Those that this worker folds, decoded."""
        if self.events == WHOLE:
            return [decoded(row) for row in stored]
        return [decoded(row) for row in stored if self.events.holds(row.aggregate_id)]


async def _attempt(work: _Work, policy: FailurePolicy, epoch: int) -> bool:
    """Go on from the part's checkpoint to the end. False where it is to be tried again."""
    store = work.store
    try:
        checkpoint = await store.prepare(epoch)
        work.folder.discarded = await store.letters.discarded()
        await _fold_all(work, checkpoint)
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


async def _fold_all(work: _Work, checkpoint: Checkpoint) -> None:
    store, folder = work.store, work.folder
    types = sorted(event_type.__name__ for event_type in store.view.event_types)
    limit = _BATCHES_IN_ONE * work.batch_limit

    def read(after: int) -> "asyncio.Task[Sequence[StoredEvent]]":
        return asyncio.create_task(work.event_log.of_types(types, after, work.until, limit))

    reading: asyncio.Task[Sequence[StoredEvent]] = read(checkpoint.position)
    writing: asyncio.Task[Checkpoint] | None = None
    try:
        while stored := await reading:
            # The next batch is read, and this one folded, while the last is written.
            reading = read(stored[-1].position)
            own = work.own(stored)
            if not own:
                continue
            folded = await folder.fold(own, store)
            if folded.dead_letters:
                raise Poisoned
            if writing is not None:
                checkpoint = await writing
                folder.committed()
            writing = asyncio.create_task(_written(work, folded, checkpoint))
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


async def _written(work: _Work, folded: Folded, checkpoint: Checkpoint) -> Checkpoint:
    async with work.turns:
        return await work.store.write(folded, checkpoint, parked=0)


def main() -> None:
    """The worker process: one part of one rebuild, told by its argument. Ends with status 0 when it is done."""
    task = json.loads(sys.argv[1])
    # What a batch makes is dropped with the batch, and has no cycles to look for; the process ends with its part.
    gc.disable()
    try:
        uvloop.run(_work(all_views()[task["view"]], task))
    except Poisoned:
        sys.exit(_POISONED)
    except ArchiveUnavailable as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
