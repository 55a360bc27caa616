"""(f) Peers: the projection runner of the Python library ``eventsourcing``, beside Readside, in turns.

The peer keeps the same orders' events in the same Postgres, by its own recorder, and writes to the same MongoDB: an
order's detail, and sales per day and per day and product. Readside writes all of its eight views. The peer's view is a
tracking recorder of our own, which its interfaces allow: documents and the place in the sequence go in one MongoDB
transaction, so that each event takes effect once, as Readside's do. It calls the projection once per event; that is how
it is meant, and where its speed is.

Both sides' limits: the peer's start is not counted and Readside's is; and the peer's orders are placed one after the
other by the thread that looks at the change stream, so that a slow save delays the next one.

What it has: a subscription that wakes by NOTIFY, tracking, a `wait` for one's own writes within a process. What it
lacks: batches, parking of events that fail (the runner stops), rebuilds beside a view that is served.

Not measured yet: ``python-cqrs``, an outbox whose producer sends one message per row to a broker, at least once; it has
no projections. Named in the package index and not tried: ``protean``, ``python-event-sourcery``,
``logicblocks-event-store``.
"""

import asyncio
import os
import random
import statistics
import subprocess
import sys
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import uvloop
from pymongo import MongoClient

from bench import lag
from bench.catch_up import product
from bench.peer_shop import CAUGHT_UP_AT, TRACKING, Shop, environment, record
from bench.projectors import running_projector
from bench.suite import Bench, Part, Row
from bench.workload import fill_log, orders, some_order
from runtime.clock import now

_DATABASE, _PEERS = "bench_peers_readside", "bench_peers_eventsourcing"
_PEER_ORDERS = 1_000
_RATE, _SECONDS = 100, 6.0


async def measure(bench: Bench) -> list[Row]:
    """Catch-up and lag of both, in every round."""
    theirs: list[float] = []
    ours: list[float] = []
    lags: dict[str, list[tuple[float, float]]] = {"eventsourcing": [], "Readside": []}
    for _ in range(bench.rounds):
        caught_up, cuts = await asyncio.to_thread(_peer, bench, await bench.fresh(_PEERS))
        theirs.append(caught_up)
        lags["eventsourcing"].append(cuts)
        url = await bench.fresh(_DATABASE)
        head = await fill_log(url, bench.orders)
        seconds, _ = await asyncio.to_thread(product, (url, bench.mongo), _DATABASE, head)
        ours.append(head / seconds)
        with running_projector((url, bench.mongo), _DATABASE):
            await asyncio.sleep(3)
            told = await asyncio.to_thread(uvloop.run, lag.steady(bench, url, _DATABASE, _RATE, _SECONDS))
        lags["Readside"].append((told["p50_ms"], told["p99_ms"]))
        with MongoClient[dict[str, Any]](bench.mongo) as client:
            client.drop_database(_DATABASE)
            client.drop_database(_PEERS)
    rates = {"eventsourcing": statistics.median(theirs), "Readside": statistics.median(ours)}
    return [
        {
            "ratio_catch_up": round(rates["Readside"] / rate, 1),
            "ratio_p50": round(_median(lags["Readside"], 0) / _median(lags[name], 0), 2),
            "who": name,
            "orders": bench.orders if name == "Readside" else _PEER_ORDERS,
            "catch_up_events_a_second": round(rate),
            f"p50_ms at {_RATE}/s": _median(lags[name], 0),
            f"p99_ms at {_RATE}/s": _median(lags[name], 1),
        }
        for name, rate in rates.items()
    ]


def _median(cuts: list[tuple[float, float]], which: int) -> float:
    return round(statistics.median(one[which] for one in cuts), 1)


def _peer(bench: Bench, url: str) -> tuple[float, tuple[float, float]]:
    shop = Shop(environment(*_place(url), bench.mongo, _PEERS))
    events = 0
    for order in orders(_PEER_ORDERS, seed=1):
        events += len(order.recorded)
        record(shop, order)
    head = shop.recorder.max_notification_id() or 0
    with MongoClient[dict[str, Any]](bench.mongo) as client:
        tracking = client[_PEERS][TRACKING]
        with _projecting(url, bench.mongo):
            caught_up = _wait_for(tracking, head)
            written = client[_PEERS]["orders"].count_documents({"status": {"$exists": True}})
            assert written == _PEER_ORDERS, f"the peer wrote {written} orders"
            cuts = _lags(shop, tracking)
    shop.close()
    return events / caught_up, cuts


def _place(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.path.lstrip("/"), parse_qs(parts.query)["host"][0]


def _projecting(url: str, mongo: str) -> "subprocess.Popen[bytes]":
    told = {**os.environ, **environment(*_place(url), mongo, _PEERS)}
    return _Ended([sys.executable, "-c", "from bench.peer_shop import project; project()"], env=told)


class _Ended(subprocess.Popen[bytes]):
    """Ends with its block."""

    def __exit__(self, *_: object) -> None:
        self.terminate()
        self.wait()


def _wait_for(tracking: Any, head: int) -> float:
    """Seconds from its first event to this one: its start is not counted."""
    while (found := tracking.find_one()) is None or found["position"] < head:
        time.sleep(0.05)
    return float(found[CAUGHT_UP_AT] - found["began_at"])


def _lags(shop: Shop, tracking: Any) -> tuple[float, float]:
    committed: dict[int, float] = {}
    found: list[float] = []
    rng = random.Random(1)  # noqa: S311  (repeatable, no secret)
    # By default a look waits for a second, and nothing would be recorded meanwhile.
    with tracking.watch(max_await_time_ms=1) as stream:
        started = time.perf_counter()
        for number in range(int(_RATE * _SECONDS)):
            while (early := started + number / _RATE - time.perf_counter()) > 0:
                _see(stream, committed, found, early)
            last = record(shop, some_order(rng, now()))
            committed[last] = time.perf_counter()
        while committed:
            _see(stream, committed, found, 0.01)
    cuts = statistics.quantiles(found, n=100)
    return round(cuts[49], 1), round(cuts[98], 1)


def _see(stream: Any, committed: dict[int, float], found: list[float], at_most: float) -> None:
    change = stream.try_next()
    if change is None:
        time.sleep(min(at_most, 0.0005))
        return
    at = time.perf_counter()
    position = change.get("updateDescription", {}).get("updatedFields", {}).get("position", 0)
    visible = [known for known in committed if known <= position]
    found.extend((at - committed.pop(known)) * 1000 for known in visible)


part = Part("peers", "(f) peers: catch-up and commit to visible", measure, by_default=False, orders=(10_000,))
