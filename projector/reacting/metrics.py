"""What reactions count, and where they stand; names and units by Prometheus' conventions, as in `projector.metrics`."""

from collections.abc import Callable, Iterable

import msgspec
from prometheus_client import REGISTRY, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

HANDLED = Counter(
    "readside_reaction_handled_total",
    "Events that a reaction is through with: done, settled after the last attempt, or a dead letter",
    ["reaction", "outcome"],
)
FAILED = Counter("readside_reaction_attempts_failed_total", "Attempts of a reaction that failed", ["reaction"])
RETRIES = Counter(
    "readside_reaction_retries_total", "What a reaction began again, by the reason", ["reaction", "reason"]
)
DURATION = Histogram(
    "readside_reaction_duration_seconds",
    "How long one attempt of a reaction took, whatever came of it",
    ["reaction"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0),
)


class ReactionStanding(msgspec.Struct, frozen=True, kw_only=True):
    """Where one reaction stands at this moment, as this process sees it."""

    reaction: str
    position: int
    lag_events: int
    lag_seconds: float
    in_flight: int
    parked_sequences: int
    epoch: int
    health: str


class ReactionStandings(Collector):
    """Where the reactions of this process stand; `source` is asked at every scrape."""

    def __init__(self) -> None:
        self.source: Callable[[], Iterable[ReactionStanding]] = tuple

    def collect(self) -> Iterable[Metric]:
        """A gauge for each thing that can be said of a reaction."""

        def gauge(name: str, text: str, *more: str) -> GaugeMetricFamily:
            return GaugeMetricFamily(f"readside_reaction_{name}", text, labels=["reaction", *more])

        gauges = {
            "position": gauge("position", "Position up to which a reaction is through with everything"),
            "lag_events": gauge("lag_events", "Events in the log after that"),
            "lag_seconds": gauge("lag_seconds", "For how long the first of them has been in the log"),
            "in_flight": gauge("in_flight", "Handlers that run now"),
            "parked_sequences": gauge("parked_sequences", "Sequences that wait as dead letters"),
            "epoch": gauge("epoch", "Epoch of this process as the reaction's owner; 0 where it is not"),
        }
        health = gauge("health", "1 for what the reaction is now", "health")
        for one in self.source():
            for field, family in gauges.items():
                family.add_metric([one.reaction], getattr(one, field))
            health.add_metric([one.reaction, one.health], 1)
        yield from (*gauges.values(), health)


STANDINGS = ReactionStandings()
REGISTRY.register(STANDINGS)
