"""The pools of connections of this process, as ``/metrics`` tells of them; asked for at the moment of the scrape.

A pool that is used up shows as a queue in front of it long before it shows as an error: callers wait, and are served.
"""

import logging
from collections.abc import Iterable
from typing import Any
from weakref import WeakSet

from prometheus_client import REGISTRY, Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry

TIMEOUTS = Counter(
    "readside_postgres_pool_timeouts_total", "Times that no connection came free within the limit", ["pool"]
)
_WAITING: dict[str, int] = {}

# A pool logs under the name of its class' module; SQLAlchemy's own are as quiet.
logging.getLogger(__name__).setLevel(logging.WARNING)


class CountingPool(AsyncAdaptedQueuePool):
    """Knows how many wait for one of its connections. Costs whoever finds one free a comparison."""

    def _do_get(self) -> ConnectionPoolEntry:
        if self.checkedout() < self.size():
            return super()._do_get()
        pool = self.logging_name or "postgres"
        _WAITING[pool] = _WAITING.get(pool, 0) + 1
        try:
            return super()._do_get()
        except exc.TimeoutError:
            TIMEOUTS.labels(pool).inc()
            raise
        finally:
            _WAITING[pool] -= 1


class PostgresPools(Collector):
    """The pools of every engine of this process."""

    def __init__(self) -> None:
        self._engines: WeakSet[AsyncEngine] = WeakSet()

    def add(self, engine: AsyncEngine) -> None:
        """Tell of this one too, for as long as anybody has it."""
        self._engines.add(engine)
        TIMEOUTS.labels(_name(engine))  # so that it begins at 0, and the first one is an increase

    def collect(self) -> Iterable[Metric]:
        """Connections by what they do, how many there may be, and who waits for one."""

        def gauge(name: str, text: str, *more: str) -> GaugeMetricFamily:
            return GaugeMetricFamily(f"readside_postgres_pool_{name}", text, labels=["pool", *more])

        connections = gauge("connections", "Connections that are open, by what they do", "state")
        size = gauge("size", "Connections that there may be")
        waiting = gauge("waiting", "Callers who wait for a connection")
        pools: dict[str, Any] = {_name(engine): engine.pool for engine in self._engines}
        for name, pool in pools.items():
            connections.add_metric([name, "in_use"], pool.checkedout())
            connections.add_metric([name, "idle"], pool.checkedin())
            size.add_metric([name], pool.size())
            waiting.add_metric([name], _WAITING.get(name, 0))
        yield from (connections, size, waiting)


def _name(engine: AsyncEngine) -> str:
    return engine.pool.logging_name or "postgres"


POSTGRES_POOLS = PostgresPools()
REGISTRY.register(POSTGRES_POOLS)
