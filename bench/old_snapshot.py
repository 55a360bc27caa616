"""A backup's old snapshot, held open: what a run of the sequencer costs meanwhile, beside one without.

Dead rows that somebody might still see are not vacuumed: what went through the outbox stays in its heap and its index
for as long as the snapshot is held. Two databases get the same events at the same fixed rate (open loop), and their
sequencers run in turns, every ten milliseconds; in one of them nothing is held. So whatever else the machine does in
that minute, it does to both. ``held`` is what is held in the other:

``nothing``   the comparison of the comparison
``snapshot``  a REPEATABLE READ transaction that has read something: a backup
``writer``    a transaction that has appended to the outbox and does not commit: a stuck command
"""

import asyncio
import random
import statistics
import time
from argparse import ArgumentParser
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

from bench.suite import Bench, Part, Row
from bench.workload import some_order
from eventstore import PendingEvent, Sequencer, append
from runtime.clock import now
from runtime.postgres import connect, make_engine

Held = Literal["nothing", "snapshot", "writer"]
HELD: tuple[Held, ...] = ("nothing", "snapshot", "writer")

_TICK_SECONDS = 0.01
_SLICES = 10

Run = tuple[float, float]
"""When it began, in seconds, and what it cost, in milliseconds."""


async def measure(held_url: str, free_url: str, held: Held, rate: int, seconds: int) -> list[dict[str, Any]]:
    """Milliseconds of a run that moved something, in each tenth of the time, with and without."""
    with_it: list[Run] = []
    without: list[Run] = []
    async with _holding(held_url, held):
        started = time.perf_counter()
        appending = asyncio.gather(*(_append_all(url, rate, seconds, started) for url in (held_url, free_url)))
        pairs = (Sequencer(held_url), with_it), (Sequencer(free_url), without)
        while not appending.done():
            for sequencer, runs in pairs:
                began = time.perf_counter()
                if (await sequencer.sequence()).moved:
                    runs.append((began - started, (time.perf_counter() - began) * 1000))
            await asyncio.sleep(_TICK_SECONDS)
        await appending
        for sequencer, _ in pairs:
            await sequencer.close()
        pages = [await _outbox_pages(url) for url in (held_url, free_url)]
    rows = [_row(held, number * seconds / _SLICES, seconds / _SLICES, with_it, without) for number in range(_SLICES)]
    size = {
        "seconds": "outbox, pages",
        "p50_with": pages[0],
        "p50_without": pages[1],
        "p99_with": "",
        "p99_without": "",
    }
    return [*rows, {"ratio": "", "held": held, **size}]


def _row(held: Held, since: float, length: float, with_it: list[Run], without: list[Run]) -> dict[str, Any]:
    costs = [[cost for at, cost in runs if since <= at < since + length] for runs in (with_it, without)]
    cuts = [statistics.quantiles(one, n=100) for one in costs]
    return {
        "ratio": round(cuts[0][49] / cuts[1][49], 2),
        "held": held,
        "seconds": f"{since:.0f} to {since + length:.0f}",
        "p50_with": round(cuts[0][49], 2),
        "p50_without": round(cuts[1][49], 2),
        "p99_with": round(cuts[0][98], 2),
        "p99_without": round(cuts[1][98], 2),
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


async def _outbox_pages(url: str) -> int:
    connection = await connect(url, "bench")
    try:
        pages: int = await connection.fetchval("SELECT pg_relation_size('outbox') / 8192")
        return pages
    finally:
        await connection.close()


async def _measure(bench: Bench) -> list[Row]:
    rows: list[Row] = []
    for held in bench.options.held:
        urls = [await bench.fresh(f"bench_{which}_{held}") for which in ("held", "free")]
        rows += await measure(urls[0], urls[1], held, bench.options.rate, bench.options.seconds)
    return rows


def _options(arguments: ArgumentParser) -> None:
    arguments.add_argument("--seconds", type=int, default=600, help="of old-snapshot")
    arguments.add_argument("--rate", type=int, default=300, help="events a second, of old-snapshot")
    arguments.add_argument("--held", nargs="*", default=HELD, choices=HELD, help="of old-snapshot")


part = Part(
    "old-snapshot",
    "milliseconds of one sequencer run, beside somebody who holds something; half an hour",
    _measure,
    by_default=False,
    orders=(),
    options=_options,
)
