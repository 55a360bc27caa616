"""(d) A backup's old snapshot, held open: what a run of the sequencer costs meanwhile, minute by minute.

Dead rows that somebody might still see are not vacuumed: rows that went through the outbox stay in its heap and its
index for as long as the snapshot is held. Events are appended at a fixed rate (open loop) while the sequencer runs
every ten milliseconds; each run that moved something is timed. ``held`` is what is held meanwhile:

``nothing``   the comparison
``snapshot``  a REPEATABLE READ transaction that has read something: a backup
``writer``    a transaction that has appended to the outbox and does not commit: a stuck command
"""

import asyncio
import random
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

from bench.workload import some_order
from eventstore import PendingEvent, Sequencer, append
from runtime.clock import now
from runtime.postgres import connect, make_engine

Held = Literal["nothing", "snapshot", "writer"]
HELD: tuple[Held, ...] = ("nothing", "snapshot", "writer")

_TICK_SECONDS = 0.01
_SLICES = 10


async def measure(url: str, held: Held, rate: int, seconds: int) -> list[dict[str, Any]]:
    """Milliseconds of a run of the sequencer (median, 99th percentile) in each tenth of the time."""
    runs: list[tuple[float, float]] = []
    async with _holding(url, held):
        started = time.perf_counter()
        appending = asyncio.create_task(_append_all(url, rate, seconds, started))
        sequencer = Sequencer(url)
        while not appending.done():
            began = time.perf_counter()
            sequenced = await sequencer.sequence()
            if sequenced.moved:
                runs.append((began - started, (time.perf_counter() - began) * 1000))
            await asyncio.sleep(_TICK_SECONDS)
        await appending
        await sequencer.close()
        dead = await _dead_rows(url)
    return [_row(held, seconds, number, runs) for number in range(_SLICES)] + [
        {"held": held, "seconds": "dead rows in the outbox at the end", "runs": dead, "p50_ms": 0.0, "p99_ms": 0.0}
    ]


def _row(held: Held, seconds: int, number: int, runs: list[tuple[float, float]]) -> dict[str, Any]:
    since, until = number * seconds / _SLICES, (number + 1) * seconds / _SLICES
    costs = [cost for at, cost in runs if since <= at < until]
    cuts = statistics.quantiles(costs, n=100)
    return {
        "held": held,
        "seconds": f"{since:.0f} to {until:.0f}",
        "runs": len(costs),
        "p50_ms": round(cuts[49], 2),
        "p99_ms": round(cuts[98], 2),
    }


@asynccontextmanager
async def _holding(url: str, held: Held) -> AsyncIterator[None]:
    connection = await connect(url, "bench holder")
    engine = make_engine(url, "bench writer", pool_size=1)
    try:
        async with engine.connect() as writer:
            if held == "snapshot":
                await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                await connection.fetch("SELECT count(*) FROM outbox")
            elif held == "writer":
                await append(writer, some_order(random.Random(0), now()).recorded)  # noqa: S311  (load, no secret)
            yield
            await writer.rollback()
    finally:
        connection.terminate()
        await engine.dispose()


async def _append_all(url: str, rate: int, seconds: int, started: float) -> None:
    rng = random.Random(1)  # noqa: S311  (repeatable load, no secret)
    engine = make_engine(url, "bench", pool_size=8)

    async def place(number: int) -> None:
        await asyncio.sleep(started + number / rate - time.perf_counter())
        events: list[PendingEvent] = list(some_order(rng, now()).recorded)
        async with engine.begin() as connection:
            await append(connection, events)

    # In stretches of a second: tasks for all of ten minutes at once would be the load.
    for second in range(seconds):
        await asyncio.gather(*(place(number) for number in range(second * rate, (second + 1) * rate)))
    await engine.dispose()


async def _dead_rows(url: str) -> int:
    connection = await connect(url, "bench")
    try:
        pages: int = await connection.fetchval(
            "SELECT coalesce(n_dead_tup, 0) FROM pg_stat_user_tables WHERE relname = 'outbox'"
        )
        return pages
    finally:
        await connection.close()
