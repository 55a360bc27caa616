"""(a) Rebuild: a view built afresh by several processes, against the same built by one, in turns on the same log.

Both are asked for as an operator asks (`readside projections rebuild`) and timed from the request until the new
instance is at the head: starting the workers counts. The views that are served are kept current meanwhile, and idle.
"""

import asyncio
import statistics
import time
from typing import Any

from motor.motor_asyncio import AsyncIOMotorClient

from bench.projectors import running_projector
from bench.suite import Bench, Part, Row
from bench.workload import fill_log
from projector.bulk import workers
from projector.registry import Registry
from tests.instances import instance
from views import all_views

_ALONE = "import projector.bulk; projector.bulk.WORTH_IT = 10**12"
_VIEWS = ("order_detail", "sales_statistics")


async def measure(urls: tuple[str, str], head: int, rounds: int) -> list[dict[str, Any]]:
    """For each view: events a second alone and with workers (medians), and their ratio."""
    rates: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds):
        for how, first in (("alone", _ALONE), ("workers", "")):
            for view, seconds in (await _seconds(urls, f"bench_rebuild_{number}_{how}", head, first)).items():
                rates.setdefault((view, how), []).append(head / seconds)
    rows = []
    for view in _VIEWS:
        alone, together = (statistics.median(rates[view, how]) for how in ("alone", "workers"))
        row = {"view": view, "events": head, "workers": workers(), "alone": round(alone), "rebuild": round(together)}
        rows.append({**row, "ratio": round(together / alone, 2)})
    return rows


async def _seconds(urls: tuple[str, str], database: str, head: int, first: str) -> dict[str, float]:
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(urls[1])
    views, registry = client[database], Registry(client[database])
    try:
        with running_projector(urls, database, first=first):
            await _reached(views, {instance(view) for view in all_views()}, head)
            taken = {}
            for view in _VIEWS:
                started = time.perf_counter()
                building = (await registry.request_rebuild(view)).building
                await _reached(views, {str(building)}, head)
                taken[view] = time.perf_counter() - started
                while (await registry.entry(view)).building is not None:  # compared and switched, before the next
                    await asyncio.sleep(0.1)
            return taken
    finally:
        await client.drop_database(database)
        client.close()


async def _reached(views: Any, instances: set[str], head: int) -> None:
    at_head = {"_id": {"$in": sorted(instances)}, "position": {"$gte": head}}
    while await views["checkpoints"].count_documents(at_head) < len(instances):
        await asyncio.sleep(0.02)


async def _measure(bench: Bench) -> list[Row]:
    url = await bench.fresh("bench_rebuild")
    head = await fill_log(url, bench.orders)
    return await measure((url, bench.mongo), head, bench.rounds)


part = Part("rebuild", "(a) rebuild of one view, events a second", _measure)
