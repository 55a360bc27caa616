"""The bulk part of a rebuild: several processes fold the log up to a fixed position, each its own work.

How that is shared out is `projector.sharing`, what one process does `projector.worker`. When all parts are at the
position, the indexes are made, and then the checkpoint of the instance takes the position over: the ordinary runner
follows the log from there. A killed worker, or owner, goes on from what the checkpoints of the parts say.
"""

import asyncio
import os
import re
import sys
from contextlib import suppress
from typing import Any

import msgspec
import structlog
from pymongo.errors import OperationFailure

from eventstore import EventLog
from projector import indexes
from projector.failures import is_refusal
from projector.sharing import SHARING
from projector.store import CHECKPOINTS, PARTS, part_id
from projector.worker import POISONED, Task
from runtime.mongo import Database
from runtime.settings import Settings
from views.kit import View

log = structlog.get_logger()

WORTH_IT = 100_000
"""Events below which starting processes takes longer than folding."""


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
    plan = await _plan(database, instance, target, epoch)
    tasks = [Task(view.name, instance, epoch, number, plan["of"], plan["until"]) for number in range(plan["of"])]
    running = [await _start(settings, task) for task in tasks]
    try:
        statuses = await asyncio.gather(*(process.wait() for process in running))
    finally:
        for process in running:
            with suppress(ProcessLookupError):
                process.kill()
    if POISONED in statuses:
        log.warning("an event cannot be folded: built by one process instead", instance=instance)
        await _start_over(database, instance, epoch)
        return
    if any(statuses):
        raise BulkFailed(f"workers of {instance} ended with {statuses}")
    try:
        await indexes.make_all(database, view, instance)
    except OperationFailure as error:
        if not is_refusal(error):
            raise
        log.warning("a document cannot be indexed: built by one process instead", instance=instance)
        await _start_over(database, instance, epoch)
        return
    await _take_over(database, event_log, instance, plan, epoch)


async def is_begun(database: Database, instance: str) -> bool:
    """Whether parts of it may have been written already."""
    found = await database[CHECKPOINTS].find_one({"_id": instance}, {"bulk": 1})
    return found is not None and found.get("bulk") is not None


class BulkFailed(OSError):
    """A worker process ended early; what it wrote counts, and the rest is begun again."""


async def _plan(database: Database, instance: str, target: int, epoch: int) -> dict[str, Any]:
    # Remembered: a rebuild that goes on after a crash must share the work out as before.
    found = await database[CHECKPOINTS].find_one({"_id": instance})
    remembered: dict[str, Any] | None = None if found is None else found.get("bulk")
    if remembered is not None and remembered.get("sharing") == SHARING:
        return remembered
    if remembered is not None:
        await _start_over(database, instance, epoch)
    plan = {"of": workers(), "until": target, "sharing": SHARING}
    await database[CHECKPOINTS].update_one({"_id": instance, "epoch": epoch}, {"$set": {"bulk": plan}})
    return plan


async def _start(settings: Settings, task: Task) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "projector.worker",
        msgspec.json.encode(task).decode(),
        env=os.environ | settings.environment(),
    )


async def _take_over(database: Database, event_log: EventLog, instance: str, plan: dict[str, Any], epoch: int) -> None:
    # What the parts saw of snapshots is not enough: the last one may stand on an event that none of them needed.
    snapshot, recorded_at = await event_log.complete_up_to(plan["until"])
    await database[CHECKPOINTS].update_one(
        {"_id": instance, "epoch": epoch, "position": 0},
        {"$set": {"position": plan["until"], "snapshot": snapshot, "as_of": recorded_at, "bulk": None}},
    )
    ids = [part_id(instance, number) for number in range(plan["of"])]
    await database[PARTS].delete_many({"_id": {"$in": ids}})


async def _start_over(database: Database, instance: str, epoch: int) -> None:
    checkpoint = {"_id": instance, "epoch": epoch}
    # Known as begun until the last document is gone, and as shared out in no way that anybody could go on with: what a
    # crash leaves in the middle of this would otherwise be folded upon.
    found = await database[CHECKPOINTS].update_one(checkpoint, {"$set": {"bulk": {"sharing": None}}})
    if found.matched_count == 1:
        await database[PARTS].delete_many({"_id": {"$regex": f"^{re.escape(instance)}#"}})
        await database[instance].delete_many({})
        await database[CHECKPOINTS].update_one(checkpoint, {"$set": {"bulk": None}})
