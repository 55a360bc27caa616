"""(e) Growth: catch-up, lag and queries with ten thousand, a hundred thousand, a million orders in log and views.

All of them are of the same sixty days, so a sum over days has as many rows at every size: what grows then grows with
the orders. Each row's ratio is to the smallest size of the run, the other way round for times: below 1 is worse.
"""

import asyncio
import time
from argparse import ArgumentParser
from typing import Any

import psutil
import uvloop
from pymongo import MongoClient

from bench import lag
from bench.load import get, load
from bench.projectors import running_projector
from bench.query import SALES, authorization, ids_when_caught_up, query_api
from bench.suite import Bench, Part, Row
from bench.workload import fill_log_by_copies
from views import all_views

_DATABASE = "bench_growth"
_LAG_RATE, _LAG_SECONDS = 100, 6.0
_CONNECTIONS, _LOAD_SECONDS = 16, 3.0


async def measure(bench: Bench) -> list[Row]:
    """All sizes, one after the other, each in databases of its own."""
    rows: list[Row] = []
    smallest: dict[str, float] = {}
    for orders in sorted(bench.options.sizes):
        for row in await _at(bench, orders):
            first = smallest.setdefault(row["what"], row["figure"])
            better_if_less = row["unit"] == "ms"
            ratio = first / row["figure"] if better_if_less else row["figure"] / first
            rows.append({"ratio": round(ratio, 2), "orders": orders, **row})
    return rows


async def _at(bench: Bench, orders: int) -> list[Row]:
    url = await bench.fresh(_DATABASE)
    head = await fill_log_by_copies(url, orders)
    try:
        with running_projector((url, bench.mongo), _DATABASE) as projector:
            seconds, megabytes = await asyncio.to_thread(_catch_up, bench.mongo, projector.pid, head)
            # On the loop that the processes run on: the load is not to be what is slow.
            told = await asyncio.to_thread(uvloop.run, lag.steady(bench, url, _DATABASE, _LAG_RATE, _LAG_SECONDS))
            ids = await asyncio.to_thread(ids_when_caught_up, bench.mongo, head, _DATABASE)
        rows = [
            {"what": "catch-up", "figure": round(head / seconds), "unit": "events/s", "projector_mb": megabytes},
            {"what": f"lag at {_LAG_RATE}/s, p50", "figure": told["p50_ms"], "unit": "ms"},
            {"what": f"lag at {_LAG_RATE}/s, p99", "figure": told["p99_ms"], "unit": "ms"},
        ]
        return rows + await asyncio.to_thread(_queries, bench, ids)
    finally:
        with MongoClient[dict[str, Any]](bench.mongo) as client:
            client.drop_database(_DATABASE)
        await bench.drop(_DATABASE)


def _catch_up(mongo: str, pid: int, head: int) -> tuple[float, int]:
    started, largest = time.perf_counter(), 0
    with MongoClient[dict[str, Any]](mongo) as client:
        at_head = {"position": {"$gte": head}}
        while client[_DATABASE]["checkpoints"].count_documents(at_head) < len(all_views()):
            largest = max(largest, psutil.Process(pid).memory_info().rss)
            time.sleep(0.1)
    return time.perf_counter() - started, round(largest / 2**20)


def _queries(bench: Bench, ids: list[str]) -> list[Row]:
    questions = {
        "order detail": [f"/orders/{order_id}" for order_id in ids],
        "order list": ["/orders?limit=20"],
        "orders of a member": [f"/orders?limit=20&member_id=member-{number}" for number in range(500)],
        "sales, 60 days": [SALES],
        "best sellers": ["/statistics/products?from=2026-01-01&to=2026-03-01&limit=20"],
        "products": ["/products?limit=20"],
    }
    rows: list[Row] = []
    with query_api(bench, _DATABASE) as server:
        for name, paths in questions.items():
            requests = [get(path, authorization()) for path in paths]
            one = load(server.port, server.pid, requests, _CONNECTIONS, _LOAD_SECONDS)
            rows.append({"what": name, "figure": round(one.a_second), "unit": "requests/s", "p99_ms": one.p99_ms})
    return rows


def _options(arguments: ArgumentParser) -> None:
    arguments.add_argument(
        "--sizes", type=int, nargs="*", default=[10_000, 100_000], help="orders, of growth; 1000000 takes ten minutes"
    )


part = Part(
    "growth",
    "(e) the same with more orders",
    measure,
    by_default=False,
    orders=(),
    options=_options,
)
