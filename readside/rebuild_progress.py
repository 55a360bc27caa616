"""The progress of a rebuild: a bar with rate and time left on a terminal, plain lines elsewhere."""

import asyncio
import sys
from collections.abc import Awaitable, Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from projector.registry import REGISTRY
from projector.store import CHECKPOINTS, PARTS
from runtime.mongo import Database

_LOOK_SECONDS = 0.2
_LINE_SECONDS = 5.0


async def follow(database: Database, instance: str, is_done: Callable[[], Awaitable[bool]]) -> None:
    """Show how far an instance has come, until it is served."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(instance, total=None)
        looked = 0.0
        while not await is_done():
            position, head = await _position(database, instance), await _head(database)
            progress.update(task, completed=position, total=max(head, position))
            if progress.disable and looked % _LINE_SECONDS < _LOOK_SECONDS:
                console.print(f"{instance}: {position:,} of {head:,} events")
            looked += _LOOK_SECONDS
            await asyncio.sleep(_LOOK_SECONDS)
        progress.update(task, completed=await _head(database), total=await _head(database))


async def _position(database: Database, instance: str) -> int:
    found = await database[CHECKPOINTS].find_one({"_id": instance})
    if found is None or found["position"]:
        return 0 if found is None else int(found["position"])
    # The bulk part: as much of it as the parts have done of theirs, wherever in the log each of them began.
    parts = [part async for part in database[PARTS].find({"_id": {"$regex": f"^{instance}#"}})]
    done = sum(part["position"] - part["after"] for part in parts)
    whole = sum(part["until"] - part["after"] for part in parts)
    return int(found["bulk"]["until"] * done / whole) if whole and found.get("bulk") else 0


async def _head(database: Database) -> int:
    found = await database[REGISTRY].find_one({"_id": "$log"})
    return int(found["head"]) if found else 0
