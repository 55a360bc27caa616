"""What publishers count, and where they stand; names and units by Prometheus' conventions as in `projector.metrics`."""

from collections.abc import Callable, Iterable

import msgspec
from prometheus_client import REGISTRY, Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

PUBLISHED = Counter(
    "readside_publisher_published_total", "Events that a broker has confirmed, repeated ones too", ["publisher"]
)
RETRIES = Counter(
    "readside_publisher_retries_total", "What a publisher began again, by the reason", ["publisher", "reason"]
)


class PublisherStanding(msgspec.Struct, frozen=True, kw_only=True):
    """Where one publisher stands at this moment, as this process sees it."""

    publisher: str
    position: int
    lag_events: int
    lag_seconds: float
    epoch: int


class PublisherStandings(Collector):
    """Where the publishers of this process stand; `source` is asked at every scrape."""

    def __init__(self) -> None:
        self.source: Callable[[], Iterable[PublisherStanding]] = tuple

    def collect(self) -> Iterable[Metric]:
        """A gauge for each thing that can be said of a publisher."""

        def gauge(name: str, text: str) -> GaugeMetricFamily:
            return GaugeMetricFamily(f"readside_publisher_{name}", text, labels=["publisher"])

        gauges = {
            "position": gauge("position", "Position up to which the broker has confirmed everything"),
            "lag_events": gauge("lag_events", "Events in the log after that"),
            "lag_seconds": gauge("lag_seconds", "For how long the first of them has been in the log"),
            "epoch": gauge("epoch", "Epoch of this process as the publisher's owner; 0 where it is not"),
        }
        for one in self.source():
            for field, family in gauges.items():
                family.add_metric([one.publisher], getattr(one, field))
        yield from gauges.values()


STANDINGS = PublisherStandings()
REGISTRY.register(STANDINGS)
