"""(b) Commit to visible: from the moment a commit returns until a reader can see its effect in a view, over load.

Open loop: orders are placed at their planned times, whether or not earlier ones have been placed or become visible; so
a system that falls behind shows it. Lag counts from the return of the commit and, in the columns ``planned_…``, from
the planned time, which holds what an order waited before it was placed. "Visible" is when the change stream that the
query API itself follows says that the view's checkpoint includes the order's transaction.

Directly, orders are placed by units of work in the process that measures. Through HTTP, by the command API, with the
query API running too: all of it, the databases and the load share the machine. One order is one event.

After the rates comes too much: twice what the best rate got done, for some seconds, and then a rate that is easy. What
counts is that the throughput stays at its peak while the lag grows, and how soon the lag is what it was.
"""

import asyncio
import random
import statistics
import time
from argparse import ArgumentParser
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import uvloop
from motor.motor_asyncio import AsyncIOMotorClient

from bench import placing
from bench.asking import asking
from bench.command import placing_requests
from bench.projectors import running_projector
from bench.serving import serving
from bench.suite import Bench, Part, Plot, Row
from bench.workload import fill_log, some_order
from command.ordering.storage import Orders
from command.unit_of_work import Handlers, Transactions
from eventstore import Doorbell
from runtime.clock import now
from runtime.consistency import ConsistencyTokens, Snapshot
from runtime.postgres import make_engine
from tests.instances import ORDER_DETAIL

_DATABASE = "bench_lag"
_SECRET = "x" * 32
_EASY_RATE, _EASY_LAG_MS = 50, 100.0
_LONGEST_RECOVERY_SECONDS = 60.0
_MOST_UNDER_WAY = 2_000
"""Orders that are being placed at once, above which the load itself would be what is measured."""

Place = Callable[[], Awaitable[int]]
"""Places one order; returns its transaction id."""


@dataclass(slots=True)
class _Seen:
    """When what was committed became visible."""

    waiting: dict[int, tuple[float, float]] = field(default_factory=dict)
    """By transaction id: planned, committed."""
    committed: list[float] = field(default_factory=list)
    """Milliseconds from the commit."""
    planned: list[float] = field(default_factory=list)
    snapshot: Snapshot | None = None

    def add(self, transaction_id: int, planned: float, committed: float) -> None:
        self.waiting[transaction_id] = planned, committed
        if self.snapshot is not None and self.snapshot.sees(transaction_id):
            self.look(self.snapshot)  # it was visible before its answer was read

    def look(self, snapshot: Snapshot) -> None:
        at, self.snapshot = time.perf_counter(), snapshot
        for transaction_id in [one for one in self.waiting if snapshot.sees(one)]:
            planned, committed = self.waiting.pop(transaction_id)
            self.committed.append((at - committed) * 1000)
            self.planned.append((at - planned) * 1000)

    def take(self) -> tuple[list[float], list[float]]:
        """What has been seen since the last time."""
        taken = self.committed, self.planned
        self.committed, self.planned = [], []
        return taken


async def measure(bench: Bench) -> list[Row]:
    """Every rate, each way, and too much in the end."""
    ways = {"direct": _directly, "http": _through_http}
    rows: list[Row] = []
    for name in bench.options.through:
        url = await bench.fresh(_DATABASE)
        await fill_log(url, 200)
        await placing.prepare(url)
        # The loop that the processes themselves run on: the load is not to be what is slow.
        rows += [{"through": name, **row} for row in await asyncio.to_thread(uvloop.run, _way(bench, url, ways[name]))]
        await AsyncIOMotorClient(bench.mongo).drop_database(_DATABASE)
        await bench.drop(_DATABASE)
    return rows


async def _way(bench: Bench, url: str, way: Any) -> list[Row]:
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(bench.mongo)
    seconds = bench.options.lag_seconds
    rows: list[Row] = []
    with running_projector((url, bench.mongo), _DATABASE) as projector:
        checkpoints = client[_DATABASE]["checkpoints"]
        while not (await checkpoints.find_one({"_id": ORDER_DETAIL}) or {}).get("snapshot"):
            assert projector.poll() is None, "the projector ended"
            await asyncio.sleep(0.1)
        async with way(bench, url) as place, _seeing(checkpoints) as seen:
            await _phase(place, seen, _EASY_RATE, 1.5)  # warm
            await _until_all_are_visible(seen)
            for rate in bench.options.rates:
                seen.take()
                row = await _phase(place, seen, rate, seconds)
                await _until_all_are_visible(seen)
                rows.append(row | _lags(*seen.take()))
                if row["placed_a_second"] < 0.8 * rate:
                    break  # it takes no more
            rows += await _too_much(place, seen, max(row["placed_a_second"] for row in rows), seconds)
    client.close()
    return rows


