"""(a) Catch-up: how many events a second, of a log of finished orders, into empty views.

The product runs as it always does (its own process, four projections, each with its own transaction); the loop by
hand runs in a process of its own too. They take turns on the same log; afterwards their documents are compared.
"""

import asyncio
import statistics
import subprocess
import sys
import time
from typing import Any

import psutil
from pymongo import MongoClient

from bench.projectors import running_projector
from bench.suite import Bench, Part, Row
from bench.workload import fill_log
from tests.instances import MEMBER_PROFILE, ORDER_DETAIL, PRODUCT_CATALOG, SALES_STATISTICS

PAIRS = {
    "orders": ORDER_DETAIL,
    "products": PRODUCT_CATALOG,
    "members": MEMBER_PROFILE,
    "statistics": SALES_STATISTICS,
}


def by_hand(urls: tuple[str, str], database: str, head: int, batch: int) -> float:
    """Seconds that the loop by hand takes."""
    code = f"from bench.by_hand import run; run({urls[0]!r}, {urls[1]!r}, {database!r}, {head}, {batch})"
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603  (our own code)
    return time.perf_counter() - started


def product(urls: tuple[str, str], database: str, head: int) -> tuple[float, int]:
    """Seconds from the projector's start until all its views are at the head, and its largest resident size."""
    checkpoints = MongoClient[dict[str, Any]](urls[1])[database]["checkpoints"]
    started = time.perf_counter()
    largest = 0
    with running_projector(urls, database) as process:
        while True:
            time.sleep(0.05)
            largest = max(largest, psutil.Process(process.pid).memory_info().rss)
            positions = [found["position"] for found in checkpoints.find({"_id": {"$in": list(PAIRS.values())}})]
            if len(positions) == len(PAIRS) and min(positions) >= head:
                return time.perf_counter() - started, largest


def different_documents(mongo_url: str, hand: str, ours: str) -> int:
    """How many documents differ between the two databases; anything but 0 makes the comparison worthless."""
    client = MongoClient[dict[str, Any]](mongo_url)
    different = 0
    for theirs, mine in PAIRS.items():
        left = {document["_id"]: document for document in client[hand][theirs].find()}
        right = {document["_id"]: document for document in client[ours][mine].find()}
        different += sum(left.get(key) != right.get(key) for key in left.keys() | right.keys())
    return different


async def measure(urls: tuple[str, str], head: int, rounds: int) -> dict[str, Any]:
    """Both, in turns. Returns events a second (medians), their ratio, and the projector's largest size in MB."""
    client = MongoClient[dict[str, Any]](urls[1])
    hand: list[float] = []
    ours: list[float] = []
    largest = 0
    for number in range(rounds):
        names = f"bench_hand_{number}", f"bench_ours_{number}"
        for name in names:
            client.drop_database(name)
        hand.append(head / await asyncio.to_thread(by_hand, urls, names[0], head, 2_000))
        seconds, size = await asyncio.to_thread(product, urls, names[1], head)
        ours.append(head / seconds)
        largest = max(largest, size)
        assert different_documents(urls[1], *names) == 0, "the two did not write the same documents"
        for name in names:
            client.drop_database(name)
    return {
        "events": head,
        "by_hand": round(statistics.median(hand)),
        "readside": round(statistics.median(ours)),
        "ratio": round(statistics.median(ours) / statistics.median(hand), 2),
        "projector_mb": round(largest / 2**20),
    }


async def _measure(bench: Bench) -> list[Row]:
    url = await bench.fresh("bench_catch_up")
    head = await fill_log(url, bench.orders)
    return [await measure((url, bench.mongo), head, bench.rounds)]


part = Part("catch-up", "(a) catch-up of all views, events a second", _measure)
