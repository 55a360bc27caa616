"""(b) Commit-to-visible: from the moment a commit returns until a reader can see its effect in a view.

Open loop: orders are placed at their planned times whether or not earlier ones have become visible, and lag counts
from the commit, so that a system that falls behind shows it. "Visible" is when the change stream that the query API
itself follows says that the view's checkpoint includes the order's transaction.
"""

import asyncio
import random
import statistics
import time
from typing import Any

from motor.motor_asyncio import AsyncIOMotorClient

from bench.projectors import running_projector
from bench.suite import Bench, Part, Row
from bench.workload import fill_log, some_order
from command.ordering.storage import Orders
from command.unit_of_work import Handlers, Transactions
from events.ordering import RECORDED
from eventstore import Doorbell
from runtime.clock import now
from runtime.consistency import Snapshot
from runtime.ids import new_id
from runtime.postgres import make_engine
from tests.instances import ORDER_DETAIL

VIEW = ORDER_DETAIL


async def measure(urls: tuple[str, str], database: str, rate: int, seconds: int) -> dict[str, Any]:
    """p50 and p99 in milliseconds at so many orders a second, with the projector in a process of its own."""
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(urls[1])
    try:
        with running_projector(urls, database):
            checkpoints = client[database]["checkpoints"]
            while not (await checkpoints.find_one({"_id": VIEW}) or {}).get("snapshot"):
                await asyncio.sleep(0.1)
            lags = await _measure(urls[0], checkpoints, rate, seconds)
    finally:
        client.close()
    cuts = statistics.quantiles(lags, n=100)
    return {"orders_a_second": rate, "placed": len(lags), "p50_ms": round(cuts[49], 1), "p99_ms": round(cuts[98], 1)}


async def _measure(url: str, checkpoints: Any, rate: int, seconds: int) -> list[float]:
    engine = make_engine(url, "bench", pool_size=16)
    committed: dict[int, float] = {}
    lags: list[float] = []
    async with Doorbell(url) as doorbell, checkpoints.watch([{"$match": {"documentKey._id": VIEW}}]) as stream:
        seeing = asyncio.create_task(_see(stream, committed, lags))
        transactions = Transactions(engine, Handlers(), doorbell)
        await _place_all(transactions, committed, 50, 50)  # warm
        await asyncio.sleep(1)
        lags.clear()
        await _place_all(transactions, committed, rate, rate * seconds)
        while committed:
            await asyncio.sleep(0.05)
        seeing.cancel()
    await engine.dispose()
    return lags


async def _place_all(transactions: Transactions, committed: dict[int, float], rate: int, count: int) -> None:
    rng = random.Random(1)  # noqa: S311  (repeatable load, no secret)
    started = time.perf_counter()
    placing = []
    for number in range(count):
        due = started + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        placing.append(asyncio.create_task(_place(transactions, rng, committed)))
    await asyncio.gather(*placing)


async def _place(transactions: Transactions, rng: random.Random, committed: dict[int, float]) -> None:
    order = some_order(rng, now())
    order.request_payment(new_id(), method=RECORDED, at=now())
    order.approve_payment(at=now())
    async with transactions.begin() as uow:
        uow.repository(Orders).add(order)
        done = await uow.commit()
    committed[done.transaction_id] = time.perf_counter()


async def _see(stream: Any, committed: dict[int, float], lags: list[float]) -> None:
    async for change in stream:
        text = change.get("updateDescription", {}).get("updatedFields", {}).get("snapshot")
        if text is None:
            continue
        seen, snapshot = time.perf_counter(), Snapshot.parse(text)
        visible = [transaction_id for transaction_id in committed if snapshot.sees(transaction_id)]
        lags.extend((seen - committed.pop(transaction_id)) * 1000 for transaction_id in visible)


async def _measured(bench: Bench) -> list[Row]:
    url = await bench.fresh("bench_lag")
    await fill_log(url, 200)
    return [await measure((url, bench.mongo), "bench_lag", rate, 15) for rate in (100, 300)]


part = Part(
    "lag",
    "(b) commit to visible",
    _measured,
    orders=(),
)
