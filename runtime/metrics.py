"""What every process tells of itself at ``/metrics``, whatever its business is.

Nothing here costs a request anything but an answer that is a problem, which is counted. The rest is asked for at the
moment of the scrape: of the server, which counts its requests anyway, of the pools (`runtime.pools`), of the disk. The
event loop alone is watched between scrapes, twice a second: a loop that was held up is free again when it is scraped.
"""

import asyncio
import shutil
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from prometheus_client import REGISTRY, Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

PROBLEMS = Counter("readside_problems_total", "Answers that were a problem, by its slug", ["status", "slug"])

LOOK_EVERY_SECONDS = 0.5
_LOOKS_KEPT = round(60 / LOOK_EVERY_SECONDS)


class Serving(Collector):
    """What the HTTP server of this process has done, and does now."""

    def __init__(self, server: uvicorn.Server) -> None:
        self._state = server.server_state

    def collect(self) -> Iterable[Metric]:
        """Requests begun so far, those of health checks and scrapes among them; requests and connections of now."""
        yield CounterMetricFamily(
            "readside_http_requests", "Requests that this process has begun to answer", value=self._state.total_requests
        )
        yield GaugeMetricFamily("readside_http_requests_in_flight", "Requests of now", value=len(self._state.tasks))
        yield GaugeMetricFamily("readside_http_connections", "Connections of now", value=len(self._state.connections))


class LoopLag(Collector):
    """For how long the event loop was held up at worst, lately: nobody is answered meanwhile."""

    def __init__(self, *, every_seconds: float = LOOK_EVERY_SECONDS) -> None:
        self._every_seconds = every_seconds
        self._late: deque[float] = deque(maxlen=_LOOKS_KEPT)

    def collect(self) -> Iterable[Metric]:
        """The worst of the last minute, so that no scrape misses it."""
        yield GaugeMetricFamily(
            "readside_event_loop_lag_seconds",
            "By how much the event loop was late at worst in the last minute",
            value=max(self._late, default=0.0),
        )

    async def watch(self) -> None:
        """Look until canceled."""
        while True:
            expected = time.monotonic() + self._every_seconds
            await asyncio.sleep(self._every_seconds)
            self._late.append(max(0.0, time.monotonic() - expected))


class Disk(Collector):
    """How much room there is where this process keeps its files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """Nothing while the folder does not exist."""
        try:
            usage = shutil.disk_usage(self._folder)
        except OSError:
            return
        yield GaugeMetricFamily("readside_data_dir_free_bytes", "Room left on the data directory's disk", usage.free)
        yield GaugeMetricFamily("readside_data_dir_size_bytes", "Size of the data directory's disk", usage.total)


@contextmanager
def told_of(server: uvicorn.Server, data_dir: Path | None) -> Iterator[None]:
    """Tell of this server, the loop that runs now, and the disk of a data directory, as long as the block runs."""
    lag = LoopLag()
    collectors: list[Collector] = [Serving(server), lag, *([Disk(data_dir)] if data_dir else [])]
    for one in collectors:
        REGISTRY.register(one)
    watching = asyncio.create_task(lag.watch(), name="event loop lag")
    try:
        yield
    finally:
        watching.cancel()
        for one in collectors:
            REGISTRY.unregister(one)