async def _too_much(place: Place, seen: _Seen, best: float, seconds: float) -> list[Row]:
    seen.take()
    row = await _phase(place, seen, round(2 * best), seconds)
    recovering = time.perf_counter()
    row |= {"ratio_to_peak": round(row["placed_a_second"] / best, 2)}
    lags: list[float] = []
    while time.perf_counter() - recovering < _LONGEST_RECOVERY_SECONDS:
        seen.take()
        await _phase(place, seen, _EASY_RATE, 0.5)
        lags = seen.committed
        if lags and len(seen.waiting) <= _EASY_RATE / 10 and max(lags[-_EASY_RATE // 5 :]) < _EASY_LAG_MS:
            break
    return [row | {"load": "too much", "recovered_after_s": round(time.perf_counter() - recovering, 1)}]


async def _phase(place: Place, seen: _Seen, rate: float, seconds: float) -> Row:
    started, under_way, refused = time.perf_counter(), set[asyncio.Task[None]](), 0
    placed_before = len(seen.committed) + len(seen.waiting)
    for number in range(int(rate * seconds)):
        due = started + number / rate
        if (early := due - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        if len(under_way) >= _MOST_UNDER_WAY:
            refused += 1
            await asyncio.sleep(0)
            continue
        task = asyncio.create_task(_place_one(place, seen, due))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    took = time.perf_counter() - started
    placed = len(seen.committed) + len(seen.waiting) - placed_before
    await asyncio.gather(*under_way)
    return {"load": "steady", "offered_a_second": rate, "placed_a_second": round(placed / took), "refused": refused}


async def _place_one(place: Place, seen: _Seen, due: float) -> None:
    transaction_id = await place()
    seen.add(transaction_id, due, time.perf_counter())


async def _until_all_are_visible(seen: _Seen) -> None:
    while seen.waiting:
        await asyncio.sleep(0.01)


@asynccontextmanager
async def _seeing(checkpoints: Any) -> AsyncIterator[_Seen]:
    seen = _Seen()

    async def see(stream: Any) -> None:
        async for change in stream:
            text = change.get("updateDescription", {}).get("updatedFields", {}).get("snapshot")
            if text is not None:
                seen.look(Snapshot.parse(text))

    async with checkpoints.watch([{"$match": {"documentKey._id": ORDER_DETAIL}}]) as stream:
        seeing = asyncio.create_task(see(stream))
        yield seen
        seeing.cancel()


@asynccontextmanager
async def _directly(_: Bench, url: str) -> AsyncIterator[Place]:
    engine, rng = make_engine(url, "bench", pool_size=16), random.Random(1)  # noqa: S311  (repeatable, no secret)
    async with Doorbell(url) as doorbell:
        transactions = Transactions(engine, Handlers(), doorbell)

        async def place() -> int:
            async with transactions.begin() as uow:
                uow.repository(Orders).add(some_order(rng, now()))
                return (await uow.commit()).transaction_id

        yield place
    await engine.dispose()


@asynccontextmanager
async def _through_http(bench: Bench, url: str) -> AsyncIterator[Place]:
    environment = {
        "READSIDE_POSTGRES_URL": url,
        "READSIDE_MONGO_URL": bench.mongo,
        "READSIDE_MONGO_DATABASE": _DATABASE,
        "READSIDE_JWT_SECRET": _SECRET,
        "READSIDE_LOG_FORMAT": "json",
    }
    connection = await asyncpg.connect(url)
    tokens = ConsistencyTokens(await connection.fetchval("SELECT id::text FROM deployment"))
    await connection.close()
    requests, rng = placing_requests(_SECRET), random.Random(1)  # noqa: S311  (repeatable, no secret)
    with ExitStack() as running:
        api = running.enter_context(
            serving("command", ("-m", "readside", "command-api", "--port", "{port}"), environment, "/readyz")
        )
        running.enter_context(
            serving("query", ("-m", "readside", "query-api", "--port", "{port}"), environment, "/readyz")
        )
        async with asking(api.port) as asked:

            async def place() -> int:
                headers = await asked.ask(rng.choice(requests))
                transaction_id = tokens.read(headers[b"consistency-token"].decode())
                assert transaction_id is not None
                return transaction_id

            yield place


def _lags(committed: list[float], planned: list[float]) -> Row:
    def cut(values: list[float], percent: int) -> float:
        return round(statistics.quantiles(values, n=100)[percent - 1], 1)

    return {
        **{f"p{percent}_ms": cut(committed, percent) for percent in (50, 95, 99)},
        "max_ms": round(max(committed), 1),
        "planned_p50_ms": cut(planned, 50),
        "planned_p99_ms": cut(planned, 99),
    }


def _options(arguments: ArgumentParser) -> None:
    arguments.add_argument("--through", nargs="*", choices=["direct", "http"], default=["direct", "http"])
    arguments.add_argument(
        "--rates", type=float, nargs="*", default=[10, 50, 100, 200, 400, 800, 1600], help="orders a second, of lag"
    )
    arguments.add_argument("--lag-seconds", type=float, default=6.0, help="of each rate, of lag")


part = Part(
    "lag",
    "(b) commit to visible, over load",
    measure,
    plots=[
        Plot(
            "offered_a_second",
            ("placed_a_second", "p50_ms", "p99_ms"),
            "through",
            only=lambda row: row["load"] == "steady",
            logarithmic=True,
        )
    ],
    orders=(),
    options=_options,
)
