"""The MongoDB connections of this process, as ``/metrics`` tells of them; asked for at the moment of the scrape.

The driver's own way of telling, events at every check-out and check-in, makes objects at each operation, also where
nobody scrapes. So its pools are looked at instead, by names that are not published: a test holds that they are there.
"""

from collections.abc import Iterable
from typing import Any
from weakref import WeakSet

from motor.frameworks import asyncio as threads
from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pymongo import AsyncMongoClient


class MongoPools(Collector):
    """The pools of every client of this process."""

    def __init__(self) -> None:
        self._clients: WeakSet[Any] = WeakSet()

    def add(self, client: Any) -> None:
        """Tell of this one too, for as long as anybody has it."""
        self._clients.add(client)

    def collect(self) -> Iterable[Metric]:
        """Connections by what they do, how many operations may run, and how many wait for their turn."""
        if not self._clients:
            return
        pools = [pool for client in self._clients for pool in _pools(client)]
        connections = GaugeMetricFamily(
            "readside_mongo_pool_connections", "Connections that are open, by what they do", labels=["state"]
        )
        connections.add_metric(["in_use"], sum(pool.active_sockets for pool in pools))
        connections.add_metric(["idle"], sum(len(pool.conns) for pool in pools))
        yield connections
        size, waiting = _turns(pools, has_threads=any(_has_threads(client) for client in self._clients))
        yield GaugeMetricFamily("readside_mongo_pool_size", "Operations that can run at a time", value=size)
        yield GaugeMetricFamily("readside_mongo_pool_waiting", "Operations that wait for their turn", value=waiting)


def _turns(pools: list[Any], *, has_threads: bool) -> tuple[int, int]:
    """How many operations may run, and how many wait."""
    if has_threads:
        # Each operation takes a thread first, of which there are fewer than a pool may have connections.
        executor: Any = threads._EXECUTOR
        return executor._max_workers, executor._work_queue.qsize()
    waiting = sum(max(0, pool.requests - pool.active_sockets) for pool in pools)
    return sum(pool.opts.max_pool_size for pool in pools), waiting


def _pools(client: Any) -> list[Any]:
    inner = client.delegate if _has_threads(client) else client
    # A copy: the driver's own threads find and lose servers.
    return [server.pool for server in list(inner._topology._servers.values())]


def _has_threads(client: Any) -> bool:
    return not isinstance(client, AsyncMongoClient)


MONGO_POOLS = MongoPools()
REGISTRY.register(MONGO_POOLS)
