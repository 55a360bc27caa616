"""The progress of a rebuild: a bar with rate and time left on a terminal, plain lines elsewhere."""

import asyncio
import sys
from collections.abc import Awaitable, Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from projector.progress import head_of, position_of
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
            position, head = await position_of(database, instance), await head_of(database)
            progress.update(task, completed=position, total=max(head, position))
            if progress.disable and looked % _LINE_SECONDS < _LOOK_SECONDS:
                console.print(f"{instance}: {position:,} of {head:,} events")
            looked += _LOOK_SECONDS
            await asyncio.sleep(_LOOK_SECONDS)
        progress.update(task, completed=await head_of(database), total=await head_of(database))
